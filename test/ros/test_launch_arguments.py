"""Every argument of the launch files reaches every node that it names, by the stand-in and by the real launch."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from xml.etree import ElementTree

import launch_stand_in
import pytest
import yaml
from launch_support import FOREIGN, FOREIGN_FILES, LAUNCH, LaunchProcess, StandIns, Started

ROOT = LAUNCH.parent
KINAEMA, DEMO, GAZEBO = "kinaema.launch.py", "demo.launch.py", "gazebo.launch.py"
DEMO_NAV2 = f"{DEMO} nav2:=true"
GAZEBO_WITHOUT_MAP = f"{GAZEBO} localization:=memory"
OURS = ("memory_node", "navigator_node")
NAV2 = {"map_server", "lifecycle_manager", "navigation_launch"}
EVERY = {
    KINAEMA: {*OURS, "rviz2"},
    DEMO: {*OURS, "rviz2", "simulator_node"},
    DEMO_NAV2: {*OURS, "rviz2", "simulator_node", *NAV2},
    GAZEBO: {
        *OURS,
        "rviz2",
        "truth_localization",
        "gz_sim",
        "parameter_bridge",
        "robot_state_publisher",
        *NAV2,
    },
    GAZEBO_WITHOUT_MAP: {
        *OURS,
        "rviz2",
        "gz_sim",
        "parameter_bridge",
        "robot_state_publisher",
        "navigation_launch",
    },
}
RVIZ = {KINAEMA: {"rviz": "true"}, DEMO: {}, DEMO_NAV2: {}, GAZEBO: {}, GAZEBO_WITHOUT_MAP: {}}
TOPICS = {"image": "front/image_rect", "camera_info": "/front/info", "odom": "wheels/odom"}


def run(file: str, **arguments: str) -> tuple[dict[str, Started], set[str]]:
    """What was started, by executable or launch file; and which of it is brought up. ``file`` may have arguments, too."""
    file, *words = file.split()
    arguments = {**dict(word.split(":=") for word in words), **arguments}
    context = launch_stand_in.run(LAUNCH / file, arguments, dict(FOREIGN_FILES.values()))
    assert context.scopes == []
    return {name: Started.from_call(name, call) for name, call in context.calls.items()}, context.brought_up


def started(file: str, **arguments: str) -> dict[str, Started]:
    return run(file, **arguments)[0]


def nodes(file: str) -> set[str]:
    return EVERY[file] - {"gz_sim"}  # Gazebo is none of ROS


@pytest.fixture
def parameter_file(tmp_path: Path) -> str:
    path = tmp_path / "mine.yaml"
    sections = {
        "/**/kinaema_memory": {"device": "cuda"},
        "/**/kinaema_navigator": {"goal_frame": "base"},
        "/**/kinaema_simulator": {"image_hz": 3.0},
    }
    path.write_text(yaml.safe_dump({name: {"ros__parameters": values} for name, values in sections.items()}))
    return str(path)


def test_these_are_all_arguments() -> None:
    """A new argument needs a test here of whom it reaches."""
    common = {"namespace", "model", "params_file", "autostart", "rviz", "web", "log_level"}
    by_memory = {"publish_tf"}
    assert launch_stand_in.listed(LAUNCH / KINAEMA) == {*common, *TOPICS, *by_memory, "use_sim_time"}
    assert launch_stand_in.listed(LAUNCH / DEMO) == {
        *common, *TOPICS, *by_memory, "use_sim_time", "world", "nav2",
    }  # fmt: skip
    assert launch_stand_in.listed(LAUNCH / GAZEBO) == {
        *common, "world", "headless", "localization", "nav2_params_file", "nav2_overlay_file", "bridge_file",
    }  # fmt: skip


@pytest.mark.parametrize("file", EVERY)
def test_everything_is_started_once_and_under_its_name(file: str) -> None:
    found = started(file, **RVIZ[file])
    assert set(found) == EVERY[file]
    assert {node.namespace for node in found.values()} == {"/"}
    for part in ("memory", "navigator"):
        assert found[f"{part}_node"].name == f"kinaema_{part}"
    assert len({node.name for node in found.values()}) == len(found)


@pytest.mark.parametrize("file", EVERY)
def test_a_namespace_holds_all_nodes_their_topics_and_tf(file: str) -> None:
    found = started(file, namespace="ant", **RVIZ[file])
    for name in nodes(file):
        assert found[name].namespace == "/ant", name
        if name != "navigation_launch":  # Nav2's own file sees to TF
            assert found[name].topic("/tf") == "/ant/tf", name
    for name in OURS:
        assert found[name].topic("odom") == "/ant/odom"
    rviz = found["rviz2"]
    shown = yaml.safe_load((ROOT / "rviz/kinaema.rviz").read_text())["Visualization Manager"]
    topics = [value for value in strings(shown) if value.startswith("/")]
    assert len(topics) >= 10
    for topic in {*topics, "/tf", "/tf_static"} - {"/image"}:
        assert rviz.topic(topic) == f"/ant{topic}"
    assert rviz.topic("/image") == found["memory_node"].topic("image")
    if "navigation_launch" in found:
        navigation = found["navigation_launch"]
        assert navigation.values["namespace"] == "/ant"
        assert navigation.topic("/map") == "/ant/map"
        assert navigation.topic("/scan") == "/ant/scan"
    if "map_server" in found:
        assert found["map_server"].topic("map") == "/ant/map"
    if "parameter_bridge" in found:
        assert found["parameter_bridge"].topic("scan") == "/ant/scan"


def strings(tree: object) -> list[str]:
    """All texts in a tree of YAML."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list):
        return [text for below in tree for text in strings(below)]
    return [tree] if isinstance(tree, str) else []


