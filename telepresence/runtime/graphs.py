"""An engine's two graphs in one runtime: checked against each other, tensors of an avatar in, picture out.

S is the picture's side in pixels, K the number of references.

    encode-S    picture uint8 [1,S,S,3] RGB, matte uint8 [1,S,S,1], keypoints float32 [1,478,3]
                -> features, float32, first axis 1
    render-S    keypoints float32 [1,478,3], the features float32, first axis K, background uint8 [1,S,S,3];
                reference_keypoints float32 [K,478,3], unless the features say all that it needs
                -> picture uint8 [1,S,S,4]: RGB composed over the background, A is the matte
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.errors import EngineError
from telepresence.face.basis import default_basis
from telepresence.face.topology import N_LANDMARKS
from telepresence.runtime.contract import Array, Runtime, Session, TensorSpec
from telepresence.runtime.info import EngineInfo

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

_FLOAT: Final = np.dtype(np.float32)
_BYTE: Final = np.dtype(np.uint8)
_GIVEN: Final = ("keypoints", "reference_keypoints", "background")  # inputs of render that are not features


@dataclass(frozen=True, slots=True)
class EncodeInput:
    """One reference as `encode` takes it."""

    picture: Bytes
    """(S, S, 3) uint8 RGB."""
    matte: Bytes
    """(S, S) uint8, 255 is the person."""
    keypoints: Floats
    """(478, 3) float32, square coordinates of the picture."""


class Graphs:
    """Both graphs of an engine for one size, loaded in one runtime."""

    def __init__(self, info: EngineInfo, size: int, runtime: Runtime, threads: int | None) -> None:
        """Load.

        Raises:
            EngineError: a file is damaged, the runtime cannot load it, or a graph breaks the engine's contract.
        """
        self.info, self.size, self.runtime = info, size, runtime
        # an avatar that arrives in mid-call is encoded while pictures are rendered: one lock for each graph
        self._encoding, self._rendering = threading.Lock(), threading.Lock()
        path = info.graph("render", size, int8=takes_int8(runtime))
        self._encode = runtime.load(info.graph("encode", size), threads=threads)
        try:
            self._render = runtime.load(path, threads=threads)
        except EngineError:
            self._encode.close()
            raise
        self._bound: Mapping[str, Array] | None = None
        self._trial: Mapping[str, Array] | None = None
        try:
            self._check()
        except EngineError:
            self.close()
            raise

    def tensors(self, references: Iterable[EncodeInput], background: Bytes) -> Mapping[str, Array]:
        """What `render` needs of an avatar: 1 to K references encoded, free slots filled with the first.

        Raises:
            EngineError: the runtime failed.
        """
        slots = self.info.references
        out: dict[str, Array] = {
            name: np.empty(spec.shape, spec.dtype) for name, spec in self._render.inputs.items() if name != "keypoints"
        }
        count = 0
        for reference in references:
            with self._encoding:
                features = self._encode.run(
                    {
                        "picture": reference.picture[None],
                        "matte": reference.matte[None, ..., None],
                        "keypoints": reference.keypoints[None],
                    }
                )
                for name, feature in features.items():
                    out[name][count] = feature[0]
            if "reference_keypoints" in out:
                out["reference_keypoints"][count] = reference.keypoints
            count += 1
            if count == slots:
                break
        for name in out.keys() - {"background"}:
            out[name][count:] = out[name][0]
        out["background"][0] = background
        return out

    def render(self, tensors: Mapping[str, Array], keypoints: Floats) -> Bytes:
        """Draw one picture (S, S, 4); the array is overwritten by the next call.

        Raises:
            EngineError: the runtime failed, or the graphs are closed.
        """
        with self._rendering:
            if self._bound is not tensors:
                self._bound = None
                for name, array in tensors.items():
                    self._render.bind(name, array)
                self._bound = tensors
            picture: Bytes = self._render.run({"keypoints": keypoints[None]})["picture"][0]
            return picture

    def trial(self) -> None:
        """Draw one picture of nobody: for warming up and for measuring."""
        shape = default_basis().mean * np.float32(0.4)
        if self._trial is None:
            rng = np.random.default_rng(0)
            picture = rng.integers(0, 256, (self.size, self.size, 3), np.uint8)
            self._trial = self.tensors([EncodeInput(picture, picture[..., 0], shape)], picture)
        self.render(self._trial, shape)

    def forget_trial(self) -> None:
        """Free what `trial` keeps between calls."""
        with self._rendering:
            self._trial = None  # the session itself lets go when the next avatar is bound

    def close(self) -> None:
        """Free both graphs, after a run in progress has ended."""
        with self._encoding:
            self._encode.close()
        with self._rendering:
            self._render.close()
            self._bound = self._trial = None

    def _check(self) -> None:
        size, slots = self.size, self.info.references
        points = TensorSpec((1, N_LANDMARKS, 3), _FLOAT)
        encode = {
            "picture": TensorSpec((1, size, size, 3), _BYTE),
            "matte": TensorSpec((1, size, size, 1), _BYTE),
            "keypoints": points,
        }
        render = {
            "keypoints": points,
            "background": TensorSpec((1, size, size, 3), _BYTE),
        }
        for name, spec in self._encode.outputs.items():
            if name in _GIVEN or spec.shape[:1] != (1,):
                raise EngineError(f"encode-{size}.onnx: output {name!r} is not a feature with a first axis of 1")
            render[name] = TensorSpec((slots, *spec.shape[1:]), spec.dtype)
        if "reference_keypoints" in self._render.inputs:
            render["reference_keypoints"] = TensorSpec((slots, N_LANDMARKS, 3), _FLOAT)
        _compare(f"encode-{size}.onnx", "inputs", self._encode, encode)
        _compare(f"render-{size}.onnx", "inputs", self._render, render)
        _compare(f"render-{size}.onnx", "outputs", self._render, {"picture": TensorSpec((1, size, size, 4), _BYTE)})


def takes_int8(runtime: Runtime) -> bool:
    """Whether a runtime draws with an engine's `render` graph in 8 bits; only engines that have one can be opened."""
    return bool(getattr(runtime, "int8", False))


def _compare(file: str, side: str, session: Session, wanted: Mapping[str, TensorSpec]) -> None:
    have = session.inputs if side == "inputs" else session.outputs
    if dict(have) != dict(wanted):
        wrong = sorted(name for name in have.keys() | wanted.keys() if have.get(name) != wanted.get(name))
        name = wrong[0]
        raise EngineError(
            f"{file} breaks the contract of engines: of its {side}, {name!r} should be {wanted.get(name, 'absent')}, "
            f"and it is {have.get(name, 'absent')}; export the engine again"
        )
