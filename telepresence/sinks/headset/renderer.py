"""The render worker of the headset sink: two pictures of each avatar, for where the viewer's eyes are now; all of them
in one engine call where the engine gains by that.

A new head pose is a reason to draw as a new motion is, but no more often than PARALLAX_US: between two pictures the
headset itself shows a moved head what it sees, by the relief that each picture has.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.errors import EngineError
from telepresence.face.stereo import Stereo, Viewer, eye_keypoints, head_centre, unit_m, viewer
from telepresence.rtc.monotonic import now_us
from telepresence.rtc.renderer import Renderer
from telepresence.rtc.stage import Due, Picture, Stage, to_i420
from telepresence.sinks.headset.packing import Rgba, pack
from telepresence.sinks.headset.relief import relief

if TYPE_CHECKING:
    from telepresence.runtime.engine import Engine, Prepared

logger = logging.getLogger(__name__)

PARALLAX_US: Final = 30_000  # between pictures that only a moving head asks for
MOVED_M: Final = 0.003  # of a head, less than this shows in no picture

FROM_AFAR: Final = viewer(np.array([0.0, 0.0, 1.3]), np.array([1.0, 0.0, 0.0]), 0.063)


@dataclass(frozen=True, slots=True)
class StereoPicture:
    """What both eyes see of a participant."""

    participant: str
    jpeg: bytes
    """See `packing`."""
    side: int
    """S of either eye's picture, pixels."""
    capture_us: int | None
    """As in `Picture`."""
    rendered_us: int
    pose_us: int
    """The client's own time of the head pose that it was drawn for; 0 for none."""
    stereo: Stereo
    relief: bytes
    """See `relief`."""
    eyes: int
    """Whose: as `StereoRenderer.eyes` when it was begun."""


@dataclass(frozen=True, slots=True)
class Body:
    """How large an avatar is, and where in its picture its head is. Metres, life-sized."""

    width: float
    """Side of the picture."""
    head: tuple[float, float]
    """Centre of the head at rest, from the picture's middle: to the right, upwards."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is to be drawn of a participant, and for which head."""

    due: Due
    stereo: Stereo
    metres: float
    """In a square half-width."""
    pose_us: int
    eyes: int


