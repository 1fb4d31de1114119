"""The contract of the command line: help, exit status, one line for what a user did wrong."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from bag_support import image, ns, odometry, picture, recording, write_drive, write_queries

from kinaema_ros import SpatialMemory, cli, reporting
from kinaema_ros.camera import Mount
from kinaema_ros.errors import KinaemaError
from kinaema_ros.model.mount_check import MountError
from kinaema_ros.replay.replay import Cut, ReplayOptions

ROOT = Path(__file__).resolve().parents[2]


def kinaema(*arguments, **options):
    """The command in a process of its own, as a user runs it."""
    return subprocess.run(
        [sys.executable, "-m", "kinaema_ros.cli", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        **options,
    )


def refused(capsys, *arguments):
    """Exit status and message of a command that does not do its job, in this process."""
    try:
        status = cli.main([str(argument) for argument in arguments])
    except SystemExit as error:
        status = error.code
    message = capsys.readouterr().err
    assert "Traceback" not in message
    return status, message


def command_names():
    parser = cli.make_parser()
    (commands,) = (action for action in parser._actions if action.metavar == "COMMAND")
    return list(commands.choices)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A drive with queries that nothing writes to."""
    folder = tmp_path_factory.mktemp("drive")
    write_drive(folder / "bag", frames=6)
    write_queries(folder, 6, wanted=[0, 2, 5], unseen=[100])
    return folder


# -- help --------------------------------------------------------------------------------------------------


