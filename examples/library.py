"""The memory in a program of your own, without ROS: a recorded drive goes in, and a photo is asked.

python examples/library.py BAG PHOTO        BAG: a rosbag2 with a camera and odometry
"""

import sys

from kinaema_ros import SpatialMemory
from kinaema_ros.images import read_image
from kinaema_ros.paths import default_checkpoint
from kinaema_ros.replay.bag import open_recording


def main(bag: str, photo: str) -> None:
    """Remembers the drive, and prints where the photo was taken, seen from where the robot stands at its end."""
    memory = SpatialMemory.from_checkpoint(default_checkpoint())
    with open_recording(bag) as recording:
        if recording.camera is not None:
            memory.set_camera(recording.camera)
        for frame in recording.frames():
            memory.update(frame.rgb(), frame.odom_pose)
    estimate = memory.locate(read_image(photo))
    x, y, yaw = estimate.pose
    print(f"{x:.2f} m ahead, {y:.2f} m to the left, turned by {yaw:.2f} rad")
    print(f"seen before with probability {estimate.seen:.2f}, pose right with {estimate.confidence:.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
