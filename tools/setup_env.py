"""Makes `.venv`, in which everything here runs and is tested; `make setup` calls it. Standard library only.

Without a sourced ROS, ROS 2 comes as wheels, whose paths are repaired before anything is built on them.
With one (ROS_DISTRO set, rclpy importable) no wheel is installed: its Python packages and colcon are used.

    .venv/             the Python environment
    .venv/ros/         kinaema_interfaces and kinaema_ros as colcon built them, stand_ins/ where needed
    .venv/stamps/      hash of each finished step's inputs; a step whose hash is the same is not run again
    .venv/setup.log    what pip and colcon said

Every step may be interrupted and run again.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
STAMPS = VENV / "stamps"
OVERLAY = VENV / "ros"
LOG = VENV / "setup.log"
PYTHON = VENV / "bin/python"
PYTHON_NAME = "python{}.{}".format(*sys.version_info[:2])
SITE = VENV / "lib" / PYTHON_NAME / "site-packages"

OLDEST, NEWEST_WITH_WHEELS = (3, 10), (3, 13)
CMAKE = (3, 20)
DISK_GB = 4
COMMANDS = ("kinaema", "memory_node", "navigator_node", "simulator_node")


class SetupError(Exception):
    """What is wrong and what to do about it, in one line."""


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        ros = sourced_ros()
        check_python(ros)
        VENV.mkdir(exist_ok=True)
        with open(VENV / "setup.lock", "w") as lock:
            wait_for(lock)
            set_up(ros, lock.fileno())
            return 0
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
    except OSError as error:
        print(f"setup: {failure([f'error: {error}'])}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\nsetup: interrupted; `make setup` goes on from here", file=sys.stderr)
        return 130
    return 1


def set_up(ros: str, lock: int) -> None:
    requirements = [ROOT / f"requirements/{name}.txt" for name in requirement_names(ros)]
    interfaces = [ROOT / name for name in ("kinaema_interfaces", "stand_ins")]
    package = [ROOT / name for name in ("package.xml", "setup.py", "setup.cfg", "resource", "tools")]
    # setup.py lists the files of these folders one by one, so a new one asks for a new build.
    data = [ROOT / name for name in ("launch", "config", "models", "worlds", "rviz")]
    # Scripts hold absolute paths: a moved checkout starts anew, and so does another Python or another ROS.
    venv_inputs = [str(ROOT), sys.base_prefix, sys.version, ros]
    pip_inputs = [digest(requirements), digest([Path(__file__)])]
    package_inputs = [digest(package), *map(str, files_under(data))]

    steps = (
        ("venv", "Python environment", venv_inputs, lambda: make_venv(ros, lock)),
        ("pip", "Python packages", pip_inputs, lambda: install(requirements, ros, lock)),
        ("interfaces", "ROS interfaces", [digest(interfaces)], lambda: build_interfaces(ros, lock)),
        ("package", "kinaema_ros", package_inputs, lambda: build_package(ros, lock)),
    )
    changed = not PYTHON.exists()  # each step rests on the one before it
    for name, title, inputs, action in steps:
        stamp = STAMPS / name
        key = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()
        changed = changed or not stamp.is_file() or stamp.read_text() != key
        if not changed:
            continue
        check_tools(ros)
        print(f"setup: {title} ...", flush=True)
        began = time.monotonic()
        stamp.unlink(missing_ok=True)
        action()
        STAMPS.mkdir(exist_ok=True)
        replace(stamp, key.encode())
        print(f"setup: {title} ready after {time.monotonic() - began:.0f} s", flush=True)


def sourced_ros() -> str:
    """ROS_DISTRO of the ROS 2 that is sourced in this shell, "" without one."""
    distro = os.environ.get("ROS_DISTRO", "")
    if distro and importlib.util.find_spec("rclpy") is None:
        raise SetupError(
            f"ROS {distro} is sourced, but its rclpy is not for {sys.executable}: "
            "`make setup PYTHON=/usr/bin/python3`, or `unset ROS_DISTRO` to use the wheels"
        )
    return distro


def check_python(ros: str) -> None:
    have = sys.version_info[:2]
    if have >= OLDEST and (ros or have <= NEWEST_WITH_WHEELS):
        return
    raise SetupError(
        "{} is Python {}.{}, needed is {}.{} to {}.{}: name one, e.g. `make setup PYTHON=python3.12`".format(
            sys.executable, *have, *OLDEST, *NEWEST_WITH_WHEELS
        )
    )


def check_tools(ros: str) -> None:
    """Refuses early, saying what to install, instead of late in the words of pip or a compiler."""
    for module in ("venv", "ensurepip"):
        if importlib.util.find_spec(module) is None:
            raise SetupError(f"Python's {module} is missing: `apt install {PYTHON_NAME}-venv`")
    if not Path(sysconfig.get_paths()["include"], "Python.h").is_file():
        raise SetupError(f"Python's headers are missing: `apt install {PYTHON_NAME}-dev`")
    if not shutil.which(os.environ.get("CC", "cc")) or not shutil.which(os.environ.get("CXX", "c++")):
        raise SetupError("a C and C++ compiler is missing: `apt install build-essential`")
    cmake = shutil.which("cmake")
    if not cmake:
        raise SetupError("CMake is missing: `apt install cmake`")
    said = subprocess.run([cmake, "--version"], capture_output=True, text=True).stdout
    version = re.search(r"(\d+)\.(\d+)", said)
    if not version or tuple(map(int, version.groups())) < CMAKE:
        raise SetupError("{} is older than CMake {}.{}: `pip install cmake`".format(cmake, *CMAKE))
    if ros and importlib.util.find_spec("colcon_core") is None:
        raise SetupError("colcon is missing: `apt install python3-colcon-common-extensions`")
    free = shutil.disk_usage(VENV).free / 1e9
    if free < DISK_GB and not SITE.exists():
        raise SetupError(f"{VENV} needs {DISK_GB} GB and its disk has {free:.1f} GB free: make room there")


def make_venv(ros: str, lock: int) -> None:
    for path in VENV.iterdir():
        if path.name != "setup.lock":
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    options = ["--system-site-packages"] if ros else []
    run([sys.executable, "-m", "venv", *options, str(VENV)], lock)
    STAMPS.mkdir()
    (STAMPS / "python").write_text(sys.executable)  # the Makefile's default from now on


def requirement_names(ros: str) -> tuple[str, ...]:
    return ("underlay",) if ros else ("runtime", "tools", "train", "test", "ros", "constraints")


def install(requirements: list[Path], ros: str, lock: int) -> None:
    drop_half_installed()
    command = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    command.append("--no-compile")  # half a minute that most of these modules never pay back
    for path in requirements:
        command += ["-c" if path.stem == "constraints" else "-r", str(path)]
    if ros:
        # cv_bridge is compiled for the numpy that came with ROS; another one would crash it.
        command.append(f"numpy=={importlib.metadata.version('numpy')}")
    run(command, lock)
    if not ros:
        repair_wheels()


def drop_half_installed() -> None:
    """Makes pip install anew what it was interrupted at: it writes INSTALLER after all files of a package."""
    for info in SITE.glob("*.dist-info"):
        if not (info / "INSTALLER").is_file():
            shutil.rmtree(info)


def repair_wheels() -> None:
    """Gives the wheels' CMake files this environment's folders for those of the machine that built them."""
    theirs = "/opt/python/cp{0}{1}-cp{0}{1}".format(*sys.version_info[:2])
    for path in files_under([VENV / "share"]):
        if path.suffix not in ("", ".cmake"):
            continue
        old = path.read_bytes()
        new = old.replace(
            f"{theirs}/include/{PYTHON_NAME}".encode(), sysconfig.get_paths()["include"].encode()
        )
        new = new.replace(theirs.encode(), str(VENV).encode())
        if new != old:
            replace(path, new)


def build_interfaces(ros: str, lock: int) -> None:
    packages = [ROOT / "kinaema_interfaces"]
    underlays = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if ros else []
    for manifest in sorted(ROOT.glob("stand_ins/*/package.xml")):
        if not any(
            Path(prefix, "share", manifest.parent.name, manifest.name).is_file() for prefix in underlays
        ):
            packages.append(manifest.parent)
    colcon(packages, ros, lock)


def build_package(ros: str, lock: int) -> None:
    """Builds kinaema_ros and lets the environment's Python find it and the interfaces."""
    installed = OVERLAY / "install"
    # Links to data files that have gone would stay.
    shutil.rmtree(installed / "share/kinaema_ros", ignore_errors=True)
    colcon([ROOT], ros, lock)
    for name in COMMANDS:
        link = VENV / "bin" / name
        link.unlink(missing_ok=True)
        link.symlink_to(installed / "lib/kinaema_ros" / name)
    prefixes, libraries = [installed], [installed / "lib"]
    if not ros:
        prefixes.append(VENV)
        libraries += [VENV / "lib", *sorted(SITE.glob("ros_*.libs"))]
    sites = [*sorted(installed.glob("lib/python*/*-packages")), OVERLAY / "build/kinaema_ros"]
    arguments = ", ".join(str([str(path) for path in paths]) for paths in (prefixes, sites, libraries))
    shutil.copy(ROOT / "tools/kinaema_env.py", SITE)
    replace(SITE / "kinaema_env.pth", f"import kinaema_env; kinaema_env.start({arguments})\n".encode())


