"""Person-specific fine-tuning of the few-shot engine: Zakharov et al. 2019, section 3.4.

The modulation that the projection makes of the mean embedding becomes free, and with `whole` so do the generator's
weights, as published; the discriminator learns along, with a column of the person's own. 40 epochs over the T pictures.
The modulation travels in the avatar; weights of the generator do not, and become an engine's folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from telepresence.avatar.file import pack
from telepresence.avatar.model import Avatar, Reference
from telepresence.avatar.personal import pack_personal
from telepresence.avatar.sections import MAX_FILE_BYTES, SIGNING_BYTES
from telepresence.errors import InputError
from telepresence.face.matte import Matter, only_person
from telepresence.face.motion import to_square
from telepresence.generator import losses
from telepresence.generator.batches import weights
from telepresence.generator.fewshot.batches import resized
from telepresence.generator.fewshot.drawing import composed, signed
from telepresence.generator.fewshot.engine import REFERENCES
from telepresence.generator.fewshot.network import Discriminator, FewShot, of_person
from telepresence.generator.fewshot.raster import draw_on_host
from telepresence.generator.fewshot.stored import judge_of_engine, require_new, weights_of_engine, write_own_engine
from telepresence.runtime.info import find_engine

EPOCHS: Final = 40  # as published
BATCH: Final = 4
MAX_PICTURES: Final = 240  # of a video, evenly: 40 epochs of more take hours
RATES: Final = {"modulation": 5e-3, "generator": 2e-4, "judge": 2e-4}
"""The last is published; the others are for a narrow network and at most a thousand steps."""
ADVERSARIAL, MATCHING = 0.05, 0.5  # beside the content losses' sum, as the small network is trained
SSIM, GRADIENT, ENERGY, MATTE = 0.25, 0.5, 1.0, 0.3
WORTH: Final = 0.995  # of the first loss: what is hardly better is not worth keeping
SAY_S: Final = 1.0  # seconds between two lines of progress
_EPSILON: Final = 1e-4

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]
Progress = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class _Shots:
    """T pictures of the person at the networks' side."""

    picture: Tensor
    """[T, 3, S, S] uint8."""
    matte: Tensor
    """[T, 1, S, S] uint8."""
    weight: Tensor
    """[T, 1, S, S] uint8, what an error counts."""
    raster: Tensor
    """[T, 3, S, S] uint8."""

    def __len__(self) -> int:
        return len(self.picture)


def fine_tune(
    avatar: Avatar,
    pictures: Sequence[Picture] = (),
    landmarks: Sequence[Floats] = (),
    *,
    engine: str = "fewshot",
    minutes: float = 5.0,
    progress: Progress | None = None,
    whole: Path | None = None,
) -> Avatar:
    """Learn what is a person's own.

    Args:
        avatar: as enrolled.
        pictures: (S, S, 3) uint8 RGB of a video in the avatar's framing; none: the T pictures are the references.
        landmarks: (478, 3) each, pixels of those pictures.
        engine: a few-shot engine's name or folder.
        minutes: at most.
        progress: called with the share that is over, 0 to 1, and a line of text.
        whole: new folder for an engine of the person's own, whose generator's weights are fine-tuned as well.

    Returns:
        The avatar with `personal` for this engine, or for the person's own; the very same avatar when tuning did not
        help (then there is no folder either).

    Raises:
        InputError: pictures and landmarks do not go together, the avatar's file has no room, or `whole` is not new.
        EngineError: no such engine, or not a few-shot engine.
    """
    if len(pictures) != len(landmarks):
        raise InputError(f"fine-tuning needs landmarks of every picture, not {len(landmarks)} of {len(pictures)}")
    say = progress or (lambda share, line: None)
    info = find_engine(engine)
    network = weights_of_engine(info.folder).requires_grad_(False)
    _require_room(avatar, network.generator.modulation)
    if whole is not None:
        require_new(whole)
    found = judge_of_engine(info)
    say(0.0, "looking at the pictures")
    tuner = _Tuner(network, avatar, _shots(network, avatar, pictures, landmarks), found, whole=whole is not None)
    if not tuner.run(minutes * 60, say):
        return avatar
    own = info if whole is None else write_own_engine(info, network, whole)
    return replace(avatar, personal={**avatar.personal, own.digest: tuner.packed(len(avatar.references))})