def test_help_is_quick_and_imports_nothing_heavy():
    commands = [[], *([name] for name in command_names()), ["evaluate", "rpe"], ["evaluate", "memnav"]]
    code = (
        "import sys\nfrom kinaema_ros import cli\n"
        f"for command in {commands}:\n"
        "    try: cli.main([*command, '--help'])\n    except SystemExit as e: assert e.code == 0\n"
        "heavy = {'torch', 'rclpy', 'matplotlib', 'numba', 'cv2', 'rosbags', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    for name in command_names():
        assert re.search(rf"^    {name}\b", process.stdout, re.MULTILINE)
        assert f"usage: kinaema {name}" in process.stdout


@pytest.mark.parametrize("name", command_names())
def test_every_command_explains_itself_and_each_of_its_options(capsys, name):
    with pytest.raises(SystemExit) as stop:
        cli.main([name, "--help"])
    assert stop.value.code == 0
    assert f"usage: kinaema {name}" in capsys.readouterr().out
    (commands,) = (action for action in cli.make_parser()._actions if action.metavar == "COMMAND")
    parsers = [commands.choices[name]]
    for parser in parsers:
        for action in parser._actions:
            if isinstance(action.choices, dict):  # commands of the command, such as `evaluate rpe`
                parsers += [p for p in action.choices.values() if p not in parsers]
            else:
                assert action.help, f"{parser.prog}: {action.option_strings or action.dest} has no help"
                assert all(len(line) < 200 for line in action.help.splitlines())


@pytest.mark.parametrize("name", command_names())
def test_every_command_has_a_handler(name):
    (commands,) = (action for action in cli.make_parser()._actions if action.metavar == "COMMAND")
    parsers = [commands.choices[name]]
    for parser in parsers:
        nested = [a for a in parser._actions if isinstance(a.choices, dict)]
        parsers += [p for action in nested for p in action.choices.values()]
        if not nested:
            assert callable(parser.get_default("run"))


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert re.fullmatch(r"kinaema \d+\.\d+\.\d+\n", capsys.readouterr().out)


# -- wrong usage: status 2 and one line ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["dance"], "invalid choice: 'dance'"),
        (["replay"], "the following arguments are required: BAG, --queries"),
        (["replay", "nowhere", "--queries", "q.csv"], "argument BAG: nowhere does not exist"),
        (["replay", "BAG"], "the following arguments are required: --queries"),
        (["replay", "BAG", "--queries", "nowhere.csv"], "argument --queries: nowhere.csv does not exist"),
        (["replay", "BAG", "--queries", "FOLDER"], "is not a file"),
        (["replay", "BAG", "--queries", "CSV", "--fast"], "unrecognized arguments: --fast"),
        (
            ["replay", "BAG", "--queries", "CSV", "--hfov", "wide"],
            "--hfov: wide is not a number of 10 to 150 degrees",
        ),
        (["replay", "BAG", "--queries", "CSV", "--hfov", "nan"], "nan is not a number"),
        (
            ["replay", "BAG", "--queries", "CSV", "--query-hfov-deg", "5"],
            "--query-hfov-deg: 5 is not a number of 20 to 150 degrees",
        ),
        (
            ["replay", "BAG", "--queries", "CSV", "--crop-hfov-deg", "wide"],
            "--crop-hfov-deg: wide is not a number of 10 to 150 degrees",
        ),
        (
            ["replay", "BAG", "--queries", "CSV", "--crop-hfov-deg", "69x"],
            "--crop-hfov-deg: 69x is not DEG or DEGxDEG, such as 69 or 69x42",
        ),
        (
            ["replay", "BAG", "--queries", "CSV", "--crop-queries-hfov-deg", "69x2"],
            "--crop-queries-hfov-deg: 2 is not a number of 10 to 150 degrees",
        ),
        (
            ["replay", "BAG", "--queries", "CSV", "--crop-queries-hfov-deg", "69x42x3"],
            "69x42x3 is not DEG or DEGxDEG, such as 69 or 69x42",
        ),
        (
            ["replay", "BAG", "--queries", "CSV", "--camera-mount", "urdf"],
            "urdf is neither tf nor X,Y,Z,ROLL,PITCH,YAW, such as 0.1,0,0.5,0,20,0",
        ),
        (
            ["replay", "BAG", "--queries", "CSV", "--camera-mount", "0.1,0,0.5,0,20"],
            "0.1,0,0.5,0,20 is neither",
        ),
        (
            ["replay", "BAG", "--queries", "CSV", "--camera-mount", "0.1,0,0.5,0,down,0"],
            "--camera-mount: down is not a number of -180 to 180 degrees",
        ),
        (
            ["replay", "BAG", "--queries", "CSV", "--camera-mount", "30,0,0.5,0,0,0"],
            "--camera-mount: 30 is not a number of -10 to 10 metres",
        ),
        (["replay", "BAG", "--queries", "CSV", "--stop-after", "-1"], "-1 is not a number of 0 or more"),
        (["replay", "BAG", "--queries", "CSV", "--min-distance", "-1"], "-1 is not a number of 0 or more"),
        (["replay", "BAG", "--queries", "CSV", "--max-rate", "inf"], "inf is not a number of 0 or more"),
        (
            ["replay", "BAG", "--queries", "CSV", "--json", "nowhere/r.json"],
            "the folder nowhere does not exist",
        ),
        (["replay", "BAG", "--queries", "CSV", "--json", "FOLDER"], "is a folder, not a file"),
        (["replay", "BAG", "--queries", "CSV", "--out", "CSV"], "is a file, not a folder"),
        (
            ["replay", "BAG", "--queries", "CSV", "--checkpoint", "no.safetensors"],
            "no.safetensors does not exist",
        ),
        (
            ["replay", "BAG", "--queries", "CSV", "--through-ros", "--min-distance", "1"],
            "the node's own parameters",
        ),
        (
            ["replay", "BAG", "--queries", "CSV", "--through-ros", "--camera-mount", "tf"],
            "the node's own param",
        ),
        (
            ["replay", "BAG", "--queries", "CSV", "--through-ros", "--crop-hfov-deg", "69"],
            "the node's own param",
        ),
        (["query", "CSV", "--hfov-deg", "0"], "--hfov-deg: 0 is not a number of 20 to 150 degrees"),
        (["goto", "CSV", "--hfov-deg", "nan"], "--hfov-deg: nan is not a number of 20 to 150 degrees"),
        (["goto", "CSV", "--min-confidence", "1.5"], "--min-confidence: 1.5 is not a number of 0 to 1"),
        (["replay", "BAG", "--queries", "CSV", "--map", "CSV"], "--map is drawn into the folder of --out"),
        (["query", "nowhere.jpg"], "argument IMAGE: nowhere.jpg does not exist"),
        (["query", "CSV", "--namespace", "a b"], "'a b' is not a name in ROS"),
        (["goto", "CSV", "--namespace", "/1"], "'/1' is not a name in ROS"),
        (["goto", "CSV", "--place", "desk"], "give either a photo or --place NAME"),
        (["query"], "give either a photo or --place NAME"),
        (["place"], "the following arguments are required: add|list|remove|go"),
        (["place", "add"], "the following arguments are required: NAME"),
        (["place", "add", "desk", "--photo", "CSV", "--pose", "0,0,0"], "not allowed with argument --photo"),
        (["place", "add", "desk", "--pose", "0,0"], "0,0 is not X,Y,DEG, such as 1.5,-2,90"),
        (["place", "add", "desk", "--pose", "0,nan,0"], "nan is not a number"),
        (["place", "add", "desk", "--pose", "0,0,0"], "--pose and --frame belong together"),
        (["place", "add", "desk", "--frame", "map"], "--pose and --frame belong together"),
        (["goto", "CSV", "--min-seen", "2"], "2 is not a number of 0 to 1"),
        (["goto", "CSV", "--timeout", "0"], "0 is not a number of 0.1 to 3600"),
    ],
)
def test_wrong_usage_is_told_in_one_line(capsys, recorded, arguments, words):
    places = {"BAG": recorded / "bag", "CSV": recorded / "queries.csv", "FOLDER": recorded}
    status, message = refused(capsys, *(places.get(argument, argument) for argument in arguments))
    assert status == 2
    assert words in message
    assert re.fullmatch(r"kinaema( \w+)*: error: [^\n]+ \(see kinaema( \w+)* --help\)\n", message)


