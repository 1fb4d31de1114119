"""The steps of `make setup` that need to know ROS, and the check before them. Standard library only.

Without a sourced ROS, ROS 2 comes as wheels, whose paths are repaired before anything is built on them.
With one (ROS_DISTRO set, rclpy importable) no wheel is installed: its Python packages and colcon are used.

    .venv/             the Python environment
    .venv/ros/         kinaema_interfaces and kinaema_ros as colcon built them, stand_ins/ where needed
    .venv/stamps/      the finished steps; the Makefile decides by them what is to be done
    .venv/setup.log    what pip and colcon said

Every step may be interrupted and run again.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
OVERLAY = VENV / "ros"
LOG = VENV / "setup.log"
PYTHON = VENV / "bin/python"
PYTHON_NAME = "python{}.{}".format(*sys.version_info[:2])
SITE = VENV / "lib" / PYTHON_NAME / "site-packages"

DISK_GB = 4


def main(step: str) -> None:
    """Does a step, after the checks; SystemExit says in one line what is wrong and what to do about it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    steps = {"packages": install, "interfaces": build_interfaces, "kinaema_ros": build_package}
    try:
        ros = check()
        if step != "check":
            steps[step](ros)
    except OSError as error:
        raise SystemExit(f"setup: {failure([f'error: {error}'])}") from None
    except KeyboardInterrupt:
        raise SystemExit("\nsetup: interrupted; `make setup` goes on from here") from None


def check() -> str:
    """ROS_DISTRO of the sourced ROS 2, "" without one; SystemExit says what is missing and how to get it."""
    ros, module, program = os.environ.get("ROS_DISTRO", ""), importlib.util.find_spec, shutil.which
    python = tuple(sys.version_info[:2])
    header = Path(sysconfig.get_paths()["include"], "Python.h")
    compilers = program(os.environ.get("CC", "cc")) and program(os.environ.get("CXX", "c++"))
    cmake = program("cmake")
    said = subprocess.run([cmake, "--version"], capture_output=True, text=True).stdout if cmake else ""
    cmake_version = tuple(map(int, re.findall(r"\d+", said)[:2]))
    VENV.mkdir(exist_ok=True)
    free = shutil.disk_usage(VENV).free / 1e9
    for fine, remedy in (
        (not ros or module("rclpy"),
         f"ROS {ros} is sourced, but its rclpy is not for {sys.executable}: "
         "`make setup PYTHON=/usr/bin/python3`, or `unset ROS_DISTRO` to use the wheels"),
        (python >= (3, 10) and (ros or python <= (3, 13)),  # the wheels of ROS are for these
         f"{sys.executable} is Python {python[0]}.{python[1]}, needed is 3.10 to 3.13: "
         "name one, e.g. `make setup PYTHON=python3.12`"),
        (module("venv") and module("ensurepip"),
         f"Python's venv is missing: `apt install {PYTHON_NAME}-venv`"),
        (header.is_file(), f"Python's headers are missing: `apt install {PYTHON_NAME}-dev`"),
        (compilers, "a C and C++ compiler is missing: `apt install build-essential`"),
        (cmake, "CMake is missing: `apt install cmake`"),
        (cmake_version >= (3, 20), f"{cmake} is older than CMake 3.20: `pip install cmake`"),
        (not ros or module("colcon_core"),
         "colcon is missing: `apt install python3-colcon-common-extensions`"),
        (SITE.exists() or free >= DISK_GB,
         f"{VENV} needs {DISK_GB} GB and its disk has {free:.1f} GB free: make room there"),
    ):  # fmt: skip
        if not fine:
            raise SystemExit(f"setup: {remedy}")
    return ros


def install(ros: str) -> None:
    """Installs the packages of requirements/ into .venv; with a ROS underlay, only those that it lacks."""
    # pip writes INSTALLER after all files of a package: it shall install anew what it was interrupted at.
    for info in SITE.glob("*.dist-info"):
        if not (info / "INSTALLER").is_file():
            shutil.rmtree(info)
    # Compiling takes half a minute that most of these modules never pay back.
    command = [str(PYTHON), "-m", "pip", "install", "--no-compile", "-r"]
    if ros:  # cv_bridge is compiled for the numpy that came with ROS; another one would crash it.
        numpy = f"numpy=={importlib.metadata.version('numpy')}"
        run([*command, f"{ROOT}/requirements/underlay.txt", numpy])
    else:
        run([*command, f"{ROOT}/requirements/all.txt"])
        repair_wheels()


