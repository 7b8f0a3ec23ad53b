"""A room of three, one of whom wears a headset: two avatars at a table, each heard from where it sits.

Three real edges with pages in a real Chromium; the headset is emulated (iwer). Microphones are tones, one for each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import wait_for
from tests.browser.room import LOUDNESS, Room
from tests.browser.test_headset import FLAGS, emulate, eyes, grab, shown

pytestmark = pytest.mark.browser

PATIENCE_S = 40.0
HEARD, SILENT = 0.01, 0.001  # root mean square of what is played
LISTEN_MS = 1000
TONES_HZ = {"Ada": 500, "Grace": 1500, "Mary": 2500}

# A tone in place of the microphone.
TONE = """
navigator.mediaDevices.getUserMedia = async () => {
  const context = new AudioContext();
  const made = context.createMediaStreamDestination();
  const tone = new OscillatorNode(context, { frequency: %d });
  tone.connect(new GainNode(context, { gain: 0.2 })).connect(made);
  tone.start();
  globalThis.tone = tone;
  return made.stream;
};
"""

# How loud a tone is at either ear, decibels: the most over a while, of what leaves for the loudspeakers.
EARS = """async ([hertz, ms]) => {
  const { out, context } = headsetPage.voices.ears;
  const split = new ChannelSplitterNode(context, { numberOfOutputs: 2 });
  out.connect(split);
  const sides = [0, 1].map((side) => {
    const analyser = new AnalyserNode(context, { fftSize: 4096, smoothingTimeConstant: 0 });
    split.connect(analyser, side);
    return analyser;
  });
  const found = [-200, -200];
  const bins = new Float32Array(2048);
  const bin = Math.round((hertz * 4096) / context.sampleRate);
  for (const end = performance.now() + ms; performance.now() < end;) {
    await new Promise((resolve) => setTimeout(resolve, 60));
    sides.forEach((analyser, side) => {
      analyser.getFloatFrequencyData(bins);
      found[side] = Math.max(found[side], ...bins.subarray(bin - 2, bin + 3));
    });
  }
  out.disconnect(split);
  return found;
}"""


@dataclass
class Scene:
    """What the tests act on."""

    headset: Any
    desk: Any
    """The page on the computer of whoever wears the headset."""
    grace: Any
    mary: Any

    def ears(self, name: str) -> tuple[float, float]:
        """Left and right ear's level of somebody's tone, dB."""
        left, right = self.headset.evaluate(EARS, [TONES_HZ[name], LISTEN_MS])
        return float(left), float(right)

    def hears(self, name: str) -> bool:
        """Whether somebody's tone stands out in the headset."""
        return max(self.ears(name)) > -60

    def look(self, degrees: float) -> None:
        """Turn the head, to the left for positive angles, and let everything follow."""
        script = "(a) => device.quaternion.set(0, Math.sin(a / 2), 0, Math.cos(a / 2))"
        self.headset.evaluate(script, degrees * 3.14159265 / 180)
        self.headset.wait_for_timeout(600)

    def enter(self, mode: str = "vr") -> None:
        """Go in."""
        self.headset.click(f"#{mode}")
        wait_for(lambda: self.headset.evaluate("headsetPage.renderer.xr.isPresenting"), 20, "the session begins")
        wait_for(lambda: self.state() == "on", PATIENCE_S, lambda: f"the sound is here, not {self.state()}")

    def leave(self) -> None:
        """Come out."""
        self.headset.evaluate("headsetPage.renderer.xr.getSession()?.end()")
        wait_for(lambda: not self.headset.evaluate("headsetPage.renderer.xr.isPresenting"), 20, "the session ends")

    def state(self) -> str:
        """Of the headset's sound."""
        return str(self.headset.evaluate("headsetPage.voices.state"))


def press(page: Any) -> None:
    """The right controller's trigger."""
    for value in (1, 0):
        page.evaluate("(value) => device.controllers.right.updateButtonValue('trigger', value)", value)
        page.wait_for_timeout(400)


def loudness(page: Any, name: str) -> float:
    """Of somebody in an ordinary page."""
    script = "(tiles) => tiles.map((tile) => [tile.querySelector('.name').textContent, tile.dataset.id])"
    ids = dict(page.locator("article.tile").evaluate_all(script))
    return float(page.evaluate(LOUDNESS, [ids.get(name, ""), LISTEN_MS]))


@pytest.fixture(scope="module")
def scene(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    from playwright.sync_api import sync_playwright

    flags = [*FLAGS, "--autoplay-policy=no-user-gesture-required", "--use-fake-ui-for-media-stream"]
    problems: list[str] = []
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        room = Room()
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)

        def opened(address: str, name: str) -> Any:
            page = browser.new_context(ignore_https_errors=True, viewport={"width": 960, "height": 540}).new_page()
            page.on("pageerror", lambda error: problems.append(f"{name}: {error}"))
            page.on("console", lambda said: problems.append(f"{name}: {said.text}") if said.type == "error" else None)
            page.add_init_script(TONE % TONES_HZ[name])
            if "/headset/" in address:
                emulate(page)
            page.goto(address)
            if "/headset/" not in address:
                page.get_by_test_id("join").click()
            return page

        try:
            ada = room.add_here("Ada", camera="none", sink="headset:0")
            others = [room.add_here(name, camera="sample", sink="null") for name in ("Grace", "Mary")]
            desk = opened(f"{ada.page.url}/", "Ada")
            grace, mary = (opened(f"{edge.page.url}/", n) for edge, n in zip(others, ("Grace", "Mary"), strict=True))
            link = ada._drawing.sink.link  # type: ignore[union-attr]
            yield Scene(opened(link, "Ada"), desk, grace, mary)
        finally:
            browser.close()
            room.close()
    assert not problems, problems