def colcon(packages: list[Path], ros: str, lock: int) -> None:
    """Builds packages into .venv/ros."""
    environment = {} if ros else {"AMENT_PREFIX_PATH": str(VENV), "CMAKE_PREFIX_PATH": str(VENV)}
    command = [str(PYTHON), "-m", "colcon", "--log-base", str(OVERLAY / "log"), "build"]
    command += ["--build-base", str(OVERLAY / "build"), "--install-base", str(OVERLAY / "install")]
    command += ["--merge-install", "--symlink-install", "--base-paths", *map(str, packages)]
    command += ["--cmake-args", f"-DPython3_EXECUTABLE={PYTHON}", "-DBUILD_TESTING=OFF"]
    run(command, lock, environment)


def run(command: list[str], lock: int, environment: dict[str, str] | None = None) -> None:
    """Runs a command, its words in the log and, on a terminal, the latest of them on one line.

    It holds the lock too: should this process be killed, the next one waits until the command has ended.
    """
    lines: list[str] = []
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
        errors="replace", env={**os.environ, **(environment or {})}, pass_fds=(lock,), start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    live = sys.stdout.isatty()
    try:
        with open(LOG, "a") as log:
            for line in process.stdout:
                log.write(line)
                lines.append(line.strip())
                if live:
                    print(f"\r\033[K  {lines[-1][:90]}", end="", flush=True)
        status = process.wait()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    finally:
        if live:
            print("\r\033[K", end="", flush=True)
    if status:
        raise SetupError(f"{failure(lines)} ({LOG} has the rest)")