@pytest.mark.parametrize("file", [KINAEMA, DEMO, DEMO_NAV2])
def test_topics_reach_every_node_that_uses_them(file: str) -> None:
    found = started(file, namespace="ant", **TOPICS, **RVIZ[file])
    for name in ("memory_node", "simulator_node") if file != KINAEMA else ("memory_node",):
        assert found[name].topic("image") == "/ant/front/image_rect"
        assert found[name].topic("camera_info") == "/front/info"
        assert found[name].topic("odom") == "/ant/wheels/odom"
    assert found["memory_node"].topic("image/compressed") == "/ant/front/image_rect/compressed"
    assert found["navigator_node"].topic("odom") == "/ant/wheels/odom"
    assert found["rviz2"].topic("/image") == "/ant/front/image_rect"


def test_in_gazebo_the_nodes_use_the_topics_of_the_bridge() -> None:
    found = started(GAZEBO)
    bridged = {entry["ros_topic_name"] for entry in yaml.safe_load(bridge_file(found).read_text())}
    memory = found["memory_node"]
    used = [memory.topic("image"), memory.topic("camera_info"), memory.topic("odom")]
    assert {topic.removeprefix("/") for topic in used} <= bridged


def bridge_file(found: dict[str, Started]) -> Path:
    return Path(found["parameter_bridge"].parameters["config_file"])


@pytest.mark.parametrize("file", EVERY)
def test_the_users_parameters_reach_the_nodes(file: str, parameter_file: str) -> None:
    found = started(file, params_file=parameter_file)
    assert found["memory_node"].parameters["device"] == "cuda"
    assert found["navigator_node"].parameters["goal_frame"] == "base"
    if "simulator_node" in found:
        assert found["simulator_node"].parameters["image_hz"] == 3.0
    if file == GAZEBO:  # Nav2 has a file of its own
        assert found["navigation_launch"].values["params_file"] == str(ROOT / "config/nav2.yaml")


def test_nav2s_parameters_and_the_bridges_are_the_users(tmp_path: Path) -> None:
    found = started(GAZEBO, nav2_params_file="/my/nav2.yaml", bridge_file="/my/bridge.yaml")
    assert found["navigation_launch"].values["params_file"] == "/my/nav2.yaml"
    assert bridge_file(found) == Path("/my/bridge.yaml")
    assert "checkpoint" in found["memory_node"].parameters  # of config/kinaema.yaml


@pytest.mark.parametrize("file", EVERY)
def test_a_model_reaches_the_memory_and_none_leaves_the_files(file: str) -> None:
    assert started(file, model="/my.safetensors")["memory_node"].parameters["checkpoint"] == "/my.safetensors"
    assert started(file)["memory_node"].parameters["checkpoint"] == ""


@pytest.mark.parametrize("file", EVERY)
def test_without_autostart_nothing_is_brought_up(file: str) -> None:
    found, brought_up = run(file)
    assert brought_up == set(OURS)
    found_without, brought_up = run(file, autostart="false")
    assert brought_up == set()
    for name in OURS:
        assert found_without[name].parameters["autostart"] is False
    if "navigation_launch" in found:
        for value, result in ((True, found), (False, found_without)):
            if "lifecycle_manager" in found:
                assert result["lifecycle_manager"].parameters["autostart"] is value
            assert result["navigation_launch"].values["autostart"] == str(value).lower()


