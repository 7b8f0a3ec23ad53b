"""Person-specific fine-tuning: the avatar's own tensors are optimised on a video, the network's weights stay.

The second stage of Zakharov et al. 2019 (section 3.4), with one difference: what is optimised is inputs of `render`
(features of every reference, the modulation vector, and the references' own pictures and mattes), so one compiled
engine serves everybody. Pictures and mattes stay what they are in the avatar, for every size and engine. A part of
the video is held out; what draws that part best is kept, and if that is the first, nothing is.

Half of the time a moment is drawn from other references than a call would choose for it: so each reference learns from
more moments than are its own, and what only one of them taught does not stay.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from telepresence.avatar.file import pack
from telepresence.avatar.model import Avatar, Reference
from telepresence.avatar.personal import pack_personal
from telepresence.avatar.sections import MAX_FILE_BYTES, SIGNING_BYTES
from telepresence.errors import InputError
from telepresence.face.matte import Matter
from telepresence.face.motion import to_square
from telepresence.generator import losses
from telepresence.generator.live import REFERENCES, LiveEncode, Network, Scales, compose, refine
from telepresence.generator.moments import SIDE, Floats, Moment, Picture, Places, planes, small
from telepresence.generator.network import DETAILS, FEATURES, MODULATION
from telepresence.generator.placing import Choice
from telepresence.generator.weights import weights_of_engine
from telepresence.runtime.info import find_engine

TUNED: Final = 10  # references whose features are tuned and stored: more would not fit an avatar's file
MAX_PICTURES: Final = 360  # of the video, evenly; 30 s at 12 a second
HELD_OUT: Final = 0.15  # the video's last part
MIN_PICTURES: Final = 40
HEADER_BYTES: Final = 512  # names and shapes, more than there are
BATCH: Final = 4
OTHERS: Final = 0.5  # of the moments of a step: drawn from other references than a call would choose
STEADY: Final = 0.95  # what is looked at and kept is a running mean: single steps go to and fro by some per cent
CHECK_S: Final = 15.0  # seconds between two looks at the held-out part
CHECK_STEPS: Final = 20  # and steps: on a busy machine three looks after few steps would say nothing
CHECKED: Final = 16  # pictures that are looked at
LEAST_CHECKED: Final = 6
ALIKE_S: Final = 0.4  # seconds: a picture nearer to a reference than this looks like it
PATIENCE: Final = 3  # looks without a better one before it stops
WORTH: Final = 0.995  # of the first loss: what is hardly better is not worth some megabytes of the avatar's file
RATES: Final = {"features": 4e-3, "details": 4e-3, "modulation": 1e-3, "colours": 3e-3, "mattes": 3e-3}
KEPT_APART: Final = ("colours", "mattes")  # in the avatar's references, not among its personal tensors
ALIKE: Final = 1.0  # what the face's likeness counts, every place in it alike: its rim too, where most errors are
FACE: Final = 40  # of 255: from that weight on a pixel is of the face
EDGE: Final = losses.WINDOW // 2  # pixels that a window of SSIM leaves out at each edge
CHANGE: Final = 0.02  # what a reference's change of colour counts, 0..1: where nothing is gained it stays as it was
MOST: Final = 0.06  # that it may change: what a few moments alone teach becomes specks in all others
GROWTH: Final = 1.25  # tuned pictures are at most that much larger as files

Progress = Callable[[float, str], None]


def fine_tune(
    avatar: Avatar,
    pictures: Sequence[Picture],
    landmarks: Sequence[Floats],
    *,
    engine: str = "live",
    minutes: float = 5.0,
    progress: Progress | None = None,
    from_reference_s: NDArray[np.float32] | None = None,
) -> Avatar:
    """Learn a person's own tensors.

    Args:
        avatar: as enrolled.
        pictures: (S, S, 3) uint8 RGB of the video in the avatar's framing, in order of time.
        landmarks: (478, 3) each, pixels of those pictures.
        engine: a live engine's name or folder.
        minutes: at most; it stops by itself when the held-out part stops improving.
        progress: called with the share of the time that is over, 0 to 1, and a line of text.
        from_reference_s: (T, K) of each picture, the seconds to each reference: one drawn from itself, or its like,
            decides nothing. None: none is near any.

    Returns:
        The avatar with `personal` for this engine and references tuned with it; the very same avatar when tuning did
        not help.

    Raises:
        InputError: the video is too short, or all its last part is references, or the avatar's file has no room.
        EngineError: no such engine, or not one that can be fine-tuned.
    """
    if len(pictures) != len(landmarks) or len(pictures) < MIN_PICTURES:
        raise InputError(f"fine-tuning needs a video with at least {MIN_PICTURES} pictures of the face")
    require_room(avatar)
    shape = (len(pictures), len(avatar.references))
    apart = np.full(shape, np.inf, np.float32) if from_reference_s is None else from_reference_s
    say = progress or (lambda share, line: None)
    info = find_engine(engine)
    network = weights_of_engine(info.folder).requires_grad_(False).eval()
    say(0.0, "looking at the video")
    tuner = _Tuner(network, avatar, pictures, landmarks, apart)
    if not tuner.run(minutes * 60, say):
        return avatar
    return replace(
        avatar, references=tuner.references(avatar), personal={**avatar.personal, info.tuning: tuner.packed()}
    )


def require_room(avatar: Avatar) -> None:
    """Ask early whether what would be learned still fits into the avatar's file.

    Raises:
        InputError: it does not.
    """
    if personal_bytes(len(avatar.references)) > MAX_FILE_BYTES - SIGNING_BYTES - GROWTH * len(pack(avatar)):
        raise InputError(
            f"an avatar with {len(avatar.references)} references has no room for what would be learned (a file has at "
            f"most {MAX_FILE_BYTES >> 20} MiB); enrol it with fewer --references"
        )


def held_out(from_reference_s: NDArray[np.float32]) -> list[int]:
    """Which pictures of the held-out part are looked at: none that is a reference, nor its like if there are others.

    Args:
        from_reference_s: (T,) of each picture of that part, seconds to the nearest reference.

    Raises:
        InputError: all of them are references.
    """
    free = np.flatnonzero(from_reference_s >= ALIKE_S)
    if len(free) < LEAST_CHECKED:
        furthest = np.argsort(-from_reference_s, kind="stable")[:LEAST_CHECKED]
        free = np.sort(furthest[from_reference_s[furthest] > 0])
    if not len(free):
        raise InputError("fine-tuning needs a longer video: all pictures of its last part are references")
    return [int(free[i]) for i in np.unique(np.linspace(0, len(free) - 1, CHECKED).astype(int))]


def personal_bytes(references: int) -> int:
    """How many bytes fine-tuning adds to the file of an avatar with so many references."""
    values = min(references, TUNED) * (FEATURES * 64 * 64 + DETAILS * 128 * 128) + references * MODULATION
    return 2 * values + HEADER_BYTES


class _Tuner:
    def __init__(
        self,
        network: Network,
        avatar: Avatar,
        pictures: Sequence[Picture],
        landmarks: Sequence[Floats],
        from_reference_s: NDArray[np.float32],
    ) -> None:
        self.network = network
        for part in (network.trunk, network.finish):  # and nothing else: where to look stays in float32
            part.forward = torch.autocast("cpu", torch.bfloat16)(part.forward)  # type: ignore[method-assign]
        self.scales = Scales(SIDE)
        self._encode(avatar)
        numbers = np.unique(np.linspace(0, len(pictures) - 1, min(MAX_PICTURES, len(pictures))).astype(int))
        cut = int(len(numbers) * (1 - HELD_OUT))
        checked = [int(numbers[cut + i]) for i in held_out(from_reference_s.min(1)[numbers[cut:]])]
        with Matter() as matter:
            self.learned_from, self.held_out = (
                [self.places.moment(pictures[i], landmarks[i], matter) for i in part]
                for part in (numbers[:cut], checked)
            )
        self.plate = planes(small(avatar.background))[None].float() / 255
        self.random = np.random.default_rng(0)

    @torch.no_grad()
    def _encode(self, avatar: Avatar) -> None:
        encode = LiveEncode(self.network, SIDE).eval()
        columns: list[tuple[Tensor, ...]] = []
        pictures, mattes = [], []
        for reference in avatar.references[:REFERENCES]:
            picture = torch.from_numpy(small(reference.picture))[None]
            matte = torch.from_numpy(small(reference.matte))[None, ..., None]
            pictures.append(picture)
            mattes.append(matte)
            points = torch.from_numpy(to_square(reference.landmarks, reference.side, reference.side))[None]
            columns.append(encode(picture, matte, points))
        parts = [torch.cat(part) for part in zip(*columns, strict=True)]
        _, *places, features, details, modulation = parts
        self.places, self.count = Places(*places), len(columns)
        self.first = {
            "features": features,
            "details": details,
            "modulation": modulation.mean(0, keepdim=True),
            "colours": torch.cat(pictures).permute(0, 3, 1, 2).float() / 255,
            "mattes": torch.cat(mattes).permute(0, 3, 1, 2).float() / 255,
        }
        # One by one: of a reference that a step does not show, nothing moves, whatever the optimiser remembers of it.
        self.tensors = {
            name: [part.clone().requires_grad_() for part in torch.split(value, 1)]
            for name, value in self.first.items()
        }
        self.best = self.mean = self.first

    def run(self, seconds: float, say: Progress) -> bool:
        """Optimise; whether it helped."""
        begin = time.monotonic()
        optimiser = torch.optim.Adam([{"params": self._learned(n), "lr": rate} for n, rate in RATES.items()])
        start = best = self._check()
        worse, checked, steps, taken = 0, begin, 0, 0
        while worse < PATIENCE and (now := time.monotonic()) - begin < seconds:
            self._step(optimiser)
            steps += 1
            taken += 1
            self._average(min(STEADY, taken / (taken + 9)))  # the first steps, far off, are soon forgotten
            if now - checked > CHECK_S and steps >= CHECK_STEPS:
                checked, steps, loss = now, 0, self._check()
                worse = worse + 1 if loss >= best else 0
                if loss < best:
                    best = loss
                    self.best = self.mean
                say(min(1.0, (now - begin) / seconds), f"held-out part: {100 * (1 - best / start):.1f} % better")
        loss = self._check()
        if loss < best:
            best = loss
            self.best = self.mean
        say(1.0, f"held-out part: {100 * (1 - best / start):.1f} % better in {time.monotonic() - begin:.0f} s")
        return best < WORTH * start

    def _learned(self, name: str) -> list[Tensor]:
        """Of features and details what is stored; all of the others."""
        return self.tensors[name][:TUNED] if name in ("features", "details") else self.tensors[name]

    @torch.no_grad()
    def _average(self, kept: float) -> None:
        """Take a step into the mean, of which `kept` stays."""
        now = {name: torch.cat(parts) for name, parts in self.tensors.items()}
        self.mean = {name: torch.lerp(now[name], mean, kept) for name, mean in self.mean.items()}

    def _of(self, name: str, picked: Tensor) -> Tensor:
        """[B, U, ...] of the references [B, U] that are used; of the mean where nothing is learned."""
        if not torch.is_grad_enabled():
            return self.mean[name][picked]
        parts = torch.cat([self.tensors[name][i] for i in picked.flatten().tolist()])
        return parts.reshape(*picked.shape, *parts.shape[1:])

    def packed(self) -> bytes:
        """The best personal tensors, as an avatar keeps them."""
        out = {name: self.best[name][:TUNED] for name in ("features", "details")}
        out["modulation"] = self.best["modulation"].expand(self.count, -1)
        return pack_personal({name: value.numpy().astype(np.float32) for name, value in out.items()})

    def references(self, avatar: Avatar) -> tuple[Reference, ...]:
        """The avatar's references with what was learned added to their pictures and mattes."""
        change = {name: 255 * (self.best[name] - self.first[name]) for name in KEPT_APART}
        tuned = [
            replace(one, picture=_added(one.picture, colour), matte=_added(one.matte[..., None], matte)[..., 0])
            for one, colour, matte in zip(avatar.references, *(change[name] for name in KEPT_APART), strict=False)
        ]
        return (*tuned, *avatar.references[len(tuned) :])

    def _step(self, optimiser: torch.optim.Optimizer) -> None:
        moments = [self.learned_from[i] for i in self.random.integers(len(self.learned_from), size=BATCH)]
        choices = [
            self.places.other(moment, self.random) if self.random.random() < OTHERS else moment.choice
            for moment in moments
        ]
        optimiser.zero_grad(set_to_none=True)
        shown = torch.stack([choice.indices for choice in choices])
        change = (self._of("colours", shown) - self.first["colours"][shown]).abs().mean()
        (self._loss(moments, choices) + CHANGE * change).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        with torch.no_grad():
            for name in KEPT_APART:
                for part, first in zip(self.tensors[name], torch.split(self.first[name], 1), strict=True):
                    part.copy_(torch.minimum(torch.maximum(part, first - MOST), first + MOST).clamp(0, 1))

    @torch.no_grad()
    def _check(self) -> float:
        batches = [self.held_out[i : i + BATCH] for i in range(0, len(self.held_out), BATCH)]
        return float(torch.stack([self._loss(some, [moment.choice for moment in some]) for some in batches]).mean())

    def _loss(self, moments: Sequence[Moment], choices: Sequence[Choice]) -> Tensor:
        picked = torch.stack([choice.indices for choice in choices])
        real = torch.stack([moment.picture for moment in moments]).float() / 255
        counts = torch.stack([moment.weight for moment in moments])
        weight, face = counts.float() / 255, (counts >= FACE)[..., EDGE:-EDGE, EDGE:-EDGE].float()
        matte = self._of("mattes", picked)
        layer, _, _ = refine(
            self.network,
            self.places.drawn(moments, choices),
            torch.cat([self._of("colours", picked) * matte, matte], 2),
            self._of("features", picked),
            self._of("details", picked),
            self._of("modulation", torch.zeros_like(picked[:, 0])),
            self.scales,
        )
        picture = compose(layer, self.plate)
        shown = picture[:, :3]
        real_matte = torch.stack([moment.matte for moment in moments]).float() / 255
        grey = shown.mean(1, keepdim=True), real.mean(1, keepdim=True)
        return (
            losses.pyramid_l1(shown, real, weight)
            + 0.25 * losses.dissimilarity(shown, real, weight)
            + losses.gradient_l1(shown, real, weight)
            + ALIKE * losses.weighted(1 - losses.ssim_map(*grey), face)
            + 0.3 * (picture[:, 3:] - real_matte).abs().mean()
        )


def _added(picture: Picture, change: Tensor) -> Picture:
    """A picture (S, S, C) and a change [C, SIDE, SIDE] of its grey levels -> their sum (S, S, C)."""
    side = picture.shape[0]
    if side != SIDE:
        change = interpolate(change[None], size=(side, side), mode="bicubic", align_corners=False, antialias=True)[0]
    whole: Picture = (picture + change.permute(1, 2, 0).numpy()).round().clip(0, 255).astype(np.uint8)
    return whole
