"""Samples made ready for the network: geometry done without gradients, references of a batch encoded once each.

Runs in the data workers. U is 2 while training: the reference nearest for the mouth, and the one for the eyes.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from multiprocessing import get_all_start_methods
from typing import Any, Final, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from telepresence.errors import InputError, TelepresenceError
from telepresence.face.topology import EYE_LEFT, EYE_RIGHT, LIPS, OVAL
from telepresence.generator.data.clips import Clip
from telepresence.generator.data.samples import Sample, Sampler
from telepresence.generator.placing import COMMON_CHANNELS, TOLD, TOLD_SIGNATURE, Choice, Placing
from telepresence.generator.sampling import tones

B = TypeVar("B")

USED: Final = 2
WHOLE, FACE, TELLING = 16, 60, 255  # weights of the loss, of 255: everywhere, on the face, at lips and eyes
GROWN: Final = 0.12  # of the face's width: what counts as the face
_COUNTED: Final = (  # ring, what an error in it counts, by how much of the face's width it is grown
    (OVAL, FACE, GROWN),
    (LIPS, TELLING, 0.05),
    (EYE_LEFT, TELLING, 0.05),
    (EYE_RIGHT, TELLING, 0.05),
)
GRACE_S: Final = 5  # seconds a data worker goes on after SIGTERM
JITTER: Final = 0.0012  # square coordinates: landmarks of a live camera tremble by about a sixth of a pixel of 256


@dataclass(frozen=True, slots=True)
class Batch:
    """B samples; N <= B * U different references. Pictures are uint8 until they are on the device."""

    target: Tensor
    """[B, 3, S, S] uint8."""
    matte: Tensor
    """[B, 1, S, S] uint8."""
    weight: Tensor
    """[B, 1, S, S] uint8, what an error counts."""
    plate: Tensor
    """[B, 3, S, S] uint8."""
    raster: Tensor
    """[B, U * 5 + 9, R, R] float32."""
    mouth: Tensor
    """[B, U] float32, shares by geometry alone where the mouth is."""
    eyes: Tensor
    """[B, U]."""
    signatures: Tensor
    """[B, 24] float32."""
    fill: Tensor
    """[B, 4, FILL, FILL] float32, what is drawn by rule: colour times share, share."""
    references: Tensor
    """[N, 4, S, S] uint8, RGB and matte."""
    placed: Tensor
    """[N, 7, R, R] float32."""
    which: Tensor
    """[B, U] int64, into N."""
    paired: bool = False
    """Whether the last two samples are neighbouring frames of which all else is the same."""

    def to(self, device: torch.device) -> Batch:
        """Move everything."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {
            name: value.to(device, non_blocking=True) for name, value in values.items() if isinstance(value, Tensor)
        }
        return replace(self, **moved)


class Preparer:
    """Turns samples into tensors."""

    def __init__(self, seed: int = 0) -> None:
        self._placing = Placing().eval()
        self._random = np.random.default_rng(seed)
        self._choice: Choice | None = None

    @torch.no_grad()
    def choose(self, references: NDArray[np.float32], target: NDArray[np.float32]) -> list[int]:
        """Which references `Sampler.draw` shall decode."""
        signatures = torch.stack([self._placing.signature(torch.from_numpy(points)) for points in references])
        now = self._placing.signature(torch.from_numpy(target))
        self._choice = self._placing.choose(now, signatures, USED)
        picked: list[int] = self._choice.indices.tolist()
        return picked

    @torch.no_grad()
    def prepare(self, sample: Sample) -> dict[str, Any]:
        """One sample's tensors, by `Batch`'s names, without the batch axis.

        Raises:
            InputError: the sample was not drawn with this preparer's `choose`.
        """
        if self._choice is None or self._choice.indices.tolist() != sample.chosen.tolist():
            raise InputError("draw the sample with this preparer's choose, just before it is prepared")
        placing = self._placing
        noise = self._random.normal(0, JITTER, sample.target_points.shape).astype(np.float32)
        points = torch.from_numpy(sample.target_points + noise)
        now = placing.signature(points)
        moved, face = placing.vertices(points)
        references = torch.from_numpy(np.ascontiguousarray(sample.reference_points))
        vertices, expressions = zip(*[placing.vertices(one) for one in references], strict=True)
        first, _ = placing.vertices(torch.from_numpy(np.ascontiguousarray(sample.all_reference_points[0])))
        raster = placing.draw(moved, first, torch.stack(vertices), face - torch.stack(expressions))
        looks = torch.stack([placing.signature(one) for one in references])
        shown = ((self._choice.mouth + self._choice.eyes)[:, None] * looks).sum(0) / 2
        colours = torch.stack(
            [tones(_planes(p)[None].float() / 255, q) for p, q in zip(sample.references, references, strict=True)]
        )
        numbers = list(dict.fromkeys(sample.chosen.tolist()))
        places = [sample.chosen.tolist().index(number) for number in numbers]
        return {
            "target": _planes(sample.target),
            "matte": torch.from_numpy(sample.target_matte)[None],
            "weight": torch.from_numpy(weights(sample.target_points, sample.target.shape[0]))[None],
            "plate": _planes(sample.plate),
            "raster": raster,
            "mouth": self._choice.mouth,
            "eyes": self._choice.eyes,
            "signatures": torch.cat([now[:TOLD_SIGNATURE], shown[:TOLD_SIGNATURE]]),
            "fill": placing.fill(raster, self._choice, points, now, looks, colours),
            "references": [
                torch.cat([_planes(sample.references[at]), torch.from_numpy(sample.reference_mattes[at])[None]])
                for at in places
            ],
            "placed": [own_raster(placing, vertices[at]) for at in places],
            "which": torch.tensor([numbers.index(number) for number in sample.chosen.tolist()]),
        }


