"""Parameters of simulator_node."""

from __future__ import annotations

import math
from dataclasses import dataclass

from kinaema_ros.nodes.support.parameters import ParameterError, parameter
from kinaema_ros.sim import Camera, OdometryNoise, Scene, SceneConfig, generate_scene
from kinaema_ros.sim.simulated_robot import IMAGE_HZ, STEP_HZ


@dataclass(frozen=True)
class SimulatorParameters:
    """Metres, radians, seconds unless the name says otherwise."""

    world: int = parameter(
        0, "Seed of the scene; the same seed, the same building", low=0, high=2**32 - 1, read_only=True
    )
    texture_seed: int = parameter(
        0,
        "Seed of the pool that the scene is painted from; the network's training used those below 2147483648",
        low=0,
        high=2**32 - 1,
        read_only=True,
    )
    start_seed: int = parameter(
        0, "Seed of the start pose and of the odometry's errors", low=0, high=2**31 - 1, read_only=True
    )
    publish_clock: bool = parameter(
        False, "Publish /clock; other nodes then need use_sim_time", read_only=True
    )
    real_time_factor: float = parameter(
        1.0,
        "Simulated seconds a second; 0: as fast as possible. Other than 1 needs publish_clock",
        low=0.0,
        high=1000.0,
    )
    lockstep: bool = parameter(
        False,
        "Wait after each image until memory_node is done with it, so that none is lost at any speed",
        read_only=True,
    )
    step_hz: float = parameter(
        float(STEP_HZ),
        "Steps of motion, and odometry messages, a second",
        low=5.0,
        high=200.0,
        read_only=True,
    )
    image_hz: float = parameter(float(IMAGE_HZ), "Images a second", low=0.1, high=60.0, read_only=True)
    image_width: int = parameter(320, "Pixels", low=8, high=4096, read_only=True)
    image_height: int = parameter(240, "Pixels", low=8, high=4096, read_only=True)
    hfov_deg: float = parameter(90.0, "Horizontal field of view", low=60.0, high=110.0, read_only=True)
    camera_x: float = parameter(0.0, "Camera ahead of the base's origin", low=-1.0, high=1.0, read_only=True)
    camera_y: float = parameter(0.0, "Camera left of the base's origin", low=-1.0, high=1.0, read_only=True)
    camera_z: float = parameter(0.5, "Camera above the floor", low=0.05, high=2.0, read_only=True)
    camera_yaw: float = parameter(
        0.0, "Heading of the camera on the base", low=-math.pi, high=math.pi, read_only=True
    )
    camera_pitch: float = parameter(
        0.0, "Tilt of the camera, down positive", low=-0.6, high=0.6, read_only=True
    )
    odom_noise_fraction: float = parameter(
        0.02, "Odometry error, of the distance, per quarter of a metre", low=0.0, high=1.0, read_only=True
    )
    odom_noise_deg: float = parameter(
        0.2,
        "Odometry error of the heading per quarter of a metre or 25 degrees",
        low=0.0,
        high=45.0,
        read_only=True,
    )
    localization: str = parameter(
        "ground_truth",
        "Where navigate_to_pose believes the robot to be: 'ground_truth', or by its drifting 'odometry'",
        choices=("ground_truth", "odometry"),
        read_only=True,
    )
    cmd_timeout: float = parameter(0.5, "The robot stops so long after the last cmd_vel", low=0.05, high=10.0)
    map_frame: str = parameter("map", "Frame of the map and of the truth", read_only=True)
    odom_frame: str = parameter("odom", "Frame of the odometry", read_only=True)
    base_frame: str = parameter("base_link", "Frame of the robot", read_only=True)

    def __post_init__(self) -> None:
        if self.real_time_factor != 1.0 and not self.publish_clock:
            raise ParameterError(
                f"parameter 'real_time_factor' is {self.real_time_factor:g}, must be 1 unless publish_clock "
                "is true"
            )
        try:
            _ = self.camera
        except ValueError as error:
            raise ParameterError(f"camera parameters: {error}") from error

    @property
    def scene(self) -> Scene:
        """The building."""
        return generate_scene(self.world, SceneConfig(texture_seed=self.texture_seed))

    @property
    def camera(self) -> Camera:
        """As the renderer wants it."""
        return Camera(
            self.image_width,
            self.image_height,
            math.radians(self.hfov_deg),
            self.camera_z,
            self.camera_pitch,
            self.camera_x,
            self.camera_y,
            self.camera_yaw,
        )

    @property
    def noise(self) -> OdometryNoise:
        """Of the odometry."""
        return OdometryNoise(self.odom_noise_fraction, self.odom_noise_deg)
