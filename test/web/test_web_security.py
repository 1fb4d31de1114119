"""The page's server without a browser and without ROS: whom it lets in, and what it keeps to itself."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("aiohttp", reason="the page's server is not installed")

from web_support import PlayedRobot, ask, jpeg, routes, served

from kinaema_ros.errors import KinaemaError
from kinaema_ros.nodes.web import service
from kinaema_ros.nodes.web.guard import Guard, WrongTokens, is_loopback
from kinaema_ros.nodes.web.server import STATIC, WebServer
from kinaema_ros.nodes.web.tokens import Role, Tokens, load_tokens, qr_code

TOKENS = Tokens("e" * 32, "g" * 32, Path())


@pytest.fixture
def closed(robot: PlayedRobot) -> Iterator[str]:
    """A page that asks for a token, and for the second one to drive."""
    with served(robot, TOKENS) as address:
        yield address


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


# -- whom it lets in ---------------------------------------------------------------------------------------


def test_without_the_token_nobody_sees_or_does_anything(closed: str, robot: PlayedRobot) -> None:
    public = {"/", "/api/openapi.json", "/api/login", "/api/logout", "/api/role"}
    tried = 0
    for method, path in routes():
        path = path.replace("{id}", "x").replace("{name}", "x")
        if path in public or not path.startswith("/api/"):
            continue
        status, _, answer = ask(closed + path, method)
        assert (status, answer["error"]) == (401, "token"), path
        tried += 1
    assert tried == 10
    assert ask(f"{closed}/api/role")[2] == {"role": "nobody"}
    assert (robot.went, robot.stops) == ([], 0)


def test_the_first_token_watches_and_stops_and_the_second_drives(closed: str, robot: PlayedRobot) -> None:
    watcher = bearer(TOKENS.enter)
    assert ask(f"{closed}/api/state", headers=watcher)[0] == 200
    assert ask(f"{closed}/api/photos", "POST", jpeg(), watcher)[0] == 201
    for method, path in (("POST", "goal"), ("PUT", "places/x"), ("DELETE", "places/Sofa")):
        status, _, answer = ask(f"{closed}/api/{path}", method, None, watcher)
        assert (status, answer["error"]) == (403, "go_token")
    assert ask(f"{closed}/api/stop", "POST", None, watcher)[0] == 200
    assert ask(f"{closed}/api/goal", "POST", {"place": "Sofa"}, bearer(TOKENS.go))[0] == 202


def test_the_cookie_is_kept_from_scripts_and_other_sites(closed: str) -> None:
    status, headers, answer = ask(f"{closed}/api/login", "POST", {"token": TOKENS.enter})
    assert (status, answer) == (200, {"role": "watch"})
    cookie = headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    value = cookie.partition(";")[0]
    assert ask(f"{closed}/api/state", headers={"Cookie": value})[0] == 200
    assert 'kinaema=""' in ask(f"{closed}/api/logout", "POST")[1]["Set-Cookie"]
    assert ask(f"{closed}/api/state", headers={"Cookie": value[:-1]})[0] == 401


def test_under_https_the_cookie_never_leaves_it(robot: PlayedRobot) -> None:
    with served(robot, TOKENS, secure=True) as url:
        cookie = ask(f"{url}/api/login", "POST", {"token": TOKENS.go})[1]["Set-Cookie"]
    assert cookie.startswith("__Host-kinaema=")
    assert "Secure" in cookie


def test_guesses_end_after_ten_and_who_is_in_stays_in(closed: str) -> None:
    inside = {"Cookie": f"kinaema={TOKENS.enter}"}
    assert ask(f"{closed}/api/state", headers=inside)[0] == 200
    answers: list[int] = []
    tries = [
        threading.Thread(
            target=lambda: answers.append(ask(f"{closed}/api/login", "POST", {"token": "guess"})[0])
        )
        for _ in range(10)
    ]
    for each in tries:
        each.start()
    for each in tries:
        each.join()
    assert answers == [401] * 10
    for headers, body in ((bearer("another"), None), ({}, {"token": TOKENS.go})):  # a right one, too
        path = "login" if body else "state"
        status, got, answer = ask(f"{closed}/api/{path}", "POST" if body else "GET", body, headers)
        assert (status, answer["error"]) == (429, "too_many")
        assert 0 < int(got["Retry-After"]) <= 61
    assert ask(f"{closed}/api/stop", "POST", headers=inside)[0] == 200


def test_an_address_may_try_again_after_a_minute() -> None:
    now = [0.0]
    wrong = WrongTokens(most=2, clock=lambda: now[0])
    for second in (0.0, 30.0):
        now[0] = second
        assert wrong.wait("2001:db8::1") == 0.0
        wrong.add("2001:db8::1")
    assert wrong.wait("2001:db8::ffff") == 30.0  # of the same network
    assert wrong.wait("2001:db8:0:1::1") == wrong.wait("192.0.2.1") == 0.0
    now[0] = 61.0
    assert wrong.wait("2001:db8::1") == 0.0


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("POST", {"X-Kinaema": ""}, 403),  # a form of another site
        ("POST", {"Origin": "http://evil.example"}, 403),
        ("POST", {"Origin": "null"}, 403),
        ("GET", {"Sec-Fetch-Site": "cross-site"}, 403),  # an image of another site
        ("GET", {"Sec-Fetch-Site": "same-site"}, 403),
        ("GET", {"Host": "evil.example"}, 421),  # whose name points here
        ("GET", {"Host": "evil.example:80"}, 421),
        ("GET", {"Host": "[::1"}, 421),
        ("GET", {"Host": "localhost:1"}, 200),
        ("GET", {"Host": "192.0.2.7"}, 200),
        ("GET", {"Sec-Fetch-Site": "same-origin"}, 200),
        ("GET", {"X-Forwarded-For": "203.0.113.9"}, 403),  # a proxy, and no token asked for
    ],
)
def test_other_sites_and_names_get_nothing(
    url: str, robot: PlayedRobot, method: str, headers: dict[str, str], status: int
) -> None:
    path = "/api/state" if method == "GET" else "/api/stop"
    got, answered, _ = ask(url + path, method, None, headers)
    assert got == status
    assert robot.stops == 0
    assert not [name for name in answered if name.lower().startswith("access-control")]


def test_a_proxy_may_have_a_name_where_a_token_is_asked_for(robot: PlayedRobot) -> None:
    headers = {"Host": "Robot.example.org", "X-Forwarded-For": "203.0.113.9", **bearer(TOKENS.go)}
    with served(robot, TOKENS, host_names=("robot.example.org",)) as url:
        assert ask(f"{url}/api/state", headers=headers)[0] == 200


def test_every_answer_keeps_the_browser_on_our_side(url: str) -> None:
    for path in ("/", "/app.js", "/api/state", "/api/none", "/api/openapi.json", "/none"):
        _, headers, _ = ask(url + path)
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert ask(f"{url}/api/state")[1]["Cache-Control"] == "no-store"
    assert ask(f"{url}/app.js")[1].get_content_type().endswith("javascript")
    assert ask(f"{url}/../server.py")[0] == ask(f"{url}/%2e%2e/server.py")[0] == 404


def test_the_page_is_light_and_asks_nobody_else() -> None:
    files = list(STATIC.iterdir())
    assert sum(file.stat().st_size for file in files) < 150_000
    text = "\n".join(f.read_text() for f in files if f.suffix in (".html", ".js", ".css"))
    assert "//" not in text.replace("// ", "").replace("http://www.w3.org/2000/svg", "")
    assert "style=" not in text
    assert "innerHTML" not in text


def test_who_says_nothing_is_hung_up_on(robot: PlayedRobot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_PATIENCE", 0.3)
    with served(robot) as url:
        port = int(url.rpartition(":")[2])
        for said in (b"", b"GET / HTTP/1.1\r\nHost:"):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as slow:
                slow.sendall(said)
                began = time.monotonic()
                with contextlib.suppress(ConnectionResetError):
                    assert slow.recv(10) == b""
                assert time.monotonic() - began < 5.0


# -- tokens and addresses ----------------------------------------------------------------------------------


def test_tokens_are_made_once_for_the_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    tokens = load_tokens(folder, restrict_go=True)
    assert load_tokens(folder, restrict_go=True) == tokens
    assert load_tokens(folder, restrict_go=False).go == tokens.enter != tokens.go
    assert [oct(path.stat().st_mode & 0o777) for path in sorted(folder.iterdir())] == ["0o600"] * 2
    assert folder.stat().st_mode & 0o777 == 0o700
    assert min(len(tokens.enter), len(tokens.go)) >= 32
    assert [tokens.role(t) for t in ("", "x", tokens.enter, tokens.go)] == [0, 0, Role.WATCH, Role.DRIVE]


def test_a_token_that_others_could_read_or_guess_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "web_token"
    for text, mode, said in (("x" * 30, 0o644, "read by others"), ("short", 0o600, "holds no token")):
        path.write_text(text)
        path.chmod(mode)
        with pytest.raises(KinaemaError, match=said):
            load_tokens(tmp_path, False)
        path.unlink()
    (tmp_path / "elsewhere").write_text("x" * 30)
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KinaemaError, match="cannot be read"):
        load_tokens(tmp_path, False)


def test_the_qr_code_is_drawn_with_characters() -> None:
    pytest.importorskip("segno")
    lines = qr_code("http://192.168.1.20:8765/#token=" + "x" * 32).splitlines()
    assert len(lines) > 15
    assert len(set(map(len, lines))) <= 2


def test_addresses_of_this_machine_alone_are_known() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.0.0.53", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.2", "robot.local", "")))


def test_a_port_in_use_and_a_certificate_that_is_none_are_told(tmp_path: Path, robot: PlayedRobot) -> None:
    with served(robot) as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(KinaemaError, match=f"port {port}.*in use"):
            service.WebService(
                lambda: WebServer(robot, Guard(None, Role.DRIVE)).app(), "127.0.0.1", port, None
            )
    (tmp_path / "bad.pem").write_text("none")
    with pytest.raises(KinaemaError, match="of no use"):
        service.tls_context(str(tmp_path / "bad.pem"), "")
    with pytest.raises(KinaemaError, match="tls_key is set without"):
        service.tls_context("", "key.pem")


def test_https_by_certificate(tmp_path: Path, robot: PlayedRobot) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    try:
        subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    tls = service.tls_context(str(certificate), str(key))
    guard = Guard(TOKENS, Role.NOBODY, secure=True)
    served_here = service.WebService(lambda: WebServer(robot, guard).app(), "127.0.0.1", 0, tls)
    try:
        trusting = ssl.create_default_context(cafile=str(certificate))
        trusting.check_hostname = False
        connection = http.client.HTTPSConnection("127.0.0.1", served_here.port, context=trusting, timeout=10)
        connection.request("GET", "/api/state", headers=bearer(TOKENS.enter))
        assert connection.getresponse().status == 200
    finally:
        served_here.close()
