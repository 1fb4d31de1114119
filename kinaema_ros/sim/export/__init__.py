"""A scene as files: map, SDF world, meshes, robot."""