@pytest.mark.parametrize("file", [KINAEMA, DEMO, DEMO_NAV2])
@pytest.mark.parametrize("value", [False, True])
def test_the_clock_is_everybodys(file: str, value: bool) -> None:
    found = started(file, use_sim_time=str(value).lower(), **RVIZ[file])
    for name in nodes(file) - {"simulator_node", "navigation_launch"}:
        assert found[name].parameters["use_sim_time"] is value, name
    if "navigation_launch" in found:
        assert found["navigation_launch"].values["use_sim_time"] == str(value).lower()
    if "simulator_node" in found:
        assert found["simulator_node"].parameters["publish_clock"] is value


def test_in_gazebo_everybody_takes_its_clock() -> None:
    found = started(GAZEBO)
    for name in nodes(GAZEBO) - {"navigation_launch"}:
        assert found[name].parameters["use_sim_time"] is True, name
    assert found["navigation_launch"].values["use_sim_time"] == "true"


@pytest.mark.parametrize("file", EVERY)
def test_a_log_level_reaches_the_nodes(file: str) -> None:
    found = started(file, log_level="debug")
    for name in {*OURS, "simulator_node", "truth_localization"} & set(found):
        assert found[name].log_level == "debug", name
    if "navigation_launch" in found:
        assert found["navigation_launch"].values["log_level"] == "debug"


@pytest.mark.parametrize("file", EVERY)
def test_rviz_can_be_left_out(file: str) -> None:
    assert "rviz2" not in started(file, rviz="false")
    arguments = started(file, rviz="true")["rviz2"].arguments
    assert Path(arguments[arguments.index("-d") + 1]).is_file()


def test_a_world_is_the_one_asked_for(tmp_path: Path) -> None:
    assert started(DEMO, world="5")["simulator_node"].parameters["world"] == 5
    (tmp_path / "robot.urdf").write_text("<robot/>")
    found = started(GAZEBO, world=str(tmp_path), headless="true")
    assert f"'{tmp_path}/world.sdf'" in found["gz_sim"].values["gz_args"]
    assert " -s " in found["gz_sim"].values["gz_args"]
    assert found["map_server"].parameters["yaml_filename"] == f"{tmp_path}/map.yaml"
    assert found["robot_state_publisher"].parameters["robot_description"] == "<robot/>"


def test_nav2_drives_the_demo_in_place_of_the_simulators_own_on_the_building_s_map_without_a_lidar() -> None:
    for file, own in ((DEMO, True), (DEMO_NAV2, False)):
        simulator = started(file)["simulator_node"].parameters
        assert simulator["navigate_to_pose"] is simulator["publish_map"] is own
    found = started(DEMO_NAV2)
    assert Path(found["map_server"].parameters["yaml_filename"]).is_file()
    nav2 = yaml.safe_load(Path(found["navigation_launch"].values["params_file"]).read_text())
    assert "obstacle_layer" not in nav2["local_costmap"]["local_costmap"]["ros__parameters"]


@pytest.mark.parametrize("file", [KINAEMA, DEMO])
def test_the_memory_localises_the_robot_where_it_is_asked_to_and_nobody_else_does(file: str) -> None:
    found = started(file, publish_tf="true")
    assert found["memory_node"].parameters["publish_tf"] is True
    assert started(file)["memory_node"].parameters["publish_tf"] is False
    if file == DEMO:
        assert found["simulator_node"].parameters["localization"] == "tf"
        assert started(file)["simulator_node"].parameters["localization"] == "ground_truth"


