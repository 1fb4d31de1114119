"""What `kinaema demo` shows: the tour, the photos, the picture and the film. No ROS in here; nodes/demo.py runs it."""
