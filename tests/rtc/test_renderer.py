"""The render worker, with an engine that draws nothing: whose avatar is shown, and when it is taken back."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from telepresence.avatar.samples import sample_avatar_bytes, sample_motion
from telepresence.edge.engines import Engines
from telepresence.edge.messages import View
from telepresence.errors import EngineError
from telepresence.rtc.mailbox import Mailbox
from telepresence.rtc.monotonic import now_us
from telepresence.rtc.renderer import BLANK, Picture, Renderer
from telepresence.rtc.wardrobe import SETTLED
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


def test_what_may_not_be_shown_any_more_goes_whole_as_it_is_and_however_late_it_is_prepared(whole: bytes) -> None:
    with rendering() as (renderer, told):
        renderer.put_avatar(WHO, whole, True, "avatar")
        assert told.problem() is None
        assert told.picture() == 255
        renderer.put_avatar(WHO, b"", True)
        while told.picture() != BLANK:  # one may have been under way
            pass
        renderer.put(WHO, sample_motion()[0], None)
        assert renderer.size(WHO) is None
        with renderer._changed:  # nothing is prepared before both are said
            renderer._wardrobe.put(WHO, renderer._stage(WHO), whole, True, "avatar")
            renderer._wardrobe.take_back(WHO, entirely=True)
        renderer._wardrobe.pool.submit(lambda: None).result()
        assert renderer.size(WHO) is None
        renderer.put_avatar(WHO, whole, True, "sample avatar")
        assert told.problem() is None
        assert told.picture() == 255


def test_pictures_carry_the_label_of_the_avatar_that_is_drawn(whole: bytes) -> None:
    labels: list[str] = []
    with rendering() as (renderer, told):
        publish = renderer._publish
        renderer._publish = lambda picture: (labels.append(picture.label), publish(picture))  # type: ignore[method-assign]
        renderer.put_avatar(WHO, whole, True, "avatar")
        assert told.picture() == 255
        renderer.put_avatar(WHO, bytes(bytearray(whole)), True, "sample avatar")
        assert told.problem() is None
        assert told.problem() is None
        renderer.put(WHO, sample_motion()[0], None)
        told.picture()
        assert labels[0] == "avatar"
        assert labels[-1] == "sample avatar"


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


class Picky(Together):
    """An engine that takes one participant amiss, whoever is drawn with them."""

    def __init__(self) -> None:
        super().__init__()
        self.bad: object = None

    def render_many(self, each: list[tuple[object, object]]) -> list[np.ndarray]:
        if any(prepared is self.bad for prepared, _ in each):
            raise EngineError("the avatar was prepared for another engine or size")
        return super().render_many(each)

    def render(self, prepared: object, keypoints: object) -> np.ndarray:
        return self.render_many([(prepared, keypoints)])[0]


def test_one_participant_that_cannot_be_drawn_costs_the_others_nothing(whole: bytes) -> None:
    told = Told()
    picky = Picky()
    engine: Any = picky
    published: list[str] = []
    renderer = Renderer(
        engine, lambda picture: published.append(picture.participant), lambda who, what: told.avatars.put((who, what))
    )
    for who in ("a", "b", "c"):
        renderer.put(who, sample_motion()[0], None)
        renderer.put_avatar(who, whole, True)
        assert told.avatars.take(10) == (who, None)
    picky.bad = renderer._stages["b"].prepared
    renderer._draw(list(renderer._stages.items()))
    assert published == ["a", "c"]
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
        renderer._wardrobe.pool.submit(lambda: None).result(20)  # it is prepared by then
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


class Sized(White):
    """An engine of any size that notes what it prepares."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.prepared = 0
        self.closed = False

    def prepare(self, avatar: object) -> object:
        self.prepared += 1
        return SimpleNamespace(warnings=(), size=self.size)

    def render(self, prepared: Any, keypoints: object) -> np.ndarray:
        assert prepared.size == self.size
        return np.full((self.size, self.size, 4), 255, np.uint8)

    def close(self) -> None:
        self.closed = True