def test_the_page_is_served_where_it_is_asked_for(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("/**/kinaema_web: {ros__parameters: {port: 9000}}")
    assert all("web_node" in started(file, web="true") and "web_node" not in started(file) for file in EVERY)
    told = {
        "namespace": "ant",
        "image": "front",
        "odom": "wheels",
        "use_sim_time": "true",
        "log_level": "debug",
    }
    web = started(KINAEMA, web="true", params_file=str(mine), **told)["web_node"]
    assert (web.name, web.namespace) == ("kinaema_web", "/ant")
    assert web.topic("image/compressed") == "/ant/front/compressed"
    assert (web.topic("odom"), web.topic("/tf")) == ("/ant/wheels", "/ant/tf")
    assert (web.parameters["port"], web.parameters["use_sim_time"]) == (9000, True)


def test_a_parameter_file_may_ask_for_it_too(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("/**/kinaema_memory: {ros__parameters: {publish_tf: true}}")
    assert started(KINAEMA, params_file=str(mine))["memory_node"].parameters["publish_tf"] is True


def test_a_real_nav2_on_the_building_s_map_is_not_localised_by_the_memory() -> None:
    with pytest.raises(ValueError, match="exclude each other"):
        run(DEMO_NAV2, publish_tf="true")


def test_gazebo_s_nav2_has_no_map_where_the_memory_localises_the_robot(tmp_path: Path) -> None:
    found = started(GAZEBO_WITHOUT_MAP)
    assert found["memory_node"].parameters["publish_tf"] is True
    assert started(GAZEBO)["memory_node"].parameters["publish_tf"] is False
    nav2 = yaml.safe_load(Path(found["navigation_launch"].values["params_file"]).read_text())
    costmap = nav2["global_costmap"]["global_costmap"]["ros__parameters"]
    assert costmap["plugins"] == ["obstacle_layer", "inflation_layer"]
    assert costmap["rolling_window"] is True
    mine = tmp_path / "mine.yaml"
    mine.write_text("planner_server: {ros__parameters: {GridBased: {tolerance: 0.7}}}")
    found = started(GAZEBO_WITHOUT_MAP, nav2_overlay_file=str(mine))
    nav2 = yaml.safe_load(Path(found["navigation_launch"].values["params_file"]).read_text())
    grid_based = nav2["planner_server"]["ros__parameters"]["GridBased"]
    assert (grid_based["tolerance"], grid_based["allow_unknown"]) == (0.7, False)
    with pytest.raises(ValueError, match="must be truth or memory"):
        run(GAZEBO, localization="amcl")


def test_gazebo_gets_files_that_exist() -> None:
    found = started(GAZEBO)
    *options, world = found["gz_sim"].values["gz_args"].split()
    assert "-s" not in options
    assert "-r" in options
    assert found["gz_sim"].values["on_exit_shutdown"] == "true"
    assert ElementTree.parse(world.strip("'")).getroot().tag == "sdf"
    assert Path(found["navigation_launch"].values["params_file"]).is_file()
    assert Path(found["map_server"].parameters["yaml_filename"]).is_file()
    assert found["lifecycle_manager"].parameters["node_names"] == ["map_server"]


REAL = pytest.mark.skipif(
    importlib.util.find_spec("launch_ros") is None,
    reason="launch_ros is not among the wheels; source a ROS 2 to compare the stand-in with it",
)
ANT = {"namespace": "ant", "autostart": "false", "rviz": "true", "log_level": "warn"}


@REAL
@pytest.mark.parametrize(
    ("file", "arguments"),
    [
        (KINAEMA, {}),
        (KINAEMA, {**ANT, **TOPICS, "use_sim_time": "true", "model": "/my.safetensors"}),
        (DEMO, {}),
        (DEMO, {**ANT, **TOPICS, "use_sim_time": "true", "world": "5"}),
        (GAZEBO, {}),
        (GAZEBO, {**ANT, "headless": "true", "params_file": "PARAMETERS"}),
    ],
)
def test_the_real_launch_starts_the_same(
    file: str, arguments: dict[str, str], tmp_path: Path, parameter_file: str
) -> None:
    if "params_file" in arguments:
        arguments = {**arguments, "params_file": parameter_file}
    expected = started(file, **arguments)
    packages = StandIns(tmp_path)
    for package, executables in FOREIGN.items():
        for executable in executables:
            packages.executable(package, executable)
    for package, (name, defaults) in FOREIGN_FILES.items():
        packages.launch_file(package, name, defaults)
    (packages.prefix / "share" / "kinaema_ros").symlink_to(ROOT)
    words = [f"{name}:={value}" for name, value in arguments.items()]
    with LaunchProcess(file, *words, environment=packages.environment) as process:
        for name in expected:
            process.wait_for(lambda of=name: packages.called(of), name)
    share = str(packages.prefix / "share" / "kinaema_ros")
    for name, node in expected.items():
        assert repr(packages.started(name)).replace(share, str(ROOT)) == repr(node)
