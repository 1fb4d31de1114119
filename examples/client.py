"""Drive to a photo, and do something else meanwhile. kinaema.launch.py and Nav2 must run.

python3 examples/client.py PHOTO [SECONDS]        gives up after SECONDS (300)
"""

import sys
import time

from kinaema_ros.nodes.client.client import KinaemaClient


def main(photo: str, patience: float = 300.0) -> int:
    """Returns 0 if the robot got there."""
    with KinaemaClient() as kinaema:  # namespace="ant" for one of several robots
        kinaema.send_goal(photo)
        deadline = time.monotonic() + patience
        while not kinaema.is_done():
            if time.monotonic() > deadline:
                kinaema.cancel()
                break
            if kinaema.feedback is not None:
                print(
                    f"{kinaema.feedback.distance_remaining:.1f} m to go, {kinaema.feedback.confidence:.0%} sure"
                )
            time.sleep(0.5)  # your program's own work
        print(kinaema.arrival.message or "there")
        return 0 if kinaema.arrival.reached else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(float, sys.argv[2:])))
