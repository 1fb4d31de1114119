"""The page in a real browser, over a robot that the test plays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aiohttp", reason="the page's server is not installed")

from browser_support import DESKTOP, PHONE, browser, no_faults, open_page
from web_support import THERE, PlayedRobot, jpeg, served

from kinaema_ros.nodes.web.contract import Target
from kinaema_ros.nodes.web.tokens import Tokens

TOKENS = Tokens("e" * 32, "g" * 32, Path())


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as running:
        yield running


def show_photo(page: Any, data: bytes) -> None:
    page.set_input_files("#photo-file", {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": data})


def text(page: Any, selector: str) -> str:
    return page.locator(selector).inner_text()


def test_a_photo_its_alternative_go_and_arrival(chromium: Any, url: str, robot: PlayedRobot) -> None:
    page = open_page(chromium, url, has_touch=True)
    show_photo(page, jpeg())
    page.wait_for_selector("#answer-title:text('93 % sure')")
    page.tap("#guesses li:nth-child(2) button")
    page.wait_for_selector("#answer-title:text('5 %')")
    page.select_option("#hfov", "68")  # asks again
    page.wait_for_selector("#answer-title:text('93 % sure')")
    assert [photo.hfov_deg for photo in robot.asked] == [0.0, 68.0]
    page.tap("#guesses li:nth-child(2) button")
    page.tap("#answer-go")
    page.wait_for_selector("#drive-words:text('4.2 m to go')")
    assert robot.went == [Target(pose=THERE.pose)]
    robot.end("arrived")
    page.wait_for_selector("#drive-title:text('There!')")
    page.tap("#drive-close")
    page.wait_for_selector("#driving", state="hidden")
    no_faults(page)


def test_stop_in_the_middle_and_two_phones(chromium: Any, url: str, robot: PlayedRobot) -> None:
    first, second = open_page(chromium, url), open_page(chromium, url, DESKTOP, "de")
    first.click("#places button:text('Kitchen')")
    first.click("#chosen-go")
    for page, words in ((first, "On the way to Kitchen"), (second, "Unterwegs: Kitchen")):
        page.wait_for_selector(f"#drive-title:text('{words}')")
    second.click("#places button:text('Sofa')")
    second.click("#chosen-go")
    first.wait_for_selector("#told:text('Somebody else')")
    first.wait_for_selector("#drive-title:text('Sofa')")
    first.click("#stop")
    second.wait_for_selector("#told:text('Jemand hat den Roboter angehalten')")
    second.wait_for_selector("#drive-title:text('Angehalten')")
    assert robot.stops == 1
    assert [target.place for target in robot.went] == ["Kitchen", "Sofa"]
    no_faults(first, second)


def test_huge_and_broken_files_are_told(chromium: Any, url: str, robot: PlayedRobot) -> None:
    page = open_page(chromium, url)
    for data, words in ((b"no photo", "no photo that can be read"), (bytes(3_000_000), "too large")):
        show_photo(page, data)
        page.wait_for_selector(f"#told:text('{words}')")
        page.wait_for_selector("#idle")
    assert robot.asked == []
    no_faults(page)


def test_the_token_of_the_qr_code_and_a_wrong_one(chromium: Any, robot: PlayedRobot) -> None:
    with served(robot, TOKENS) as url:
        page = open_page(chromium, f"{url}/#token={TOKENS.enter}")
        page.wait_for_selector("#status:text('Knows where it is')")
        assert "token" not in page.url
        assert page.locator("#add-here").is_disabled()  # this token only watches
        page.click("#stop")
        page.wait_for_selector("#told:text('told to stop')")
        page.reload()  # by the cookie now
        page.wait_for_selector("#status:text('Knows where it is')")
        assert page.evaluate("document.cookie") == ""
        wrong = open_page(chromium, f"{url}/#token=wrong")
        wrong.wait_for_selector("#login-problem:text('not the token')")
        wrong.fill("#token", TOKENS.go)
        wrong.press("#token", "Enter")
        wrong.wait_for_selector("#add-here:enabled")
        no_faults(page, wrong)


def test_a_place_here_and_on_the_map(chromium: Any, url: str, robot: PlayedRobot) -> None:
    page = open_page(chromium, url)
    page.click("#add-here")
    page.fill("#name", "<b>Flur</b> & Büro")
    page.press("#name", "Enter")
    page.wait_for_selector("#places button:text('<b>Flur</b>')")
    page.click("#drawing", position={"x": 60, "y": 200})
    page.wait_for_selector("#chosen-title:text('A point on the map')")
    page.click("#chosen-go")
    page.wait_for_selector("#driving")
    assert len(robot.went[0].pose or ()) == 3
    page.click("#places button:text('Sofa')")
    page.click("#chosen-remove")
    page.wait_for_selector("#places button:text('Sofa')", state="detached")
    no_faults(page)


@pytest.mark.parametrize(("screen", "scheme"), [(PHONE, "light"), (DESKTOP, "dark")])
def test_stop_and_all_else_is_in_reach_on_every_screen(
    chromium: Any, url: str, robot: PlayedRobot, screen: dict[str, int], scheme: str
) -> None:
    page = open_page(chromium, url, screen, color_scheme=scheme)
    page.wait_for_selector("#camera:visible")
    show_photo(page, jpeg())
    page.wait_for_selector("#answer")
    for selector in ("#stop", "#answer-go", "#answer-cancel", "#language", "#drawing"):
        box = page.locator(selector).bounding_box()
        assert min(box["x"], box["y"]) >= 0, selector
        assert box["x"] + box["width"] <= screen["width"], selector
        assert box["y"] + box["height"] <= screen["height"], selector
        assert box["height"] >= 36, selector
    assert page.locator("#stop").bounding_box()["height"] >= 56
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    unnamed = "[...document.querySelectorAll('button, input, select')].filter(e => !e.ariaLabel && !e.innerText.trim() && !e.labels?.length)"
    assert page.evaluate(f"{unnamed}.map(e => e.id)") == []
    no_faults(page)


def test_a_page_that_nobody_looks_at_costs_nothing(chromium: Any, url: str, robot: PlayedRobot) -> None:
    page = open_page(chromium, url)
    page.wait_for_selector("#camera:visible")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate(
        "Object.defineProperty(document, 'hidden', {value: true, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    page.wait_for_timeout(1500)
    robot.now = replace(robot.now, memory="localizing", waiting_for="2 of 5 views")
    asked.clear()
    page.wait_for_timeout(1500)
    assert asked == []
    page.evaluate(
        "Object.defineProperty(document, 'hidden', {value: false});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    page.wait_for_selector("#status:text('2 of 5 views')")
    no_faults(page)


def test_the_page_finds_the_robot_again(chromium: Any, robot: PlayedRobot) -> None:
    with served(robot) as url:
        page = open_page(chromium, url)
        page.wait_for_selector("#status:text('Knows where it is')")
    page.wait_for_selector("#status:text('No connection')")
    port = int(url.rpartition(":")[2])
    with served(robot, port=port):
        page.wait_for_selector("#status:text('Knows where it is')")
    no_faults(page)


def test_it_can_be_installed(chromium: Any, url: str) -> None:
    page = open_page(chromium, url)
    page.wait_for_selector("#status:not(:empty)")
    session = page.context.new_cdp_session(page)
    assert session.send("Page.getInstallabilityErrors")["installabilityErrors"] in (
        [],
        [{"errorId": "in-incognito", "errorArguments": []}],  # as tests are
    )
    assert session.send("Page.getAppManifest")["errors"] == []