# -- a job that fails: status 1 and what is the matter ------------------------------------------------------


def test_a_bag_without_odometry_is_refused_with_the_list_of_what_it_has(capsys, recorded, tmp_path):
    with recording(tmp_path / "bag") as recorder:
        recorder.write("/camera/image_raw", image(ns(0), picture(0)), ns(0))
        recorder.topic("/scan", "sensor_msgs/msg/LaserScan")
    status, message = refused(capsys, "replay", tmp_path / "bag", "--queries", recorded / "queries.csv")
    assert status == 1
    assert message.startswith("kinaema replay: error: the bag has no odometry topic (nav_msgs/msg/Odometry)")
    lines = [line.split() for line in message.splitlines()[1:]]
    assert lines == [
        ["/camera/image_raw", "sensor_msgs/msg/Image", "1"],
        ["/scan", "sensor_msgs/msg/LaserScan", "0"],
    ]


def test_a_truncated_bag_is_refused_in_one_line(capsys, recorded, tmp_path):
    (path,) = (recorded / "bag").glob("*.mcap")
    (tmp_path / "cut.mcap").write_bytes(path.read_bytes()[:-100])
    status, message = refused(capsys, "replay", tmp_path / "cut.mcap", "--queries", recorded / "queries.csv")
    assert status == 1
    assert re.fullmatch(r"kinaema replay: error: [^\n]*cut.mcap is broken or was cut off[^\n]*\n", message)


def test_a_bad_table_of_queries_is_refused_before_the_drive_is_read(capsys, recorded, tmp_path):
    (tmp_path / "queries.csv").write_text("file,x,y,yaw\n")
    status, message = refused(capsys, "replay", recorded / "bag", "--queries", tmp_path / "queries.csv")
    assert status == 1
    assert "lacks the columns seen" in message