def own_raster(placing: Placing, vertices: Tensor) -> Tensor:
    """A reference's own mesh, vertices [V, 3] -> [7, R, R] constant attributes: what the encoder is told."""
    raster = placing.draw(vertices, vertices, vertices[None], torch.zeros_like(vertices)[None])
    return raster[-COMMON_CHANNELS:][:TOLD]


def weights(points: NDArray[np.float32], side: int) -> NDArray[np.uint8]:
    """What an error counts (S, S) uint8: everywhere a little, more on the face, most at lips and eyes."""
    out = np.full((side, side), WHOLE, np.uint8)
    pixels = (points[:, :2] + 1) * side / 2
    width = float(np.ptp(pixels[list(OVAL), 0]))
    for ring, value, grown in _COUNTED:
        hull = cv2.convexHull(np.rint(pixels[list(ring)]).astype(np.int32))
        mask = np.zeros_like(out)
        cv2.fillConvexPoly(mask, hull, int(value))
        cv2.polylines(mask, [hull], True, int(value), max(1, round(2 * grown * width)))
        out = np.maximum(out, mask)
    return np.asarray(cv2.blur(out, (5, 5)), np.uint8)


def collate(samples: Sequence[dict[str, Any]], *, paired: bool = False) -> Batch:
    """Put samples together; of a pair, the last two, references are kept once."""
    which: list[Tensor] = []
    references: list[Tensor] = []
    placed: list[Tensor] = []
    for number, sample in enumerate(samples):
        if paired and number == len(samples) - 1:
            which.append(which[-1])
            continue
        which.append(sample["which"] + len(references))
        references += sample["references"]
        placed += sample["placed"]
    stacked = {
        name: torch.stack([sample[name] for sample in samples])
        for name in ("target", "matte", "weight", "plate", "raster", "mouth", "eyes", "signatures", "fill")
    }
    return Batch(
        **stacked,
        references=torch.stack(references),
        placed=torch.stack(placed),
        which=torch.stack(which),
        paired=paired,
    )


def draw_batch(sampler: Sampler, preparer: Preparer, batch: int, *, pairs: bool = False) -> Batch:
    """Draw `batch` samples; with `pairs` the last two are a pair, where clips have one and it fits."""
    pair = sampler.draw_pair(preparer.choose) if pairs and batch >= 2 else None
    # The pair is prepared first: what `choose` chose holds until the next draw.
    last = [preparer.prepare(sample) for sample in pair or ()]
    singles = [preparer.prepare(sampler.draw(preparer.choose)) for _ in range(batch - len(last))]
    return collate(singles + last, paired=pair is not None)


class _Stream(IterableDataset[Any]):
    """Whole batches. An error is handed over as it is: a loader would wrap it into a page of traceback."""

    def __init__(self, draws: Callable[[int], Iterator[Any]], seed: int) -> None:
        self._draws, self._seed = draws, seed

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        cv2.setNumThreads(1)
        if info:
            torch.set_num_threads(1)
        try:
            yield from self._draws(self._seed * 1000 + (info.id if info else 0))
        except TelepresenceError as error:
            yield error


def loader(
    clips: Sequence[Clip], batch: int, *, seed: int, workers: int = 1, augment: bool = True, pairs: bool = False
) -> Iterator[Batch]:
    """An endless supply of batches. Different processes and restarts take different seeds.

    Raises:
        InputError: while drawing: clips of several sizes, or a damaged picture in one, which is named.
    """

    def draws(seed: int) -> Iterator[Batch]:
        sampler = Sampler(clips, seed=seed, augment=augment)
        preparer = Preparer(seed)
        while True:
            yield draw_batch(sampler, preparer, batch, pairs=pairs)

    return drawn_elsewhere(draws, seed, workers)


def drawn_elsewhere(draws: Callable[[int], Iterator[B]], seed: int, workers: int) -> Iterator[B]:
    """What `draws` yields, given a seed of its own in each of so many worker processes; 0: in this process.

    Raises:
        TelepresenceError: one that was raised there.
    """
    # Clips are shared with the workers by forking; where that is impossible, this process does the work itself.
    workers = workers if "fork" in get_all_start_methods() else 0
    data: DataLoader[Any] = DataLoader(
        _Stream(draws, seed),
        batch_size=None,
        num_workers=workers,
        collate_fn=_as_it_is,
        prefetch_factor=4 if workers else None,
        multiprocessing_context="fork" if workers else None,
        worker_init_fn=_leave_signals,
    )
    return _checked(iter(data))


def _checked(batches: Iterator[B | TelepresenceError]) -> Iterator[B]:
    try:
        for batch in batches:
            if isinstance(batch, TelepresenceError):
                raise batch
            yield batch
    finally:
        del batches  # ends the workers; an error's traceback would keep them as long as itself


def _as_it_is(batch: Any) -> Any:
    return batch


def _leave_signals(worker: int) -> None:
    # A Ctrl-C or a SIGTERM to the whole group is the trainer's to answer: it saves, then its workers end with it. But
    # not for ever: a trainer that ends with batches in hand sends SIGTERM as well, and waits for its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(GRACE_S))


def _planes(picture: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))
