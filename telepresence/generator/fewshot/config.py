"""What can be chosen of the few-shot method: shape and training of the networks; two presets, and TOML files."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from telepresence.errors import InputError

SIZES: Final = (32, 64, 128, 256, 512)  # pixels
MAX_CONFIG_BYTES: Final = 64 * 1024
MAX_WORKERS: Final = 64

T = TypeVar("T", "FewShotConfig", "FewShotTraining")


@dataclass(frozen=True, slots=True)
class FewShotConfig:
    """The networks' shape; travels in checkpoints and weights. The defaults are the published ones.

    Raises:
        InputError: on making one that no networks can be built of.
    """

    size: int = 256
    """Side of the pictures, pixels."""
    width: float = 1.0
    """Of the generator: 1 has 64 to 512 channels."""
    embedder_width: float = 1.0
    judge_width: float = 1.0
    """Of the discriminator."""
    embedding: int = 512
    """N, length of an embedding."""
    references: int = 8
    """K, of a sample while training."""
    matte: bool = False
    """Draw a matte as well, and see and draw the person alone; False: the whole picture, as published."""
    inner: bool = False
    """Landmarks with inner lips and irises; False: the published drawing."""
    fold: int = 1
    """Pictures enter and leave as blocks of fold x fold pixels: 2 leaves out the outermost, most costly level."""
    normalised: bool = True
    """Spectral norm in embedder and generator too, as published; False: in the discriminator alone."""

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise InputError(f"size {self.size}: the few-shot engine draws {', '.join(map(str, SIZES))} pixels")
        if not all(1 / 16 <= width <= 2 for width in (self.width, self.embedder_width, self.judge_width)):
            raise InputError("give width, embedder_width and judge_width from 0.0625 to 2")
        if not 8 <= self.embedding <= 4096 or not 1 <= self.references <= 32 or self.fold not in (1, 2):
            raise InputError("give an embedding of 8 to 4096, references of 1 to 32 and a fold of 1 or 2")


@dataclass(frozen=True, slots=True)
class FewShotTraining:
    """How it is trained; kept in the checkpoint for the record. The defaults are the published values, where there are.

    The published perceptual losses need VGG19 and VGGFace, which are not shipped: `content` weighs what stands for them
    (docs/training.md), and `--perceptual FILE` adds a network that the user has.
    """

    people: int = 2
    """Clips a step and process, each with its own references."""
    targets: int = 1
    """Target frames of each, which share its references: more save time, and are less alike than they seem."""
    rate: float = 5e-5
    """Of embedder and generator."""
    judge_rate: float = 2e-4
    judge_steps: int = 2
    """Of the discriminator, per step of the generator."""
    momentum: float = 0.0
    """Adam's beta1 of embedder and generator, and of the discriminator."""
    adversarial_after: int = 0
    """Samples before the discriminator joins."""
    adversarial: float = 1.0
    matching: float = 10.0
    match: float = 80.0
    """Pulls a clip's embedding to its column W_i; 0: the feed-forward variant."""
    content: float = 10.0
    """Weighs l1, ssim, gradient and energy together."""
    ssim: float = 0.25
    gradient: float = 0.5
    energy: float = 1.0
    matte: float = 0.3
    perceptual: float = 1.0
    """What the network of `--perceptual` is worth."""
    several: bool = False
    """Also train with fewer references than K, as avatars may have; False: always K, as published."""
    augment: bool = False
    """Warp, mirror and recolour all pictures of a sample alike, which makes new people of few."""
    ema_samples: int = 4000
    """Over how many samples the shipped weights average: 0.999 a step at a batch of 4."""
    warm_up: int = 1
    """Samples over which the learning rate rises."""
    seed: int = 0
    workers: int = 1
    save_s: float = 120.0
    validate_s: float = 900.0

    @property
    def batch(self) -> int:
        """Samples a step and process."""
        return self.people * self.targets

    def __post_init__(self) -> None:
        if not 1 <= self.people <= 1024 or not 1 <= self.targets <= 32 or not 1 <= self.judge_steps <= 8:
            raise InputError("give people of 1 to 1024, targets of 1 to 32, judge_steps of 1 to 8")
        if not all(math.isfinite(value) and value >= 0 for value in astuple(self)):
            raise InputError("give training values that are finite and not negative")
        if self.warm_up < 1 or self.ema_samples < 1 or self.workers > MAX_WORKERS or self.momentum >= 1:
            raise InputError(
                f"give warm_up and ema_samples of 1 or more, workers of 0 to {MAX_WORKERS}, momentum below 1"
            )
        if self.augment and self.match:
            raise InputError(
                "match and augment exclude each other: warped pictures of a clip show other people, whose embeddings "
                "must not all be the clip's one column; set match = 0 (feed-forward) or augment = false"
            )


