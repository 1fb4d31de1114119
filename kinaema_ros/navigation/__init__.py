"""From a photo to a goal: what a drive to it does, and how answers are fused. No ROS."""
