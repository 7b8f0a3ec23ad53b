"""An engine in use: an avatar is prepared once, then every (478, 3) of keypoints becomes a picture.

In order:

    engine = open_engine("live", 256)
    engine.warm_up()
    prepared = engine.prepare(avatar)
    rgba = engine.render(prepared, keypoints)   # copy what you keep
    engine.close()

With several avatars, prepare each once and render them in any order: changing between them costs nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.avatar.personal import unpack_personal
from telepresence.errors import AvatarError, EngineError
from telepresence.face.basis import SCHEMA
from telepresence.face.motion import to_square
from telepresence.face.topology import N_LANDMARKS
from telepresence.runtime.choose import Choice, Chooser, recall, require_known
from telepresence.runtime.contract import Array, Runtime
from telepresence.runtime.graphs import EncodeInput, Graphs, takes_int8
from telepresence.runtime.info import DEFAULT_ENGINE, EngineInfo, find_engine, list_engines
from telepresence.runtime.machine import cache_folder, default_threads
from telepresence.runtime.many import batches
from telepresence.runtime.offered import accelerated, checked_int8, cost_of, key_of, runtimes
from telepresence.runtime.onnxruntime import OnnxRuntime
from telepresence.runtime.openvino import OpenVino
from telepresence.runtime.switch import Switch, compiled

if TYPE_CHECKING:
    from telepresence.avatar.model import Avatar, Reference

__all__ = [
    "Engine", "EngineInfo", "Prepared", "accelerated", "check_engine", "find_engine", "list_engines", "open_engine",
    "runtimes",
]  # fmt: skip

WARM_UP_PICTURES: Final = 3
# Where things lie is measured, not learned: a stranger's avatar must not be able to put nonsense there.
_NOT_PERSONAL: Final = (
    "keypoints", "reference_keypoints", "background", "vertices", "expression", "signature", "tone",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """An avatar made ready for one engine and size. Keep it as long as the avatar is shown."""

    digest: str
    """Of the engine that it was prepared for."""
    size: int
    tensors: Mapping[str, Array]
    """Inputs of `render` by name; not to be changed."""
    warnings: tuple[str, ...] = ()
    """What of the avatar could not be used: to be said loudly."""


class Engine:
    """A loaded engine. `prepare` and `render` may run at the same time in two threads; each by itself takes turns."""

    def __init__(self, choice: Choice[Graphs], switch: Switch | None = None) -> None:
        self._graphs = switch or Switch(choice.loaded, lambda runtime: choice.loaded)
        self.info = self._graphs.info
        self.size = self._graphs.size
        """S, side of the pictures in pixels."""
        self.warnings = choice.warnings
        """Runtimes that are missing or failed: to be said loudly."""
        self.measured_ms = choice.measured_ms
        """Milliseconds of the cheapest picture by runtime, if they were compared; of CPU time if none is of a GPU."""
        self.reason = choice.reason + "".join(f"\nwarning: {warning}" for warning in choice.warnings)
        """Why this runtime was chosen: print it. Warnings follow, one a line."""
        if choice.later is not None:
            self.reason += (
                f"\n{choice.later.name} {choice.later.version} compiles the engine meanwhile, then takes over"
            )

    @property
    def runtime_name(self) -> str:
        """The runtime that draws now; in mid-call another may take over: a faster one, or when this one fails."""
        return self._graphs.current.runtime.name

    @property
    def batches(self) -> bool:
        """Whether `render_many` gains anything with the runtime that draws now."""
        return batches(self._graphs.current.runtime)

    def prepare(self, avatar: Avatar) -> Prepared:
        """Encode an avatar's references; takes about as long as as many pictures. Blocks: call it from a worker.

        The first K references are used (enrolment puts the most useful first); fewer are repeated from the first.

        Raises:
            EngineError: the runtime failed, or the engine is closed.
        """
        used = avatar.references[: self.info.references]
        background = resized(avatar.background, self.size)
        tensors = self._graphs.tensors((self._encode_input(reference) for reference in used), background)
        warnings = self._personalise(avatar, dict(tensors), len(used))
        return Prepared(self.info.digest, self.size, tensors, warnings)

    def _personalise(self, avatar: Avatar, tensors: dict[str, Array], used: int) -> tuple[str, ...]:
        """Put an avatar's own tensors in the place of encoded ones. What does not fit is left out, and said."""
        data = avatar.personal.get(self.info.tuning) or avatar.personal.get(self.info.digest)
        if data is None:
            if not avatar.personal:
                return ()
            return (
                f"{avatar.name!r} was fine-tuned for another engine than {self.info.name!r} {self.info.version}; it is "
                "drawn without. Enrol it again with --fine-tune for this one",
            )
        try:
            own = unpack_personal(data)
        except AvatarError as error:
            return (f"{avatar.name!r} is drawn without its fine-tuning: {error}",)
        for name, values in own.items():
            there = tensors.get(name)
            if name in _NOT_PERSONAL or there is None or there.dtype != np.float32:  # bytes would wrap silently
                return (f"{avatar.name!r} is drawn without its fine-tuning: {name!r} is not learned in this engine",)
            if values.ndim != there.ndim or values.shape[1:] != there.shape[1:] or len(values) > used:
                return (f"{avatar.name!r} is drawn without its fine-tuning: {name!r} does not fit the engine",)
        for name, values in own.items():
            tensors[name][: len(values)] = values
            tensors[name][used:] = tensors[name][0]
        return ()

    def render(self, prepared: Prepared, keypoints: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Draw one picture. Blocks: call it from a worker.

        Args:
            prepared: from `prepare` of an engine with the same graphs and size. Changing avatars copies nothing.
            keypoints: (478, 3) float32, square coordinates, finite.

        Returns:
            (S, S, 4) uint8 RGBA, RGB composed over the avatar's background, A the matte. It belongs to the engine and
            is overwritten by the next call: copy what you keep.

        If the runtime fails, another one takes over and draws the picture, within a second.

        Raises:
            EngineError: an argument does not fit the engine, the engine is closed, or no runtime is left.
        """
        return self._graphs.render(prepared.tensors, self._checked(prepared, keypoints))

    def _checked(self, prepared: Prepared, keypoints: NDArray[np.float32]) -> NDArray[np.float32]:
        if prepared.digest != self.info.digest or prepared.size != self.size:
            raise EngineError("the avatar was prepared for another engine or size; call this engine's prepare")
        keypoints = np.asarray(keypoints, np.float32)
        if keypoints.shape != (N_LANDMARKS, 3) or not np.isfinite(keypoints).all():
            raise EngineError(f"keypoints must be finite and ({N_LANDMARKS}, 3); their shape is {keypoints.shape}")
        return keypoints

    def render_many(self, each: Sequence[tuple[Prepared, NDArray[np.float32]]]) -> list[NDArray[np.uint8]]:
        """Draw a picture of each of several participants: on a GPU in one engine call, once that has been compiled.

        Args:
            each: what `render` takes, at least one.

        Returns:
            Pictures as `render` gives them, in order. They may be overwritten by the next call: copy what you keep.

        Raises:
            EngineError: as `render`.
        """
        return self._graphs.render_many(
            [(prepared.tensors, self._checked(prepared, points)) for prepared, points in each]
        )

    def warm_up(self) -> None:
        """Draw a few pictures of nobody, so that the first of a call is as fast as the others.

        Raises:
            EngineError: the runtime failed, or the engine is closed.
        """
        self.measure(WARM_UP_PICTURES)
        self._graphs.forget_trial()

    def measure(self, pictures: int = 30, clock: Callable[[], float] = time.perf_counter) -> list[float]:
        """Milliseconds by `clock` that each of some pictures of nobody takes; warm up first.

        Raises:
            EngineError: the runtime failed, or the engine is closed.
        """
        times = []
        for _ in range(pictures):
            begin = clock()
            self._graphs.trial()
            times.append((clock() - begin) * 1e3)
        return times

    def close(self) -> None:
        """Free the graphs, after a picture in progress is done. Closing twice is fine."""
        self._graphs.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _encode_input(self, reference: Reference) -> EncodeInput:
        height, width = reference.picture.shape[:2]
        return EncodeInput(
            resized(reference.picture, self.size),
            resized(reference.matte, self.size),
            to_square(reference.landmarks, width, height),
        )


def open_engine(
    name: str | Path = DEFAULT_ENGINE, size: int = 256, *, runtime: str | None = None, threads: int | None = None
) -> Engine:
    """Find an engine, check it, choose a runtime for it and load it. Call `warm_up` next, and `close` at the end.

    The first use on a machine measures the runtimes, which takes up to about two seconds more.

    Args:
        name: a shipped engine's name, or the path of an engine's folder.
        size: side of the pictures, pixels.
        runtime: a runtime's name; None or "auto" for the fastest here.
        threads: CPU threads a picture, >= 1; None for `machine.default_threads()`.

    Raises:
        EngineError: no such engine, size or runtime; the engine is damaged or was made for another motion schema; or no
            runtime can execute it.
    """
    info = check_engine(name, size, runtime=runtime)
    return _open(info, size, runtime, threads or default_threads())


def _open(info: EngineInfo, size: int, runtime: str | None, threads: int) -> Engine:
    """See `open_engine`."""
    ordinary, extra = runtimes(info, size)
    paths = [info.graph(kind, size) for kind in ("encode", "render")]

    key, memory = key_of(info, size, threads, ordinary), cache_folder() / "runtime.json"
    trusted = recall(memory, key)  # what was measured here was looked at before

    def load(candidate: Runtime) -> Graphs:
        graphs = Graphs(info, size, candidate, threads)
        return graphs if candidate.name in trusted else checked_int8(graphs)

    chooser: Chooser[Graphs] = Chooser(
        ordinary, load, key, memory, extra, first=accelerated(), ready=lambda candidate: compiled(candidate, paths),
        optional=[candidate.name for candidate in ordinary if takes_int8(candidate)], cost=cost_of(ordinary),
    )  # fmt: skip
    choice = chooser.choose(runtime)
    measured = recall(memory, key)
    by_speed = sorted(ordinary, key=lambda candidate: measured.get(candidate.name, math.inf))
    switch = Switch(choice.loaded, load, [OnnxRuntime(), OpenVino()], [*accelerated(), *by_speed])
    if choice.later is not None:
        switch.improve(choice.later)
    return Engine(choice, switch)


def check_engine(name: str | Path, size: int, *, runtime: str | None = None) -> EngineInfo:
    """Find an engine and check it as `open_engine` does, but load nothing.

    Raises:
        EngineError: no such engine, size or runtime, or the engine is damaged or was made for another motion schema.
    """
    info = find_engine(name)
    if info.motion_schema != SCHEMA:
        raise EngineError(
            f"engine {info.name!r} was made for motion schema {info.motion_schema}, and this telepresence has schema "
            f"{SCHEMA}; install the engine's version for schema {SCHEMA}, or update telepresence"
        )
    for kind in ("encode", "render"):  # a damaged file is the engine's fault and not the runtime's: say so at once
        info.graph(kind, size)
    ordinary, extra = runtimes()
    require_known(runtime, (*accelerated(), *ordinary, *extra))
    return info


def resized(picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Scale a square picture (H, H[, C]) uint8 to `size`."""
    if picture.shape[:2] == (size, size):
        return picture
    from PIL import Image

    scaled = Image.fromarray(picture).resize((size, size), Image.Resampling.BICUBIC)  # filters before it shrinks
    return np.asarray(scaled, np.uint8)