@dataclass(frozen=True, slots=True)
class Preset:
    """Networks and training together."""

    network: FewShotConfig
    training: FewShotTraining


PAPER: Final = Preset(FewShotConfig(), FewShotTraining())
"""As published: 256 pixels, full width. For millions of frames and GPUs."""

SMALL: Final = Preset(
    FewShotConfig(
        size=128,
        width=0.375,
        embedder_width=0.25,
        judge_width=0.125,
        embedding=256,
        matte=True,
        inner=True,
        fold=2,
        normalised=False,
    ),
    FewShotTraining(
        people=4,
        targets=2,
        # The published rates suit wide networks and weeks. The discriminator's stays the higher one, as published.
        rate=5e-4,
        judge_rate=1e-3,
        momentum=0.5,
        adversarial_after=30_000,
        adversarial=0.05,
        matching=0.5,
        match=0.0,
        content=1.0,
        several=True,
        augment=True,
        warm_up=2000,
    ),
)
"""Trains in hours on two CPU cores and a few dozen people: the feed-forward variant, on augmented clips."""

PRESETS: Final = {"small": SMALL, "paper": PAPER}


def read_preset(given: str) -> Preset:
    """A preset by its name, or of a TOML file: `base = "small"`, tables `[network]` and `[training]` of what differs.

    Raises:
        InputError: neither, or the file says what is not understood.
    """
    if given in PRESETS:
        return PRESETS[given]
    path = Path(given)
    if path.suffix != ".toml":
        raise InputError(f"--config {given}: give small, paper, or a .toml file")
    try:
        with path.open("rb") as file:
            text = file.read(MAX_CONFIG_BYTES + 1)
        if len(text) > MAX_CONFIG_BYTES:
            raise InputError(f"{path}: larger than {MAX_CONFIG_BYTES >> 10} KiB; not a configuration")
        tables = tomllib.loads(text.decode())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give small, paper, or a .toml file") from error
    except ValueError as error:  # tomllib's own, and what is not UTF-8
        raise InputError(f"{path}: not TOML ({error})") from error
    base = PRESETS.get(str(tables.pop("base", "paper")))
    network, training = tables.pop("network", {}), tables.pop("training", {})
    if base is None or tables or not isinstance(network, dict) or not isinstance(training, dict):
        raise InputError(f'{path}: give base = "small" or "paper", [network] and [training], and nothing else')
    return Preset(_changed(base.network, network, path), _changed(base.training, training, path))


def config_of(values: object, where: Path) -> FewShotConfig:
    """The networks' shape as a file of weights tells it.

    Raises:
        InputError: it does not.
    """
    if not isinstance(values, Mapping) or set(values) != {field.name for field in fields(FewShotConfig)}:
        raise InputError(f"{where}: does not say what few-shot networks it is of; give the weights.pt of its training")
    return _changed(PAPER.network, values, where)


def difference(one: FewShotConfig, other: Mapping[str, Any]) -> str:
    """What is not the same, for errors: "width 0.25 and not 0.5"."""
    mine = asdict(one)
    return ", ".join(
        f"{name} {other.get(name)} and not {value}" for name, value in mine.items() if other.get(name) != value
    )


def _changed(base: T, values: Mapping[str, Any], where: Path) -> T:
    known = asdict(base)
    for name, value in values.items():
        if name not in known:
            raise InputError(f"{where}: there is no {name!r}; there are {', '.join(known)}")
        wanted = type(known[name])
        fine = isinstance(value, (int, float)) and not isinstance(value, bool) if wanted is float else False
        if not fine and type(value) is not wanted:
            raise InputError(f"{where}: {name} = {value!r} is no {wanted.__name__}")
    return replace(base, **{name: type(known[name])(value) for name, value in values.items()})