def test_who_is_shown_small_is_drawn_small_and_the_way_back_is_short(whole: bytes) -> None:
    told, large, small = Told(), Sized(256), Sized(128)
    made: Any = large, small
    renderer = Renderer(made[0], told.pictures.put, lambda *what: None, open_small=lambda: made[1])
    renderer.start()

    def side() -> int:
        renderer.put(WHO, replace(sample_motion()[0], sequence=next(numbers), capture_us=now_us()), None)
        picture = told.pictures.take(0.2)
        return 0 if picture is None else picture.i420.shape[1]

    numbers = itertools.count(1)
    try:
        renderer.put_avatar(WHO, whole, True)
        wait_for(lambda: side() == 256)
        renderer.look(View(None, {WHO: 100}))
        wait_for(lambda: side() == 128)
        assert renderer.size(WHO) == 128
        for view in (View(WHO), View(None, {WHO: 100}), None):
            renderer.look(view)
            wait_for(lambda view=view: side() == (256 if view is None or view.speaker else 128))  # type: ignore[misc]
        assert (large.prepared, small.prepared) == (1, 1)  # both are kept
        renderer.look(View(None, {}, frozenset({WHO})))
        while told.pictures.take(0.1) is not None:
            pass
        assert [side() for _ in range(3)] == [0, 0, 0]
        assert renderer.overtaken(WHO) == 0  # what is not meant to be drawn is not missed
        renderer.look(View(WHO))
        wait_for(lambda: side() == 256)
    finally:
        renderer.close()
    assert large.closed
    assert small.closed


def test_without_an_engine_for_small_pictures_all_are_large(whole: bytes) -> None:
    told, large = Told(), Sized(256)
    made: Any = large

    def fails() -> Any:
        raise EngineError("there is none")

    renderer = Renderer(made, told.pictures.put, lambda *what: None, open_small=fails)
    renderer.start()
    try:
        renderer.put_avatar(WHO, whole, True)
        renderer.look(View(None, {WHO: 100}))
        renderer.put(WHO, replace(sample_motion()[0], capture_us=now_us()), None)
        picture = told.pictures.take(10)
        assert picture is not None
        wait_for(lambda: renderer._scheduler.size(WHO) == 256)
        assert picture.i420.shape[1] == renderer.size(WHO) == 256
    finally:
        renderer.close()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = now_us() + 10_000_000
    while not condition():
        assert now_us() < deadline, "did not happen in time"
        time.sleep(0.005)


class SizedTogether(Sized):
    """An engine of one size that draws several in a call, as a GPU that takes over in mid-call."""

    batches = True

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.calls: list[int] = []

    def render_many(self, each: list[tuple[Any, object]]) -> list[np.ndarray]:
        if any(prepared.size != self.size for prepared, _ in each):
            raise EngineError("the avatar was prepared for another engine or size")
        self.calls.append(len(each))
        return [self.render(prepared, keypoints) for prepared, keypoints in each]


def test_only_avatars_of_one_size_go_into_one_call(whole: bytes) -> None:
    """Those who are not yet prepared for the size that they are wanted in are drawn in the one that they have."""
    told, large, small = Told(), SizedTogether(256), SizedTogether(128)
    made: Any = large, small
    published: list[Picture] = []
    renderer = Renderer(
        made[0], published.append, lambda *what: told.avatars.put((what[0], what[1])), open_small=lambda: made[1]
    )
    try:
        for who in ("a", "b", "c", "d"):
            renderer.put_avatar(who, whole, True)
            assert told.avatars.take(10) == (who, None)
        renderer.look(View(None, {"a": 100, "b": 100}))
        wait_for(lambda: renderer.size("a") == renderer.size("b") == 128)
        for who in ("a", "b", "c", "d"):
            renderer.put(who, sample_motion()[0], None)
        renderer._draw(list(renderer._stages.items()))
        assert (large.calls, small.calls) == ([2], [2])
        assert [picture.i420.shape[1] for picture in published] == [128, 128, 256, 256]
    finally:
        renderer.close()