def _require_room(avatar: Avatar, length: int) -> None:
    room = MAX_FILE_BYTES - SIGNING_BYTES - len(pack(avatar))
    if 2 * length * min(len(avatar.references), REFERENCES) + 512 > room:
        raise InputError(
            f"an avatar with {len(avatar.references)} references has no room for what would be learned (a file has at "
            f"most {MAX_FILE_BYTES >> 20} MiB); enrol it with fewer --references"
        )


def _shots(network: FewShot, avatar: Avatar, pictures: Sequence[Picture], landmarks: Sequence[Floats]) -> _Shots:
    if not pictures:
        return _stack(network, avatar.references[:REFERENCES])
    numbers = np.unique(np.linspace(0, len(pictures) - 1, min(MAX_PICTURES, len(pictures))).astype(int))
    with Matter() as matter:
        mattes = {i: only_person(matter(pictures[i]), landmarks[i]) for i in numbers}
    return _stack(network, [Reference(pictures[i], np.asarray(landmarks[i], np.float32), mattes[i]) for i in numbers])


def _stack(network: FewShot, shots: Sequence[Reference]) -> _Shots:
    size, inner = network.config.size, network.config.inner
    points = [to_square(shot.landmarks, shot.side, shot.side) for shot in shots]
    columns = (
        [resized(shot.picture, size).transpose(2, 0, 1) for shot in shots],
        [resized(shot.matte, size)[None] for shot in shots],
        [resized(weights(own, shot.side), size)[None] for shot, own in zip(shots, points, strict=True)],
        [draw_on_host(own, size, inner) for own in points],
    )
    return _Shots(*(torch.from_numpy(np.ascontiguousarray(np.stack(column))) for column in columns))


