"""Parameters of simulator_node."""

from __future__ import annotations

from dataclasses import dataclass

from kinaema_ros.errors import InputError
from kinaema_ros.nodes.support.parameters import READ_ONLY, group
from kinaema_ros.settings import setting
from kinaema_ros.sim import Camera, OdometryNoise, Scene, SceneConfig, generate_scene
from kinaema_ros.sim.simulated_robot import IMAGE_HZ, LIFT_ODOMETRY, STEP_HZ


@dataclass(frozen=True)
class SimulatorParameters:
    """Metres, radians, seconds unless the name says otherwise."""

    world: int = setting(
        0, "Seed of the scene; the same seed, the same building", low=0, high=2**32 - 1, when=READ_ONLY
    )
    texture_seed: int = setting(
        0,
        "Seed of the pool that the scene is painted from; the network's training used those below 2147483648",
        low=0,
        high=2**32 - 1,
        when=READ_ONLY,
    )
    start_seed: int = setting(
        0, "Seed of the start pose and of the odometry's errors", low=0, high=2**31 - 1, when=READ_ONLY
    )
    publish_clock: bool = setting(False, "Publish /clock; other nodes then need use_sim_time", when=READ_ONLY)
    real_time_factor: float = setting(
        1.0,
        "Simulated seconds a second; 0: as fast as possible. Other than 1 needs publish_clock",
        low=0.0,
        high=1000.0,
    )
    lockstep: bool = setting(
        False,
        "Wait after each image until memory_node is done with it, so that none is lost at any speed",
        when=READ_ONLY,
    )
    step_hz: float = setting(
        float(STEP_HZ),
        "Steps of motion, and odometry messages, a second",
        low=5.0,
        high=200.0,
        when=READ_ONLY,
    )
    image_hz: float = setting(float(IMAGE_HZ), "Images a second", low=0.1, high=60.0, when=READ_ONLY)
    camera: Camera = group(Camera(320, 240), when=READ_ONLY)
    odometry_noise: OdometryNoise = group(OdometryNoise(), when=READ_ONLY)
    localization: str = setting(
        "ground_truth",
        "Where navigate_to_pose believes the robot to be: 'ground_truth', by its drifting 'odometry', or by the transform "
        "from map_frame to odom_frame in 'tf', such as memory_node's; the map then begins where the camera does",
        choices=("ground_truth", "odometry", "tf"),
        when=READ_ONLY,
    )
    sees_obstacles: bool = setting(
        False,
        "navigate_to_pose drives round what is there, as by a costmap that sensors fill; false: by the building's map, as it is "
        "believed to lie",
        when=READ_ONLY,
    )
    lift_odometry: str = setting(
        "unaware",
        "What the odometry makes of a lift (~/lift): 'unaware', as wheels are, 'jump' by the motion, or 'reset' to its origin",
        choices=LIFT_ODOMETRY,
    )
    cmd_timeout: float = setting(
        0.5, "The robot stops so long after the last cmd_vel (s)", low=0.05, high=10.0
    )
    navigate_to_pose: bool = setting(
        True, "Serve the action navigate_to_pose, as Nav2 does; false: a real Nav2 is there", when=READ_ONLY
    )
    publish_map: bool = setting(
        True, "Publish the building's map; false: a map_server does, see `kinaema world`", when=READ_ONLY
    )
    map_frame: str = setting("map", "Frame of the map and of the truth", when=READ_ONLY)
    odom_frame: str = setting("odom", "Frame of the odometry", when=READ_ONLY)
    base_frame: str = setting("base_link", "Frame of the robot", when=READ_ONLY)

    def __post_init__(self) -> None:
        if self.real_time_factor != 1.0 and not self.publish_clock:
            raise InputError(
                f"real_time_factor is {self.real_time_factor:g}, must be 1 unless publish_clock is true"
            )

    @property
    def scene(self) -> Scene:
        """The building."""
        return generate_scene(self.world, SceneConfig(texture_seed=self.texture_seed))
