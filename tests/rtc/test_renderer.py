"""The render worker, with an engine that draws nothing: whose avatar is shown, and when it is taken back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from telepresence.avatar.samples import sample_avatar_bytes, sample_motion
from telepresence.rtc.mailbox import Mailbox
from telepresence.rtc.monotonic import now_us
from telepresence.rtc.renderer import BLANK, Picture, Renderer
from telepresence.runtime.engine import open_engine
from tests.runtime import tiny

WHO = "somebody"
SIZE = 64


class White:
    """In place of an engine."""

    size = SIZE
    batches = False

    def prepare(self, avatar: object) -> object:
        return SimpleNamespace(warnings=())

    def render(self, prepared: object, keypoints: object) -> np.ndarray:
        return np.full((SIZE, SIZE, 4), 255, np.uint8)

    def close(self) -> None:
        pass


class Told:
    """What a renderer has told, newest first out."""

    def __init__(self) -> None:
        self.pictures: Mailbox[Picture] = Mailbox()
        self.avatars: Mailbox[tuple[str, str | None]] = Mailbox()

    def picture(self) -> int:
        """The grey level of the next picture."""
        picture = self.pictures.take(10)
        assert picture is not None, "no picture"
        assert picture.rgb is not None
        return int(picture.rgb.mean())

    def problem(self) -> str | None:
        told = self.avatars.take(10)
        assert told is not None, "nothing was said of the avatar"
        assert told[0] == WHO
        return told[1]


@contextlib.contextmanager
def rendering() -> Iterator[tuple[Renderer, Told]]:
    told = Told()
    engine: Any = White()
    renderer = Renderer(engine, told.pictures.put, lambda who, what: told.avatars.put((who, what)), keep_rgb=True)
    renderer.start()
    try:
        yield renderer, told
    finally:
        renderer.close()


@pytest.fixture(scope="module")
def whole() -> bytes:
    return sample_avatar_bytes()


def test_the_beginning_of_an_avatar_is_shown_and_the_whole_reported(whole: bytes) -> None:
    with rendering() as (renderer, told):
        renderer.put_avatar(WHO, whole[:150_000], False)
        renderer.put(WHO, sample_motion()[0], None)
        assert told.picture() == 255
        renderer.put_avatar(WHO, whole, True)
        assert told.problem() is None


def test_a_beginning_that_is_taken_back_is_shown_no_more_and_said(whole: bytes) -> None:
    with rendering() as (renderer, told):
        renderer.put_avatar(WHO, whole[:150_000], False)
        assert told.picture() == 255
        renderer.put_avatar(WHO, b"", False)
        assert "not arrived whole" in str(told.problem())
        while told.picture() != BLANK:  # one may have been under way
            pass
        renderer.put(WHO, sample_motion()[0], None)
        renderer.put_avatar(WHO, whole, True)  # it has come after all
        assert told.problem() is None
        assert told.picture() == 255


def test_a_whole_avatar_that_is_damaged_takes_its_beginning_with_it(whole: bytes) -> None:
    with rendering() as (renderer, told):
        renderer.put_avatar(WHO, whole[:150_000], False)
        assert told.picture() == 255
        renderer.put_avatar(WHO, whole[:-1000] + bytes(1000), True)
        assert "cannot be used" in str(told.problem())
        while told.picture() != BLANK:
            pass


def test_a_whole_avatar_is_not_taken_back_with_what_came_after_it(whole: bytes) -> None:
    with rendering() as (renderer, told):
        renderer.put_avatar(WHO, whole, True)
        assert told.problem() is None
        assert told.picture() == 255
        renderer.put_avatar(WHO, b"", False)
        assert told.problem() is not None
        renderer.put(WHO, sample_motion()[0], None)
        assert told.picture() == 255


def test_who_has_left_is_not_brought_back(whole: bytes) -> None:
    with rendering() as (renderer, told):
        renderer.put_avatar(WHO, whole, True)
        assert told.problem() is None
        renderer.remove(WHO)
        renderer.put_avatar(WHO, b"", False)
        assert WHO not in renderer._stages


def test_pictures_carry_their_capture_time_on_our_clock_and_go_on_without_packets(whole: bytes) -> None:
    with rendering() as (renderer, told):
        renderer.put_avatar(WHO, whole, True)
        assert told.problem() is None
        at_rest = told.pictures.take(10)
        assert at_rest is not None
        assert at_rest.capture_us is None
        captured = now_us()
        renderer.put(WHO, replace(sample_motion()[0], capture_us=captured + 77), captured)  # its clock is ahead
        drawn = told.pictures.take(10)
        assert drawn is not None
        assert drawn.capture_us == captured
        assert drawn.rendered_us >= captured
        predicted = told.pictures.take(10)
        assert predicted is not None
        assert predicted.capture_us == captured  # as old as what it comes from
        renderer.link_lost(WHO)
        while (picture := told.pictures.take(10)) is not None and picture.capture_us is not None:
            pass
        assert picture is not None


def test_another_avatar_goes_on_with_the_same_playout(whole: bytes) -> None:
    with rendering() as (renderer, told):
        renderer.put(WHO, sample_motion()[0], 0)
        playout = renderer._stages[WHO].playout
        renderer.put_avatar(WHO, whole, True)
        assert told.problem() is None
        assert renderer._stages[WHO].playout is playout
        assert playout.begun == 1


class Together(White):
    """An engine that draws several participants in a call."""

    batches = True

    def __init__(self) -> None:
        self.calls: list[int] = []

    def render_many(self, each: list[tuple[object, object]]) -> list[np.ndarray]:
        self.calls.append(len(each))
        return [np.full((SIZE, SIZE, 4), 10 * number, np.uint8) for number in range(len(each))]


def test_several_participants_are_drawn_in_one_call(whole: bytes) -> None:
    told = Told()
    engine: Any = Together()
    renderer = Renderer(engine, told.pictures.put, lambda who, what: told.avatars.put((who, what)), keep_rgb=True)
    published: list[Picture] = []
    renderer._publish = published.append
    for who in ("a", "b", "c"):
        renderer.put(who, sample_motion()[0], None)
        renderer.put_avatar(who, whole, True)
        assert told.avatars.take(10) == (who, None)
    some = list(renderer._stages.items())
    renderer._draw(some)
    assert engine.calls == [3]
    assert [picture.participant for picture in published] == ["a", "b", "c"]
    assert [int(picture.rgb.mean()) for picture in published if picture.rgb is not None] == [0, 10, 20]
    renderer.close()


def test_a_runtime_that_breaks_in_mid_call_costs_no_picture(whole: bytes, tmp_path: Path) -> None:
    """A real engine in two real runtimes; the first breaks between two pictures, and the second goes on."""
    folder = tiny.write_engine(tmp_path / "tiny")
    engine = open_engine(folder, tiny.SIZE, runtime="openvino", threads=1)
    published: list[Picture] = []
    renderer = Renderer(engine, published.append, lambda who, what: None, keep_rgb=True)
    track = sample_motion()
    try:
        renderer.put_avatar(WHO, whole, True)
        renderer._avatars.submit(lambda: None).result(20)  # it is prepared by then
        for number, packet in enumerate(track[:6]):
            if number == 3:

                def fail() -> None:
                    raise MemoryError("the GPU went away")

                engine._graphs.current._render._execute = fail  # type: ignore[attr-defined]
            renderer.put(WHO, packet, None)
            renderer._draw(list(renderer._stages.items()))
            assert len(published) == number + 1
        assert engine.runtime_name == "onnxruntime"
        pictures = [picture.rgb for picture in published]
        assert all(picture is not None and picture.any() for picture in pictures)
    finally:
        renderer.close()