class _Tuner:
    def __init__(
        self,
        network: FewShot,
        avatar: Avatar,
        shots: _Shots,
        judge: tuple[Discriminator, bool] | None,
        *,
        whole: bool,
    ) -> None:
        self.network, self.shots, self.whole = network, shots, whole
        size = network.config.size
        self.plate = torch.from_numpy(resized(avatar.background, size).transpose(2, 0, 1).copy())[None].float() / 255
        embedding = self._embed(_stack(network, avatar.references[:REFERENCES]))
        self.modulation = network.generator.project(embedding).requires_grad_()
        groups = [{"params": [self.modulation], "lr": RATES["modulation"]}]
        if whole:
            network.generator.requires_grad_(True)
            network.generator.projection.requires_grad_(False)  # its work is done
            own = [p for p in network.generator.parameters() if p.requires_grad]
            groups.append({"params": own, "lr": RATES["generator"]})
        self.optimiser = torch.optim.Adam(groups, betas=(0.5, 0.999))
        # The published start is e in the place of a column; without the match loss a column has nothing to do with e.
        self.judge = _Judge(judge[0], embedding if judge[1] else None) if judge else None
        self.random = torch.Generator().manual_seed(0)

    @torch.no_grad()
    def _embed(self, shots: _Shots) -> Tensor:
        """Mean embedding [1, N] of the references, as the engine has it."""
        picture = signed(shots.picture)
        if self.network.config.matte:
            picture = of_person(picture, shots.matte.float() / 255)
        parts = zip(torch.split(picture, BATCH), torch.split(signed(shots.raster), BATCH), strict=True)
        return torch.cat([self.network.embedder(*part) for part in parts]).mean(0, keepdim=True)

    def run(self, seconds: float, say: Progress) -> bool:
        """Optimise; whether the T pictures are drawn better than before."""
        begin = said = time.monotonic()
        first = self._check()
        total = EPOCHS * -(-len(self.shots) // BATCH)
        for done in range(total):
            if done % -(-len(self.shots) // BATCH) == 0:
                order = torch.split(torch.randperm(len(self.shots), generator=self.random), BATCH)
            now = time.monotonic()
            if now - begin >= seconds:
                break
            if now - said >= SAY_S:
                said = now
                say(max(done / total, (now - begin) / seconds), f"epoch {done // len(order) + 1} of {EPOCHS}")
            self._step(order[done % len(order)])
        else:
            done = total
        last = self._check()
        say(1.0, self._told(first, last, done // -(-len(self.shots) // BATCH), time.monotonic() - begin))
        return last < WORTH * first

    def _told(self, first: float, last: float, epochs: int, seconds: float) -> str:
        judged = "" if self.judge else "; without a discriminator, which this engine does not bring along"
        return (
            f"{len(self.shots)} picture(s) {100 * (1 - last / first):.1f} % better after {epochs} of {EPOCHS} epochs "
            f"in {seconds:.0f} s{judged}"
        )

    def packed(self, references: int) -> bytes:
        """The modulation as an avatar keeps it: of every reference the same."""
        rows = self.modulation.detach().expand(min(references, REFERENCES), -1)
        return pack_personal({"modulation": rows.numpy().astype(np.float32)})

    def _step(self, which: Tensor) -> None:
        picture, matte = self._draw(which)
        loss = self._content(picture, matte, which)
        real, raster = signed(self.shots.picture[which]), signed(self.shots.raster[which])
        if self.judge is not None:
            loss = loss + self.judge.loss(real, picture * 2 - 1, raster)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        if self.judge is not None:
            self.judge.learn(real, picture.detach() * 2 - 1, raster)

    @torch.no_grad()
    def _check(self) -> float:
        parts = torch.split(torch.arange(len(self.shots)), BATCH)
        found = [float(self._content(*self._draw(part), part)) * len(part) for part in parts]
        return sum(found) / len(self.shots)

    def _draw(self, which: Tensor) -> tuple[Tensor, Tensor | None]:
        raster = signed(self.shots.raster[which])
        out = self.network.generator(raster, self.modulation.expand(len(which), -1))
        return composed(out, self.plate)

    def _content(self, picture: Tensor, matte: Tensor | None, which: Tensor) -> Tensor:
        real, weight = self.shots.picture[which].float() / 255, self.shots.weight[which].float() / 255
        loss = (
            losses.pyramid_l1(picture, real, weight)
            + SSIM * losses.dissimilarity(picture, real, weight)
            + GRADIENT * losses.gradient_l1(picture, real, weight)
            + ENERGY * losses.energy(picture, real, weight)
        )
        return loss if matte is None else loss + MATTE * (matte - self.shots.matte[which].float() / 255).abs().mean()


class _Judge:
    """The discriminator, going on with one column: the person's own. Pictures and rasters are [B, 3, S, S] -1..1."""

    def __init__(self, network: Discriminator, column: Tensor | None) -> None:
        for module in list(network.modules()):
            if isinstance(module, nn.Conv2d | nn.Linear):  # weights as spectral norm made them: put it back
                spectral_norm(module, eps=_EPSILON)
        self.network = network.train()
        if column is not None:
            network.columns.weight.data.copy_(column)
        self.optimiser = torch.optim.Adam(network.parameters(), RATES["judge"], (0.5, 0.999))

    def loss(self, real: Tensor, drawn: Tensor, raster: Tensor) -> Tensor:
        """What the generator is told: to look real, and to have a real picture's features."""
        self.network.requires_grad_(False)
        scores, features = self._judged(drawn, raster)
        with torch.no_grad():
            _, wanted = self._judged(real, raster)
        self.network.requires_grad_(True)
        return MATCHING * losses.matching(wanted, features) - ADVERSARIAL * scores.mean()

    def learn(self, real: Tensor, drawn: Tensor, raster: Tensor) -> None:
        """One step of its own."""
        scores, _ = self._judged(torch.cat([real, drawn]), torch.cat([raster, raster]))
        self.optimiser.zero_grad(set_to_none=True)
        losses.judge_loss(*scores.chunk(2)).backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()

    def _judged(self, picture: Tensor, raster: Tensor) -> tuple[Tensor, list[Tensor]]:
        scores, features = self.network(picture, raster, torch.zeros(len(picture), dtype=torch.long))
        return scores, features
