"""Whose avatar it is, between a real browser and a real edge: keys made in the page, proofs over its connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from telepresence.avatar.file import save
from telepresence.avatar.owner import save_enrolled, sign_file
from telepresence.avatar.samples import sample_avatar
from telepresence.resources import shipped
from telepresence.rtc.edge import Edge
from tests.browser.conftest import FLAGS, wait_for
from tests.browser.room import Room

pytestmark = pytest.mark.browser

PATIENCE_S = 60.0

# In the place of web/owner/own.js: a page that was changed, so that it offers whatever it is given.
SHAMELESS = """
import { ownKey } from "./keys.js";
export const asOurs = async (data) => ({ data, key: await ownKey(), label: "avatar" });
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("avatars")
    named = {name: folder / f"{name}.avatar" for name in ("ada", "bob")}
    save_enrolled(replace(sample_avatar(), free_for_all=False, name="Ada"), named["ada"], "live")
    save(replace(sample_avatar(), free_for_all=False, name="Bob"), named["bob"])
    return named


@pytest.fixture(scope="module")
def room() -> Iterator[Room]:
    made = Room()
    yield made
    made.close()


@pytest.fixture(scope="module")
def ada(room: Room, files: dict[str, Path]) -> Edge:
    return room.add_here("Ada", camera="sample", avatar=files["ada"])


@pytest.fixture(scope="module")
def enter(room: Room, chromium: str) -> Iterator[Callable[..., Any]]:
    """Opens the hub's page in a profile of its own, up to the lobby."""
    if not shipped("web").joinpath("vendor", ".fetched").is_file():
        pytest.skip("web/vendor is missing, so a browser's key is NOT tested: make web")
    from playwright.sync_api import sync_playwright

    flags = [*FLAGS, "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)

        def opened(name: str, before: Callable[[Any], None] = lambda page: None) -> Any:
            page = browser.new_context().new_page()
            page.on("console", lambda line: print(f"{name}: {line.text[:300]}"))
            before(page)
            page.goto(room.url)
            page.get_by_test_id("join").wait_for(timeout=1000 * PATIENCE_S)
            page.locator("#name").fill(name)
            return page

        yield opened
        browser.close()


def wear(page: Any, file: Path) -> None:
    page.locator("#avatar-file").set_input_files(file)
    output = page.locator("#avatar-name")
    wait_for(lambda: output.inner_text() == file.stem, PATIENCE_S, output.inner_text)


def told(edge: Edge, name: str) -> tuple[str | None, str] | None:
    """What the edge's page is told of a participant: its label, and why it is not shown."""
    for one in edge.page_room.fields()["participants"]:
        if one["name"] == name:
            return one["label"], one["unshown"]
    return None


def test_a_key_of_the_page_is_kept_and_proves_on_every_connection(
    ada: Edge, enter: Callable[..., Any], files: dict[str, Path]
) -> None:
    page = enter("Bob")
    wear(page, files["bob"])  # nobody has signed it: this browser does
    page.get_by_test_id("join").click()
    wait_for(lambda: told(ada, "Bob") == ("photo avatar", ""), PATIENCE_S, lambda: str(told(ada, "Bob")))
    label = page.locator("article.tile .label:visible")
    wait_for(lambda: label.all_inner_texts() == ["avatar"], PATIENCE_S, lambda: page.locator("#call").inner_text())
    page.reload()
    page.get_by_test_id("join").wait_for(timeout=1000 * PATIENCE_S)
    wait_for(lambda: page.locator("#avatar-name").inner_text() == "bob", PATIENCE_S, "the avatar is kept")
    wait_for(lambda: told(ada, "Bob") is None, PATIENCE_S, "it has left")
    page.get_by_test_id("join").click()
    wait_for(lambda: told(ada, "Bob") == ("photo avatar", ""), PATIENCE_S, lambda: str(told(ada, "Bob")))
    assert ada.stats()["violations"] == 0
    page.close()


def test_somebody_elses_avatar_is_refused_by_the_page_and_by_whoever_meets_a_changed_one(
    ada: Edge, enter: Callable[..., Any], files: dict[str, Path]
) -> None:
    page = enter("Mallory")
    page.locator("#avatar-file").set_input_files(files["ada"])
    output = page.locator("#avatar-name")
    wait_for(lambda: "belongs to another key" in output.inner_text(), PATIENCE_S, output.inner_text)
    page.close()

    def changed(page: Any) -> None:
        page.route("**/owner/own.js*", lambda route: route.fulfill(body=SHAMELESS, content_type="text/javascript"))

    page = enter("Mallory", changed)
    wear(page, files["ada"])
    page.get_by_test_id("join").click()
    wait_for(
        lambda: "did not prove" in (told(ada, "Mallory") or ("", ""))[1], PATIENCE_S, lambda: str(told(ada, "Mallory"))
    )
    assert told(ada, "Mallory") == (None, told(ada, "Mallory")[1])  # type: ignore[index]
    page.close()


def test_a_browser_does_not_show_who_cannot_prove(
    room: Room, enter: Callable[..., Any], files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("telepresence.rtc.own_avatar._key_of", lambda data, path: None)  # a changed edge
    stolen = tmp_path / "stolen.avatar"
    save(replace(sample_avatar(), free_for_all=False), stolen)
    sign_file(stolen)
    room.add_here("Eve", camera="sample", avatar=stolen)
    page = enter("Carl")
    page.get_by_test_id("join").click()
    tile = page.locator("article.tile", has_text="Eve")
    wait_for(
        lambda: "Not shown: It did not prove" in tile.inner_text(),
        PATIENCE_S,
        lambda: page.locator("#call").inner_text(),
    )
    assert tile.locator("canvas").count() == 0
    page.close()