def test_the_engine_suits_as_many_as_there_have_been_for_a_while(whole: bytes) -> None:
    told, large = Told(), SizedTogether(256)
    opened: dict[bool, SizedTogether] = {}

    def reopen(several: bool) -> Any:
        assert threading.current_thread().name.startswith("avatars")
        opened[several] = SizedTogether(256)
        return opened[several]

    first: Any = large
    renderer = Renderer(first, lambda _: None, lambda *what: told.avatars.put((what[0], what[1])), reopen=reopen)

    def settle(looks: int) -> None:
        for _ in range(looks):
            renderer.settle()
        renderer._wardrobe.pool.submit(lambda: None).result(10)
        for who in renderer._stages:
            renderer.put(who, sample_motion()[0], None)
        renderer._draw(list(renderer._stages.items()))
        renderer._wardrobe.pool.submit(lambda: None).result(10)

    try:
        for who in ("a", "b"):
            renderer.put_avatar(who, whole, True)
            assert told.avatars.take(10) == (who, None)
        settle(SETTLED - 1)
        assert (opened, large.calls) == ({}, [2])
        settle(1)
        assert (list(opened), opened[True].calls, large.closed) == ([True], [2], True)
        assert (large.prepared, opened[True].prepared) == (2, 0)  # avatars stay as they are
        renderer.remove("b")
        settle(SETTLED - 1)
        renderer.put_avatar("b", whole, True)  # comes back
        settle(1)
        assert list(opened) == [True]
        renderer.remove("b")
        settle(3 * SETTLED)
        assert (list(opened), opened[True].closed, opened[False].closed) == ([True, False], True, False)
    finally:
        renderer.close()
    assert opened[False].closed


@pytest.mark.parametrize("closed_meanwhile", [False, True])
def test_an_engine_that_cannot_be_opened_again_goes_on(closed_meanwhile: bool) -> None:
    large, other = Sized(256), Sized(256)
    made: Any = large, other

    def reopen(several: bool) -> Any:
        if closed_meanwhile:
            engines.close()
            return made[1]
        raise EngineError("no memory")

    engines = Engines(made[0], None, reopen)
    assert engines.suits(False)
    assert not engines.suits(True)
    engines.suit(True)
    assert engines.take_over() is None
    assert engines.at(256) is made[0]
    assert engines.suits(True), "it is not tried again"
    assert other.closed is closed_meanwhile
    engines.close()
    assert large.closed


def test_what_can_be_seen_may_change_as_often_as_it_likes(whole: bytes) -> None:
    told, large, small = Told(), Sized(256), Sized(128)
    made: Any = large, small
    begin = threading.Event()
    opened = threading.Event()

    def open_small() -> Any:
        opened.set()
        begin.wait(10)
        return made[1]

    renderer = Renderer(
        made[0], told.pictures.put, lambda *what: told.avatars.put((what[0], what[1])), open_small=open_small
    )
    try:
        renderer.put_avatar(WHO, whole, True)
        assert told.avatars.take(10) == (WHO, None)
        renderer.look(View(None, {WHO: 100}))
        assert opened.wait(10)
        for _ in range(500):  # while the small one is being loaded
            renderer.look(View(None, {WHO: 100}))
            renderer.look(View(WHO))
        assert renderer._wardrobe.pool._work_queue.qsize() <= 1
        begin.set()
        renderer._wardrobe.pool.submit(lambda: None).result(10)
        renderer._wardrobe.pool.submit(lambda: None).result(10)
        assert renderer.size(WHO) == 256  # not what was wanted when it began
    finally:
        begin.set()
        renderer.close()


def test_who_cannot_be_drawn_at_all_has_had_a_turn(whole: bytes) -> None:
    told, white = Told(), White()
    engine: Any = white
    renderer = Renderer(engine, told.pictures.put, lambda who, what: told.avatars.put((who, what)))
    try:
        renderer.put_avatar(WHO, whole, True)
        assert told.problem() is None
        renderer.put(WHO, sample_motion()[0], None)
        white.render = None  # type: ignore[assignment,method-assign]
        with pytest.raises(TypeError):
            renderer._draw(list(renderer._stages.items()))
        assert renderer._scheduler._all[WHO].drawn_us is not None
    finally:
        renderer.close()
