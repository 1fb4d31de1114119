"""What `kinaema demo` shows: the photos, the picture and the film. Only run.py knows ROS."""
