"""memory_node: the spatial memory as a lifecycle node."""