def repair_wheels() -> None:
    """Gives the wheels' CMake files this environment's folders for those of the machine that built them."""
    theirs = "/opt/python/cp{0}{1}-cp{0}{1}".format(*sys.version_info[:2])
    headers = sysconfig.get_paths()["include"]
    for path in (VENV / "share").rglob("*"):
        if path.suffix not in ("", ".cmake") or not path.is_file():
            continue
        old = path.read_bytes()
        new = old.replace(f"{theirs}/include/{PYTHON_NAME}".encode(), headers.encode())
        new = new.replace(theirs.encode(), str(VENV).encode())
        if new != old:  # the file is written whole or not at all
            fresh = path.with_name(path.name + ".new")
            fresh.write_bytes(new)
            shutil.copymode(path, fresh)
            fresh.replace(path)


def build_interfaces(ros: str) -> None:
    """Builds kinaema_interfaces, and a stand-in for each package of messages that the underlay lacks."""
    packages = [ROOT / "kinaema_interfaces"]
    underlays = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if ros else []
    for stand_in in sorted(path.parent for path in ROOT.glob("stand_ins/*/package.xml")):
        if not any(Path(prefix, "share", stand_in.name, "package.xml").is_file() for prefix in underlays):
            packages.append(stand_in)
    colcon(packages, ros)


def build_package(ros: str) -> None:
    """Builds kinaema_ros and lets the environment's Python find it and the interfaces."""
    installed = OVERLAY / "install"
    # Links to data files that have gone would stay.
    shutil.rmtree(installed / "share/kinaema_ros", ignore_errors=True)
    colcon([ROOT], ros)
    scripts = map(str, (installed / "lib/kinaema_ros").iterdir())
    subprocess.run(["ln", "-sf", *scripts, str(VENV / "bin")], check=True)
    prefixes = [installed] if ros else [installed, VENV]
    wheels = [] if ros else [VENV / "lib", *sorted(SITE.glob("ros_*.libs"))]
    libraries = [installed / "lib", *wheels]
    sites = [*sorted(installed.glob("lib/python*/*-packages")), OVERLAY / "build/kinaema_ros"]
    arguments = ", ".join(str([str(path) for path in paths]) for paths in (prefixes, sites, libraries))
    shutil.copy(ROOT / "tools/kinaema_env.py", SITE)
    (SITE / "kinaema_env.pth").write_text(f"import kinaema_env; kinaema_env.start({arguments})\n")


def colcon(packages: list[Path], ros: str) -> None:
    """Builds packages in .venv/ros: build/, install/ and log/ are made where colcon is run."""
    OVERLAY.mkdir(exist_ok=True)
    os.chdir(OVERLAY)
    command = [str(PYTHON), "-m", "colcon", "build", "--merge-install", "--symlink-install"]
    command += ["--base-paths", *map(str, packages)]
    command += ["--cmake-args", f"-DPython3_EXECUTABLE={PYTHON}", "-DBUILD_TESTING=OFF"]
    run(command, **({} if ros else {"AMENT_PREFIX_PATH": str(VENV), "CMAKE_PREFIX_PATH": str(VENV)}))


def run(command: list[str], **environment: str) -> None:
    """Runs a command, its words in the log and, on a terminal, the latest of them on one line."""
    lines: list[str] = []
    # The command holds the Makefile's lock too (close_fds) and ends with all that it started (new session).
    with open(LOG, "a") as log, subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
        errors="replace", env=os.environ | environment, close_fds=False, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            for line in process.stdout or ():
                log.write(line)
                lines.append(line.strip())
                if sys.stdout.isatty():
                    print(f"\r\033[K  {lines[-1][:90]}\r", end="", flush=True)
            process.wait()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if sys.stdout.isatty():
        print(end="\033[K", flush=True)
    if process.returncode:
        raise SystemExit(f"setup: {failure(lines)} ({LOG} has the rest)")


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


if __name__ == "__main__":
    main(sys.argv[1])
