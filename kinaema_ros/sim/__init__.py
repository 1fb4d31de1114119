"""Procedural indoor scenes, a renderer, and robot motion in them, as code outside uses them. No torch, no ROS."""

from kinaema_ros.sim.building.generate import generate_scene
from kinaema_ros.sim.driving import ROBOT_RADIUS, PathFollower, plan_path, step_robot
from kinaema_ros.sim.motion import (
    OdometryNoise,
    explore,
    integrate_odometry,
    sample_unseen_viewpoints,
    sample_viewpoints,
)
from kinaema_ros.sim.raycast import ray_lengths
from kinaema_ros.sim.render import Camera, Lighting, random_lighting, render
from kinaema_ros.sim.scene import OccupancyGrid, Scene, SceneConfig

__all__ = [
    "ROBOT_RADIUS",
    "Camera",
    "Lighting",
    "OccupancyGrid",
    "OdometryNoise",
    "PathFollower",
    "Scene",
    "SceneConfig",
    "explore",
    "generate_scene",
    "integrate_odometry",
    "plan_path",
    "random_lighting",
    "ray_lengths",
    "render",
    "sample_unseen_viewpoints",
    "sample_viewpoints",
    "step_robot",
]