def test_a_checkpoint_that_is_none_is_refused(capsys, recorded, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "kinaema_ros.demo.run", None)  # refused before it would be needed
    (tmp_path / "bad.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    for arguments in (["replay", recorded / "bag", "--queries", recorded / "queries.csv"], ["demo"]):
        status, message = refused(capsys, *arguments, "--checkpoint", tmp_path / "bad.safetensors")
        assert status == 1
        assert "bad.safetensors" in message


def test_debug_shows_where_it_failed(recorded, tmp_path):
    with recording(tmp_path / "bag") as recorder:
        recorder.write("/odom", odometry(ns(0), (0, 0, 0)), ns(0))
    process = kinaema("replay", tmp_path / "bag", "--queries", recorded / "queries.csv", "--debug")
    assert process.returncode == 1
    assert "Traceback" in process.stderr
    assert "BagError" in process.stderr


def test_a_missing_package_is_named(capsys, recorded, monkeypatch):
    monkeypatch.setitem(sys.modules, "rosbags.rosbag2", None)
    monkeypatch.delitem(sys.modules, "kinaema_ros.replay.bag", raising=False)
    monkeypatch.delitem(sys.modules, "kinaema_ros.replay.replay", raising=False)
    status, message = refused(capsys, "replay", recorded / "bag", "--queries", recorded / "queries.csv")
    assert status == 1
    assert f"the Python package rosbags is missing: `{sys.executable} -m pip install rosbags`" in message


def test_the_shell_completes_commands_and_options(tmp_path):
    pytest.importorskip("argcomplete")
    typed_and_expected = (
        ("kinaema re", "replay"),
        ("kinaema goto --name", "--namespace"),
        ("kinaema place re", "remove"),
    )
    for typed, expected in typed_and_expected:
        answer = tmp_path / "answer"
        environment = {
            "_ARGCOMPLETE": "1",
            "COMP_LINE": typed,
            "COMP_POINT": str(len(typed)),
            "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        }
        subprocess.run(
            [sys.executable, "-m", "kinaema_ros.cli"], env={**os.environ, **environment}, check=True
        )
        assert answer.read_text().split() == [expected]


def test_a_recording_of_which_much_cannot_be_used_is_told_before_the_figures(tmp_path, capsys):
    with recording(tmp_path / "bag") as recorder:
        for step in range(12):
            message = image(ns(step), picture(step), encoding="mono8" if step % 3 else "nonsense")
            recorder.write("/odom", odometry(ns(step), (step, 0, 0)), ns(step))
            recorder.write("/image", message, ns(step))
    write_queries(tmp_path, 4, wanted=[0])
    assert cli.main(["replay", str(tmp_path / "bag"), "--queries", str(tmp_path / "queries.csv")]) == 0
    out = capsys.readouterr().out
    assert "warning   4 of 12 images cannot be used: 4 x " in out
    assert out.index("warning ") < out.index("0.25 m & 5 deg")


@pytest.mark.parametrize("degrees", [-3.0, 0.5])
def test_a_camera_that_looks_beside_its_mount_is_told_with_the_mount_that_fits(
    recorded, capsys, monkeypatch, degrees
):
    error = MountError(math.radians(degrees), math.radians(0.2), 40)
    monkeypatch.setattr(SpatialMemory, "mount_error", error)
    mount = ["--camera-mount", "0,0,0,0,0,1"]
    assert (
        cli.main(["replay", str(recorded / "bag"), "--queries", str(recorded / "queries.csv"), *mount]) == 0
    )
    warned = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning")]
    assert len(warned) == (1 if degrees == -3.0 else 0)
    assert all(
        "3.0 +- 0.2 degrees further to the left" in line and "(4.0 degrees)" in line for line in warned
    )


def test_an_interrupt_ends_the_command_without_a_traceback(capsys, recorded, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("kinaema_ros.replay.replay.remember_and_ask", interrupted)
    status, message = refused(capsys, "replay", recorded / "bag", "--queries", recorded / "queries.csv")
    assert status == 130
    assert message == "kinaema replay: interrupted\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_termination_ends_the_command_as_an_interrupt_does(capsys, recorded, monkeypatch, number):
    before = signal.signal(number, signal.SIG_DFL)  # pytest may run under nohup
    monkeypatch.setattr("kinaema_ros.replay.replay.remember_and_ask", lambda *_: os.kill(os.getpid(), number))
    try:
        status, message = refused(capsys, "replay", recorded / "bag", "--queries", recorded / "queries.csv")
        assert (status, message) == (130, "kinaema replay: interrupted\n")
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_what_nohup_ignores_stays_ignored(capsys, recorded, monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:

        def hung_up(*_):
            os.kill(os.getpid(), signal.SIGHUP)
            raise KinaemaError("the work went on")

        monkeypatch.setattr("kinaema_ros.replay.replay.remember_and_ask", hung_up)
        status, message = refused(capsys, "replay", recorded / "bag", "--queries", recorded / "queries.csv")
        assert (status, "the work went on" in message) == (1, True)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("device", ["nonsense", "cuda:x", "cuda"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["replay", "BAG", "--queries", "CSV"],
        ["evaluate", "rpe"],
        ["evaluate", "memnav"],
        ["bench"],
        ["train", "--out", "OUT"],
        ["demo", "--out", "OUT"],
    ],
)
def test_a_device_that_is_not_there_is_refused(capsys, recorded, tmp_path, monkeypatch, arguments, device):
    import torch

    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has the device")
    monkeypatch.setattr("kinaema_ros.replay.bag.Recording.frames", lambda _: pytest.fail("began"))
    monkeypatch.setitem(sys.modules, "kinaema_ros.demo.run", None)  # refused before it would be needed
    places = {"BAG": recorded / "bag", "CSV": recorded / "queries.csv", "OUT": tmp_path / "run"}
    status, message = refused(capsys, *(places.get(word, word) for word in arguments), "--device", device)
    assert status == 1
    assert f"error: the device '{device}' cannot be used: " in message
    assert message.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_configuration_that_is_wrong_is_refused_with_the_file_and_the_field(capsys, tmp_path):
    path = tmp_path / "train.yaml"
    for text, words in (
        ("projection_scenez: 3", "projection_scenez"),
        ("projection_scenes: 0", "projection_scenes = 0"),
        ("a: [", "a: ["),
    ):
        path.write_text(text)
        status, message = refused(capsys, "train", path, "--out", tmp_path / "run")
        assert status == 1
        assert message.startswith(f"kinaema train: error: {path}: ")
        assert words in message


def test_a_photo_too_small_for_the_memory_is_refused(capsys, recorded, tmp_path):
    write_queries(tmp_path, 6, wanted=[0])
    (photo,) = (tmp_path / "queries").iterdir()
    cv2.imwrite(str(photo), np.zeros((4, 4, 3), np.uint8))
    arguments = ["replay", recorded / "bag", "--queries", tmp_path / "queries.csv"]
    status, message = refused(capsys, *arguments)
    assert status == 1
    assert message == f"kinaema replay: error: {photo}: image of 4 x 4 pixels: it must be at least 32 x 32\n"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--save", "."), "is a folder, not a file"),
        (("--save", "nowhere/x"), "the folder nowhere does not exist"),
        (("--save", "same", "--json", "same"), "--save and --json name the same file"),
        (("--json", "x" * 300), "cannot be used: File name too long"),
        (("--json", "~nobody-of-this-name/x"), "cannot be used: "),
    ],
)
def test_where_results_go_is_looked_at_before_the_drive(capsys, recorded, options, why):
    status, message = refused(
        capsys, "replay", recorded / "bag", "--queries", recorded / "queries.csv", *options
    )
    assert status == 2
    assert why in message
    assert message.count("\n") == 1


def test_results_go_through_links_and_into_pipes(tmp_path):
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    reporting.write_json(tmp_path / "link.json", [1])
    assert (tmp_path / "link.json").is_symlink()
    assert json.loads((tmp_path / "real.json").read_text()) == [1]
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    reporting.write_json(tmp_path / "pipe", [2])
    assert json.loads(os.read(reader, 100)) == [2]
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("options", [("--render", "2"), ("--features", "drives"), ("--compile",)])
def test_what_only_baselines_have_is_refused_where_none_is_trained(capsys, tmp_path, options):
    status, message = refused(capsys, "train", "--out", tmp_path / "run", *options)
    assert status == 2
    assert "give --method" in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fault", [ValueError("lost"), RuntimeError("lost"), KeyError("lost")])
def test_a_fault_of_the_program_is_shown_with_its_traceback(capsys, recorded, monkeypatch, fault):
    def fail(*_):
        raise fault

    monkeypatch.setattr("kinaema_ros.replay.replay.remember_and_ask", fail)
    status = cli.main(["replay", str(recorded / "bag"), "--queries", str(recorded / "queries.csv")])
    lines = capsys.readouterr().err.splitlines()
    assert status == 1
    assert lines[0] == "Traceback (most recent call last):"
    assert "lost" in lines[-2]
    assert lines[-1] == (
        "kinaema replay: error: this is a fault of kinaema_ros; please report it with the lines above"
    )


# -- the log -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [[], ["--debug"]])
def test_what_the_package_logs_is_shown_as_it_is(capsys, tmp_path, monkeypatch, options):
    def talk(seed):
        for name in ("kinaema_ros.sim", "elsewhere"):
            log = logging.getLogger(name)
            log.info("halfway, 50 %% of %d", seed)
            log.debug("a detail")
            log.warning("nobody answered")
        raise KinaemaError("no building")

    monkeypatch.setattr("kinaema_ros.sim.generate_scene", talk)
    for _ in range(2):  # once each, also where commands follow each other in one process
        assert cli.main(["world", "--seed", "3", "--out", str(tmp_path), *options]) == 1
        printed = capsys.readouterr()
        assert printed.out == "halfway, 50 % of 3\n" + ("a detail\n" if options else "")
        assert printed.err.startswith("kinaema world: nobody answered\n")
        assert printed.err.endswith("kinaema world: error: no building\n")
        assert ("Traceback" in printed.err) == bool(options)


# -- replay, from the command to the files -----------------------------------------------------------------


def test_replay_prints_plots_and_writes_what_the_contract_says(recorded, tmp_path):
    process = kinaema(
        *("replay", recorded / "bag", "--queries", recorded / "queries.csv"),
        *("--out", tmp_path / "new" / "pictures", "--json", tmp_path / "result.json"),
        *("--min-distance", 0, "--min-angle", 0),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.returncode == 0, process.stderr
    printed = ("odometry  /odom", "all seen queries", "AUROC", "6 used, 0 passed over", "wrote ")
    for words in (*printed, "0.25 m & 5 deg", "of the unseen", "are right"):
        assert words in process.stdout
    pictures = {path.name for path in (tmp_path / "new" / "pictures").iterdir()}
    assert pictures == {"map.png", "errors.png", "calibration.png", "seen.png"}
    result = json.loads((tmp_path / "result.json").read_text())
    assert set(result) == {"summary", "queries"}
    wanted = {"median_position_m", "median_yaw_deg", "acc_0.5m_10deg", "acc_1m_20deg", "acc_2m_30deg"}
    wanted |= {"acc_0.25m_5deg", "seen_auroc", "accepted_seen", "accepted_unseen"}
    wanted |= {"confident_share", "confident_right", "inside_50_ellipse", "inside_90_ellipse"}
    wanted |= {"ece", "frames_used", "update_ms", "query_ms", "state_bytes"}
    assert wanted <= set(result["summary"])
    assert result["summary"]["frames_used"] == 6
    assert [q["file"] for q in result["queries"]] == ["0.png", "2.png", "5.png", "100.png"]
    for query in result["queries"]:
        assert {"file", "x", "y", "yaw", "seen", "confidence", "error_m", "error_deg"} <= set(query)
        assert 0 <= query["confidence"] <= query["seen"] <= 1
    assert result["queries"][3]["error_m"] is None


def options_of(monkeypatch, recorded, *arguments):
    """ReplayOptions that the command makes of its arguments."""
    given = []

    def remember_and_ask(recording, queries, memory, options, progress):
        given.append(options)
        raise KinaemaError("enough")

    monkeypatch.setattr("kinaema_ros.replay.replay.remember_and_ask", remember_and_ask)
    monkeypatch.setattr("kinaema_ros.memory.SpatialMemory.from_checkpoint", lambda *_, **__: None)
    command = ["replay", recorded / "bag", "--queries", recorded / "queries.csv", *arguments]
    assert cli.main(list(map(str, command))) == 1
    (options,) = given
    return options


def test_replay_s_options_are_degrees_and_metres(monkeypatch, recorded):
    assert options_of(monkeypatch, recorded) == ReplayOptions()
    arguments = ["--hfov", "60", "--query-hfov-deg", "69", "--stop-after", "12.5", "--min-angle", "45"]
    arguments += ["--crop-hfov-deg", "69", "--crop-queries-hfov-deg", "69x42"]
    options = options_of(monkeypatch, recorded, *arguments, "--camera-mount=-0.1,-0.2,0.5,180,20,-90")
    assert math.degrees(options.hfov) == pytest.approx(60)
    assert math.degrees(options.query_hfov) == pytest.approx(69)
    assert (options.cut, options.stop_after) == (Cut(math.radians(69)), 12.5)
    assert options.cut_queries == Cut(math.radians(69), math.radians(42))
    assert options.keyframes.min_angle == pytest.approx(math.pi / 4)
    assert options.mount == Mount(-0.1, -0.2, 0.5, math.radians(-90), math.radians(20), math.pi)


def test_replay_takes_the_mount_from_tf_only_where_the_bag_tells_it(capsys, monkeypatch, recorded, tmp_path):
    status, message = refused(
        capsys, "replay", recorded / "bag", "--queries", recorded / "queries.csv", "--camera-mount", "tf"
    )
    assert status == 1
    assert "/tf_static leads from the camera's frame 'camera_optical_frame'" in message
    assert message.count("\n") == 1
    write_drive(tmp_path / "bag", frames=6)
    (tmp_path / "queries.csv").write_bytes((recorded / "queries.csv").read_bytes())
    (tmp_path / "queries").symlink_to(recorded / "queries")
    monkeypatch.setattr("kinaema_ros.replay.bag.Recording.mount", lambda _: Mount(x=0.25))
    assert options_of(monkeypatch, tmp_path, "--camera-mount", "tf").mount == Mount(x=0.25)


def test_json_has_no_nan_and_replaces_a_file_whole(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("old")
    reporting.write_json(path, {"a": float("nan"), "b": [1.5, float("inf")], "c": (None, "x")})
    assert json.loads(path.read_text(), parse_constant=pytest.fail) == {
        "a": None,
        "b": [1.5, None],
        "c": [None, "x"],
    }
    with pytest.raises(TypeError):
        reporting.write_json(path, {"a": object()})
    assert list(tmp_path.iterdir()) == [path]
    assert json.loads(path.read_text())["b"] == [1.5, None]


def test_tables_align_their_columns():
    text = reporting.table([("a", "1.0"), ("long name", "22.5")], ("name", "m"))
    assert text.splitlines() == ["name          m", "---------  ----", "a           1.0", "long name  22.5"]
    assert (reporting.number(None), reporting.percent(float("nan"))) == ("-", "-")
    assert (reporting.number(1.234, 1, " m"), reporting.percent(0.5)) == ("1.2 m", "50.0 %")