def failure(lines: list[str]) -> str:
    """The line of a failed command's output that says what went wrong, or what to do about it."""
    output = "\n".join(lines)
    if "No space left on device" in output:
        return f"the disk of {VENV} is full: make room there"
    if re.search("NewConnectionError|Temporary failure in name resolution|Network is unreachable", output):
        return "pip cannot reach the package index: check the network"
    # pip's last error sums up the others; a compiler's first one causes the others.
    of_pip = [line for line in lines if line.startswith("ERROR:")][-1:]
    others = [line for line in lines if re.search(r"\berror\b", line, re.IGNORECASE)]
    return [*of_pip, *others, *lines[-1:], "no output"][0][:300]


def wait_for(lock: IO[str]) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("setup: another one is at work here; waiting for it", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)


def replace(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_bytes(content)
    if path.exists():
        shutil.copymode(path, fresh)
    os.replace(fresh, path)


def files_under(paths: list[Path]) -> list[Path]:
    """These files and those below these folders, sorted; Python's caches left out."""
    found = [path for top in paths for path in (top, *top.rglob("*"))]
    return sorted(path for path in found if path.is_file() and "__pycache__" not in path.parts)


def digest(paths: list[Path]) -> str:
    """Hash of the names and contents of all files below these paths."""
    sha = hashlib.sha256()
    for path in files_under(paths):
        content = path.read_bytes()
        sha.update(f"{path.relative_to(ROOT)} {len(content)}\n".encode() + content)
    return sha.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