def test_the_way_in_is_in_the_page_on_the_computer(scene: Scene) -> None:
    scene.desk.click("#bar [data-do=headset]")
    dialog = scene.desk.get_by_test_id("headset")
    wait_for(lambda: "/headset/#token=" in dialog.locator("a").inner_text(), PATIENCE_S, "the link is there")
    wait_for(lambda: dialog.locator("img").evaluate("(img) => img.naturalWidth > 50"), PATIENCE_S, "the code is there")
    assert dialog.locator("code").inner_text().count(":") == 31
    assert dialog.locator("a").inner_text() == scene.headset.url
    dialog.locator("[data-do=close]").click()
    assert not dialog.is_visible()


def test_two_avatars_sit_at_the_table_with_name_and_label(scene: Scene, tmp_path: Path) -> None:
    people = "headsetPage.avatars"
    wait_for(
        lambda: scene.headset.evaluate(f"[...{people}.values()].filter((one) => one.pictures > 3).length") == 2,
        PATIENCE_S, lambda: f"two avatars move; {scene.headset.inner_text('.panel')!r}",
    )  # fmt: skip
    assert scene.headset.inner_text("#people") == "Here: Grace (sample avatar), Mary (sample avatar)"
    scene.enter()
    scene.headset.wait_for_timeout(1000)
    left, right = eyes(grab(scene.headset, tmp_path / "two.png"))
    for eye in (left, right):  # one on either side of the middle, nobody in it
        columns = shown(eye[: eye.shape[0] * 6 // 10]).mean(0)
        width = len(columns)
        assert columns[: width // 2].max() > 0.1
        assert columns[width // 2 :].max() > 0.1
        assert columns[width * 48 // 100 : width * 52 // 100].max() == 0
    assert scene.headset.evaluate(f"[...{people}.values()].every((one) => one.tag.mesh.visible)")


def test_each_is_heard_from_where_it_sits_when_the_head_turns(scene: Scene) -> None:
    for name in ("Grace", "Mary"):
        wait_for(lambda name=name: scene.hears(name), PATIENCE_S, f"{name} is heard")
    # Places go from left to right: Grace was there first.
    left, right = scene.ears("Grace")
    assert left > right + 1.5, "Grace sits on the left"
    left, right = scene.ears("Mary")
    assert right > left + 1.5, "Mary sits on the right"
    scene.look(-80)  # to the right: both are left of the nose now
    for name in ("Grace", "Mary"):
        left, right = scene.ears(name)
        assert left > right + 3, f"{name} is on the left"
    scene.look(80)
    for name in ("Grace", "Mary"):
        left, right = scene.ears(name)
        assert right > left + 3, f"{name} is on the right"
    scene.look(0)


def test_the_headset_speaks_and_the_page_on_the_computer_keeps_still(scene: Scene) -> None:
    wait_for(lambda: loudness(scene.grace, "Ada") > HEARD, PATIENCE_S, "the others hear who wears the headset")
    assert loudness(scene.desk, "Grace") < SILENT
    assert "in your headset" in scene.desk.get_by_test_id("banners").inner_text()
    assert scene.desk.evaluate("globalThis.tone.context.state") == "running"  # only its track has ended
    press(scene.headset)  # points elsewhere
    assert scene.headset.evaluate("headsetPage.voices.speaking") == "on"
    scene.headset.evaluate("device.controllers.right.position.set(0.05, 1.05, -0.2)")
    for pitch in (-0.5, -0.6, -0.7, -0.8, -0.9):  # until the ray meets the board before the viewer
        script = "(a) => device.controllers.right.quaternion.set(Math.sin(a / 2), 0, 0, Math.cos(a / 2))"
        scene.headset.evaluate(script, pitch)
        scene.headset.wait_for_timeout(500)
        if scene.headset.evaluate("headsetPage.board.sign.mesh.scale.x") > 1:
            break
    press(scene.headset)
    assert scene.headset.evaluate("headsetPage.voices.speaking") == "muted"
    wait_for(lambda: "muted" in " ".join(scene.grace.locator("#people-list li").all_text_contents()),
             PATIENCE_S, "the others are told")  # fmt: skip
    wait_for(lambda: loudness(scene.grace, "Ada") < SILENT, PATIENCE_S, "silence")
    scene.headset.evaluate("headsetPage.voices.setMuted(false)")


def test_the_sound_goes_back_with_the_session_and_comes_again(scene: Scene) -> None:
    scene.leave()
    assert scene.state() == "off"
    wait_for(lambda: loudness(scene.desk, "Grace") > HEARD, PATIENCE_S, "the computer has the sound again")
    assert "in your headset" not in scene.desk.get_by_test_id("banners").inner_text()
    wait_for(lambda: loudness(scene.grace, "Ada") > HEARD, PATIENCE_S, "its microphone, too")
    scene.enter("ar")
    wait_for(lambda: scene.hears("Grace"), PATIENCE_S, "Grace is heard in the headset again")
    scene.desk.locator("#banners [data-action=take]").click()
    wait_for(lambda: scene.state() == "elsewhere", PATIENCE_S, "the headset is told")
    wait_for(lambda: loudness(scene.desk, "Mary") > HEARD, PATIENCE_S, "the computer hears again")
    assert scene.headset.evaluate("headsetPage.board.group.visible"), "words inside the headset say so"
    scene.leave()
