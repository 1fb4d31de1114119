"""simulator_node: a procedural building as a robot."""
