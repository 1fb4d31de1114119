"""Recorded drives (rosbag2) through the memory: reading, replaying, drawing. No ROS."""