class StereoRenderer(Renderer):
    """Draws every avatar twice.

    Args:
        engine, publish, on_avatar: as of `Renderer`; `publish` gets what the left eye sees.
        on_stereo: gets each pair, in the worker's thread; must return at once.
        wanted: whether anybody looks; nothing is drawn otherwise.
    """

    def __init__(
        self,
        engine: Engine,
        publish: Callable[[Picture], object],
        on_avatar: Callable[[str, str | None], None],
        on_stereo: Callable[[StereoPicture], object],
        wanted: Callable[[], bool],
    ) -> None:
        super().__init__(engine, publish, on_avatar)
        self._on_stereo = on_stereo
        self._wanted = wanted
        self._viewers: dict[str, tuple[Viewer, int]] = {}
        self._shown: dict[str, tuple[Viewer, int]] = {}
        self._asked_us: dict[str, int] = {}
        self.eyes = 0
        """How often the viewer has become another one: what was drawn before is for other eyes."""

    def watch(self, viewers: Mapping[str, Viewer], pose_us: int) -> None:
        """The viewer's head has moved; by participant, where it is in that avatar's frame."""
        with self._changed:
            self._viewers = {participant: (seen, pose_us) for participant, seen in viewers.items()}
            if any(self._stale(participant) for participant in self._viewers):
                self._changed.notify()

    def forget(self) -> None:
        """The viewer is another one, whose head is not known yet: everybody is seen from straight in front."""
        with self._changed:
            self._viewers = {}
            self.eyes += 1

    def draw_again(self) -> None:
        """Somebody new looks: also those who keep still."""
        with self._changed:
            for stage in self._stages.values():
                stage.redraw = stage.points is not None
            self._changed.notify()

    def body(self, participant: str) -> Body | None:
        """The size of a participant's avatar; None while there is none."""
        with self._changed:
            stage = self._stages.get(participant)
            if stage is None or stage.puppet is None:
                return None
            rest, neutral = stage.puppet.rest, stage.puppet.neutral
        metres, (x, y, _) = unit_m(rest.scale), head_centre(rest.apply(neutral)).tolist()
        return Body(2 * metres, (x * metres, -y * metres))

    def neutral(self, participant: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]] | None:
        """A participant's neutral shape; None while there is none."""
        stage = self._stages.get(participant)
        return stage.puppet.neutral if stage is not None and stage.puppet is not None else None

    def remove(self, participant: str) -> None:
        """The participant has left."""
        super().remove(participant)
        with self._changed:
            self._shown.pop(participant, None)
            self._asked_us.pop(participant, None)

    def _turn(self) -> tuple[list[tuple[str, Stage]], float]:
        sooner_us = self._ask(now_us())
        turn, sleep_us = super()._turn()
        return turn, min(sleep_us, sooner_us)

    def _ask(self, now: int) -> float:
        """Have drawn anew whose picture is for a head that has moved since; for how long nobody else's is due.

        No pose is left out, be it the last for a long time: it waits here until its picture may be drawn.
        """
        sleep_us = float("inf")
        for participant in self._viewers if self._wanted() else ():
            if not self._stale(participant) or self._stages[participant].redraw:
                continue
            begun_us = max(self._shown[participant][1], self._asked_us.get(participant, 0))
            if now - begun_us < PARALLAX_US:
                sleep_us = min(sleep_us, begun_us + PARALLAX_US - now)
            else:
                self._stages[participant].redraw = True
                self._asked_us[participant] = now
        return sleep_us

    def _stale(self, participant: str) -> bool:
        """Whether what was drawn last is for a head somewhere else; what was never drawn waits for motion."""
        stage, shown = self._stages.get(participant), self._shown.get(participant)
        drawn = stage is not None and stage.puppet is not None and stage.points is not None
        return drawn and shown is not None and _moved(shown[0], self._viewers[participant][0])

    def _draw_group(self, engine: Engine, group: list[Due]) -> None:
        if not self._wanted():
            return
        drawn = self._together(engine, group) if engine.batches else None
        if drawn is not None:
            for seen, eyes in drawn:
                self._hand_on(seen, *eyes)
            return
        for one in group:
            seen_now = self._seen(one)  # of all head poses the one that is newest now
            if seen_now is None:
                continue
            try:
                eyes = pair(engine, one.prepared, seen_now.stereo)
            except EngineError as error:
                logger.warning("a picture of %s could not be drawn: %s", one.participant, error)
                continue
            self._hand_on(seen_now, *eyes)

    def _together(self, engine: Engine, group: list[Due]) -> list[tuple[_Seen, tuple[Rgba, Rgba]]] | None:
        """Everybody's eyes in one call; None if that fails: one spoils no other's."""
        some = [seen for one in group if (seen := self._seen(one)) is not None]
        try:
            drawn = pairs(engine, [(seen.due.prepared, seen.stereo) for seen in some]) if some else []
        except EngineError as error:
            logger.warning("%d participants could not be drawn in one call: %s", len(some), error)
            return None
        return list(zip(some, drawn, strict=True))

    def _seen(self, one: Due) -> _Seen | None:
        stage = self._stages.get(one.participant)
        if stage is None or stage.puppet is None:
            return None
        with self._changed:
            seen_by, pose_us = self._viewers.get(one.participant, (FROM_AFAR, 0))
            eyes = self.eyes
        self._shown[one.participant] = seen_by, one.started_us
        metres = unit_m(stage.puppet.rest.scale)
        return _Seen(one, eye_keypoints(one.keypoints, seen_by, metres), metres, pose_us, eyes)

    def _hand_on(self, seen: _Seen, left: Rgba, right: Rgba) -> None:
        one = seen.due
        jpeg, depth, i420, done = pack(left, right), relief(seen.stereo, seen.metres), to_i420(left), now_us()
        times = one.capture_us, done, seen.pose_us
        self._on_stereo(StereoPicture(one.participant, jpeg, one.size, *times, seen.stereo, depth, seen.eyes))
        self._publish(Picture(one.participant, i420, None, one.capture_us, done, done - one.started_us))


def pair(engine: Engine, prepared: Prepared, stereo: Stereo) -> tuple[Rgba, Rgba]:
    """Both eyes' pictures of an avatar, one after the other; the next call overwrites them."""
    if not seen_apart(stereo):
        same = engine.render(prepared, stereo.left)
        return same, same
    left = engine.render(prepared, stereo.left).copy()  # the next call overwrites it
    return left, engine.render(prepared, stereo.right)


def pairs(engine: Engine, wanted: Sequence[tuple[Prepared, Stereo]]) -> list[tuple[Rgba, Rgba]]:
    """Both eyes' pictures of several avatars, in one engine call; the next call overwrites them.

    Raises:
        EngineError: as `Engine.render_many`.
    """
    eyes: list[tuple[Prepared, NDArray[np.float32]]] = []
    places = []
    for prepared, stereo in wanted:
        apart = seen_apart(stereo)
        places.append((len(eyes), len(eyes) + apart))
        eyes += [(prepared, points) for points in ((stereo.left, stereo.right) if apart else (stereo.left,))]
    drawn = engine.render_many(eyes)
    return [(drawn[left], drawn[right]) for left, right in places]


def seen_apart(stereo: Stereo) -> bool:
    """Whether the eyes see different pictures."""
    return not np.array_equal(stereo.left, stereo.right)


def _moved(before: Viewer, after: Viewer) -> bool:
    moved = float(np.abs(after.position - before.position).max())
    turned = float(np.abs(after.right - before.right).max())
    return moved > MOVED_M or turned > 2 * MOVED_M or after.ipd != before.ipd
