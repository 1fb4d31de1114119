"""The page's server without a browser and without ROS: what it answers."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

pytest.importorskip("aiohttp", reason="the page's server is not installed")

from PIL import Image
from web_support import HERE, THERE, PlayedRobot, ask, jpeg, routes

from kinaema_ros.nodes.web.contract import RobotRefuses, Target

# -- what it does ------------------------------------------------------------------------------------------


def test_from_a_photo_to_the_goal(url: str, robot: PlayedRobot) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 26  # FocalLengthIn35mmFilm
    exif[0x0112] = 6  # lies on its side
    status, _, answer = ask(f"{url}/api/photos", "POST", jpeg(160, 120, exif.tobytes()))
    assert status == 201
    assert (answer["width"], answer["height"]) == (120, 160)
    assert answer["hfov_source"] == "exif"
    assert answer["hfov_deg"] == pytest.approx(67.3, abs=1.0)
    assert robot.asked[0].hfov_deg == answer["hfov_deg"]
    assert [guess["confidence"] for guess in answer["guesses"]] == [0.93, 0.05]
    status, headers, photo = ask(f"{url}/api/photos/{answer['id']}")
    assert headers["Content-Type"] == "image/jpeg"
    assert b"Exif" not in photo
    assert ask(f"{url}/api/goal", "POST", {"photo": answer["id"]})[::2] == (202, {"drive": 1})
    assert robot.went[0].photo == robot.asked[0]
    drive = ask(f"{url}/api/state")[2]["drive"]
    assert drive["target"] == {"photo": answer["id"]}
    assert drive["by"] == "test"
    assert drive["state"] == "driving"
    assert ask(f"{url}/api/goal", "POST", {"photo": answer["id"], "guess": 1})[2] == {"drive": 2}
    assert robot.went[1] == Target(pose=THERE.pose)


def test_a_field_of_view_that_is_said_counts_more_than_exif(url: str, robot: PlayedRobot) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 26
    answer = ask(f"{url}/api/photos?hfov_deg=100", "POST", jpeg(exif=exif.tobytes()))[2]
    assert (answer["hfov_deg"], answer["hfov_source"]) == (100.0, "asked")
    assert ask(f"{url}/api/photos", "POST", jpeg())[2]["hfov_source"] == ""
    for wrong in ("1", "nan", "-20", "inf"):
        assert ask(f"{url}/api/photos?hfov_deg={wrong}", "POST", jpeg())[0] == 422
    assert ask(f"{url}/api/photos?hfov_deg=wide", "POST", jpeg())[0] == 400


def test_places_come_and_go(url: str, robot: PlayedRobot) -> None:
    name = quote("Büro / Flur", safe="")
    assert ask(f"{url}/api/places/{name}", "PUT", {"pose": [1, 2.5, 0]})[::2] == (201, {"replaced": False})
    assert ask(f"{url}/api/places/{name}", "PUT")[::2] == (200, {"replaced": True})
    names = [place["name"] for place in ask(f"{url}/api/map")[2]["places"]]
    assert names == ["Büro / Flur", "Kitchen", "Sofa"]
    assert ask(f"{url}/api/goal", "POST", {"place": "Büro / Flur"})[0] == 202
    assert ask(f"{url}/api/places/{name}", "DELETE")[0] == 200
    status, _, refused = ask(f"{url}/api/places/{name}", "DELETE")
    assert (status, refused["error"]) == (409, "no_such_place")
    assert ask(f"{url}/api/places/{'x' * 65}", "PUT")[0] == 422


def test_two_pages_see_the_same_and_who_sent_the_robot(url: str, robot: PlayedRobot) -> None:
    pages = [Page(url), Page(url)]
    for page in pages:
        assert page.next("state")["drive"]["number"] == 0
        assert len(page.next("map")["places"]) == 2
    for number, by in ((1, "first"), (2, "second")):
        ask(f"{url}/api/goal", "POST", {"place": "Sofa"}, {"X-Kinaema": by})
        for page in pages:
            drive = page.until(lambda s, by=by: s["drive"]["by"] == by)["drive"]
            assert (drive["number"], drive["state"]) == (number, "driving")
    ask(f"{url}/api/stop", "POST")
    for page in pages:
        page.until(lambda s: s["drive"]["state"] == "stopped")
        page.close()
    assert robot.stops == 1


class Page:
    """Listens to the events, as a browser does."""

    def __init__(self, url: str):
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
        self._connection.request("GET", "/api/events")
        self._lines = self._connection.getresponse()
        assert self._lines.getheader("Content-Type") == "text/event-stream"

    def next(self, kind: str) -> Any:
        while self._lines.readline().decode().strip() != f"event: {kind}":
            pass
        return json.loads(self._lines.readline().decode().removeprefix("data: "))

    def until(self, holds: Any) -> Any:
        while not holds(state := self.next("state")):
            pass
        return state

    def close(self) -> None:
        self._connection.close()


def test_a_robot_that_refuses_says_why(url: str, robot: PlayedRobot) -> None:
    robot.wrong = RobotRefuses("query_before_update", "nothing is remembered yet: drive the robot")
    status, _, answer = ask(f"{url}/api/photos", "POST", jpeg())
    assert (status, answer["error"]) == (409, "query_before_update")
    assert "drive the robot" in answer["message"]
    robot.wrong = ZeroDivisionError("secret")
    status, _, answer = ask(f"{url}/api/goal", "POST", {"place": "Sofa"})
    assert (status, answer["error"]) == (500, "fault")
    assert "secret" not in str(answer)
    robot.wrong, robot.picture = None, None
    assert ask(f"{url}/api/camera.jpg")[0] == 503


def test_stop_waits_for_nobody(url: str, robot: PlayedRobot, monkeypatch: pytest.MonkeyPatch) -> None:
    busy, answer = threading.Event(), robot.answer
    monkeypatch.setattr(robot, "locate", lambda photo: answer if busy.wait(60.0) else None)
    monkeypatch.setattr(robot, "add_place", lambda name, target: busy.wait(60.0))
    waiting = [
        threading.Thread(target=ask, args=(f"{url}/api/{path}", method, body), daemon=True)
        for path, method, body in [("photos", "POST", jpeg()), ("places/x", "PUT", None)] * 20
    ]
    for each in waiting:
        each.start()
    try:
        assert ask(f"{url}/api/stop", "POST")[0] == 200
    finally:
        busy.set()
        for each in waiting:
            each.join()


def test_photos_that_are_none_are_refused(url: str, robot: PlayedRobot) -> None:
    whole = jpeg(300, 200)
    for broken in (b"", b"hello", b"<svg/>", whole[:20], whole[: len(whole) // 2], b"GIF89a" + bytes(99)):
        status, _, answer = ask(f"{url}/api/photos", "POST", broken)
        assert (status, answer["error"]) == (422, "input"), broken[:10]
    bomb = bytearray(jpeg(kind="PNG"))
    bomb[16:24] = (100_000).to_bytes(4, "big") * 2  # its header claims 10 gigapixels
    assert ask(f"{url}/api/photos", "POST", bytes(bomb))[0] == 422
    assert ask(f"{url}/api/photos", "POST", bytes(2_000_001))[0] == 413
    assert robot.asked == []
    for kind in ("PNG", "WEBP"):
        assert ask(f"{url}/api/photos", "POST", jpeg(kind=kind))[0] == 201


def test_a_body_without_a_length_is_cut_off_too(url: str) -> None:
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=10) as raw:
        head = "POST /api/photos HTTP/1.1\r\nHost: localhost\r\nX-Kinaema: t\r\nTransfer-Encoding: chunked\r\n\r\n"
        raw.sendall(head.encode())
        chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
        try:
            for _ in range(64):
                raw.sendall(chunk)
        except OSError:
            pass  # it has answered, and hung up
        assert b" 413 " in raw.recv(100)


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b'"x"', b"\xff", b"[" * 3000, {"place": 3}, {"photo": "none"}, {}, {"pose": [1, 2]}, {"who": 1},
     {"pose": [1, 2, "3"]}, {"pose": [1e9, 0, 0]}, {"place": "a", "pose": [0, 0, 0]}, {"place": "a", "guess": 0},
     b'{"pose": [NaN, 0, 0]}', b'{"pose": [1e999, 0, 0]}', {"place": "x" * 5000}],
)  # fmt: skip
def test_bodies_that_are_none_are_refused(url: str, robot: PlayedRobot, body: Any) -> None:
    assert ask(f"{url}/api/goal", "POST", body)[0] in (400, 404, 413)
    assert robot.went == []


def test_the_example_over_http_sends_the_robot(url: str, robot: PlayedRobot, tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(jpeg())
    program = Path(__file__).resolve().parents[2] / "examples/over_http.py"
    with subprocess.Popen(
        [sys.executable, program, photo, url], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        deadline = time.monotonic() + 30.0
        while not robot.went and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        robot.end("arrived")
        said, _ = process.communicate(timeout=30.0)
    assert process.returncode == 0, said
    assert said.splitlines() == ["at (3.2, 1.4) m, 93% sure", "arrived"]


# -- the description ---------------------------------------------------------------------------------------


def test_openapi_describes_every_address(url: str) -> None:
    described = ask(f"{url}/api/openapi.json")[2]["paths"]
    listed = {(method.upper(), path) for path, methods in described.items() for method in methods}
    assert listed == {(method, path) for method, path in routes() if path.startswith("/api/")}


def test_a_drive_that_came_from_elsewhere_has_no_target(url: str, robot: PlayedRobot) -> None:
    ask(f"{url}/api/goal", "POST", {"place": "Sofa"})
    robot.now = replace(robot.now, drive=replace(robot.now.drive, number=2, pose=HERE.pose))
    drive = ask(f"{url}/api/state")[2]["drive"]
    assert (drive["target"], drive["by"]) == (None, "")
