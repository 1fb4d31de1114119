"""Send the robot to a photo over HTTP: no ROS here, any language can do the same. `kinaema web` must run.

python3 examples/over_http.py PHOTO [URL [TOKEN]]        URL: http://127.0.0.1:8765
"""

import json
import sys
import time
from pathlib import Path
from urllib.request import Request, urlopen


def main(photo: str, url: str = "http://127.0.0.1:8765", token: str = "") -> int:
    """Returns 0 if the robot got there."""

    def ask(method: str, path: str, body: bytes | None = None) -> dict:
        headers = {"X-Kinaema": "example", **({"Authorization": f"Bearer {token}"} if token else {})}
        with urlopen(Request(f"{url}/api/{path}", body, headers, method=method)) as response:
            return json.load(response)

    answer = ask("POST", "photos", Path(photo).read_bytes())
    x, y, _ = answer["guesses"][0]["pose"]
    print(f"at ({x:.1f}, {y:.1f}) m, {answer['guesses'][0]['confidence']:.0%} sure")
    number = ask("POST", "goal", json.dumps({"photo": answer["id"]}).encode())["drive"]
    try:
        while (drive := ask("GET", "state")["drive"])["state"] == "driving" and drive["number"] == number:
            time.sleep(0.5)
    except KeyboardInterrupt:
        ask("POST", "stop")
        raise
    print(drive["message"] or drive["state"])
    return 0 if drive["state"] == "arrived" and drive["number"] == number else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
