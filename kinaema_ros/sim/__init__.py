"""Procedural indoor scenes, a renderer, and robot motion in them. No torch, no ROS."""

from kinaema_ros.sim.motion import (
    OdometryNoise,
    explore,
    integrate_odometry,
    sample_unseen_viewpoints,
    sample_viewpoints,
)
from kinaema_ros.sim.render import Camera, Lighting, random_lighting, render
from kinaema_ros.sim.scene import Box, OccupancyGrid, Scene, SceneConfig, generate_scene

__all__ = [
    "Box", "Camera", "Lighting", "OccupancyGrid", "OdometryNoise", "Scene", "SceneConfig", "explore",
    "generate_scene", "integrate_odometry", "random_lighting", "render", "sample_unseen_viewpoints",
    "sample_viewpoints",
]
