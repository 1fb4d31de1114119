"""navigator_node: drives to a photo by Nav2."""
