"""The ROS 2 package kinaema_ros, for colcon and pip."""

from pathlib import Path
from xml.etree import ElementTree

from setuptools import find_packages, setup

NAME = "kinaema_ros"


def data_files(*folders: str) -> list[tuple[str, list[str]]]:
    """Every file below these folders, to be installed below share/kinaema_ros/ as it lies here."""
    found: dict[str, list[str]] = {}
    for folder in folders:
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                found.setdefault(f"share/{NAME}/{path.parent}", []).append(str(path))
    return list(found.items())


setup(
    name=NAME,
    version=ElementTree.parse("package.xml").findtext("version"),
    description="A robot's memory of a fixed size: show it a photo, it says where that was and drives there.",
    maintainer="kinaema_ros maintainers",
    maintainer_email="maintainers@kinaema-ros.org",
    license="Apache-2.0",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={
        NAME: ["py.typed"],
        f"{NAME}.nodes.web": ["openapi.json", "static/*"],
        f"{NAME}.sim": ["textures/*"],
        f"{NAME}.sim.export": ["robot/*"],
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        ("bin", ["bin/kinaema"]),
        (f"share/{NAME}/hook", ["bin/kinaema-completion.bash"]),
        *data_files("launch", "config", "examples", "models", "worlds", "rviz"),
    ],
    python_requires=">=3.10",
    # Exact versions that are known to go together: requirements/.
    install_requires=[
        "setuptools",
        "numpy<2.3",
        "opencv-python-headless<5",
        "pillow",
        "PyYAML",
        "safetensors",
        "scipy>=1.8",
        "torch>=2.1",
    ],
    extras_require={
        "tools": ["argcomplete", "av", "matplotlib", "numba", "rosbags", "tqdm"],
        "train": ["tensorboard"],
        "web": ["aiohttp>=3.9", "segno"],
        "test": [
            "hypothesis",
            "import-linter",
            "mypy",
            "playwright",
            "pytest",
            "pytest-xdist",
            "ruff",
            "schemathesis",
        ],
    },
    entry_points={
        "console_scripts": [
            "kinaema = kinaema_ros.cli:main",
            "memory_node = kinaema_ros.nodes.start:memory_node",
            "navigator_node = kinaema_ros.nodes.start:navigator_node",
            "simulator_node = kinaema_ros.nodes.start:simulator_node",
            "truth_localization = kinaema_ros.nodes.start:truth_localization",
            "web_node = kinaema_ros.nodes.start:web_node",
        ],
    },
)
