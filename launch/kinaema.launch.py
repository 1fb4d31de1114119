"""Memory and navigator on a robot that has a camera, odometry and Nav2."""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, EmitEvent, LogInfo, OpaqueFunction, RegisterEventHandler
from launch.conditions import IfCondition
from launch.event_handlers import OnProcessStart
from launch.events import matches_action
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare
from lifecycle_msgs.msg import Transition

ARGUMENTS = {
    "namespace": ("", "Namespace of both nodes; Nav2's navigate_to_pose and TF are expected in it"),
    "image": (
        "image",
        "Camera topic, raw or rectified (image_rect); + /compressed is used where only that is published",
    ),
    "camera_info": ("camera_info", "Calibration of that camera"),
    "odom": ("odom", "Odometry, best the one that Nav2 uses"),
    "model": ("", "Network weights (.safetensors); empty: what the parameter file says"),
    "publish_tf": (
        "",
        "true: the memory localises the robot, by TF from its frame to the odometry's; empty: what the parameter file says",
    ),
    "use_sim_time": ("false", "Take the time from /clock"),
    "autostart": ("true", "Configure and activate both nodes; false: a lifecycle manager does"),
    "rviz": ("false", "Show robot, map and memory in RViz (rviz2)"),
    "web": ("false", "Serve the page for phones; where, and who may do what, the parameter file says"),
    "log_level": ("info", "debug, info, warn or error"),
}
# As Nav2's bring-up does, so that each of several robots has a TF tree of its own.
TF = [("/tf", "tf"), ("/tf_static", "tf_static")]
# rviz/kinaema.rviz names its topics without a namespace; these follow the robot into its own.
SHOWN = [
    "goal_pose", "kinaema_memory/estimate", "kinaema_memory/markers", "kinaema_navigator/goal_marker",
    "map", "map_updates", "plan", "robot_description", "scan",
]  # fmt: skip


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` asks for."""
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, (default, description) in ARGUMENTS.items()
            ),
            DeclareLaunchArgument(
                "params_file",
                default_value=_shared("config", "kinaema.yaml"),
                description="Parameters of both nodes (YAML)",
            ),
            OpaqueFunction(function=_nodes),
        ]
    )


def _nodes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    argument = LaunchConfiguration
    image = argument("image").perform(context)
    # Without a value the file's stays in force, which an empty string would replace.
    model = argument("model").perform(context)
    localizes = argument("publish_tf").perform(context)
    own = {"checkpoint": model} if model else {}
    if localizes:
        own["publish_tf"] = ParameterValue(argument("publish_tf"), value_type=bool)
    clock = {"use_sim_time": ParameterValue(argument("use_sim_time"), value_type=bool)}
    # Here the nodes are brought up by the events below, so that `ros2 launch` shows what becomes of them.
    common = {**clock, "autostart": False}
    images = [("image", image), ("image/compressed", f"{image}/compressed")]
    memory = _node("memory", {**common, **own}, [*images, ("camera_info", argument("camera_info"))])
    navigator = _node("navigator", common, [])
    web = Node(
        package="kinaema_ros",
        executable="web_node",
        name="kinaema_web",
        namespace=argument("namespace"),
        parameters=[argument("params_file"), clock],
        remappings=[*images, ("odom", argument("odom")), *TF],
        arguments=["--ros-args", "--log-level", argument("log_level")],
        condition=IfCondition(argument("web")),
        output="screen",
    )
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        namespace=argument("namespace"),
        arguments=["-d", _shared("rviz", "kinaema.rviz")],
        parameters=[clock],
        remappings=[("/image", image), *((f"/{topic}", topic) for topic in SHOWN), *TF],
        condition=IfCondition(argument("rviz")),
        output="log",
    )
    return [*_bring_up(memory), *_bring_up(navigator), memory, navigator, web, rviz]


def _node(part: str, parameters: dict, remappings: list) -> LifecycleNode:
    return LifecycleNode(
        package="kinaema_ros",
        executable=f"{part}_node",
        name=f"kinaema_{part}",
        namespace=LaunchConfiguration("namespace"),
        parameters=[LaunchConfiguration("params_file"), parameters],
        remappings=[*remappings, ("odom", LaunchConfiguration("odom")), *TF],
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
        output="screen",
        sigterm_timeout="20",  # an update or a query in hand ends before the node does
    )


def _bring_up(node: LifecycleNode) -> list[LaunchDescriptionEntity]:
    """Configures the node when its process has started, and activates it when that went well."""
    wanted = IfCondition(LaunchConfiguration("autostart"))
    name = node.node_executable

    def change(transition: int) -> EmitEvent:
        return EmitEvent(
            event=ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=transition)
        )

    def on_state(start: str, goal: str, *entities: LaunchDescriptionEntity) -> RegisterEventHandler:
        handler = OnStateTransition(
            target_lifecycle_node=node, start_state=start, goal_state=goal, entities=[*entities]
        )
        return RegisterEventHandler(handler, condition=wanted)

    return [
        RegisterEventHandler(
            OnProcessStart(target_action=node, on_start=[change(Transition.TRANSITION_CONFIGURE)]),
            condition=wanted,
        ),
        on_state("configuring", "inactive", change(Transition.TRANSITION_ACTIVATE)),
        on_state("activating", "active", LogInfo(msg=f"{name} is active")),
        on_state(
            "configuring",
            "unconfigured",
            LogInfo(msg=f"{name} could not be configured: its own messages say why"),
        ),
    ]


def _shared(*path: str) -> PathJoinSubstitution:
    return PathJoinSubstitution([FindPackageShare("kinaema_ros"), *path])
