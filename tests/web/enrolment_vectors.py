"""What the Python makes of known input, for the page's twin of enrolment: written anew by test_enrolment_js.py."""

from __future__ import annotations

import json
import random
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.avatar import photos
from telepresence.avatar.background import background_plate
from telepresence.avatar.choose import Look, bright_mouth, choose, describe, missing, sharpness
from telepresence.avatar.flaws import colourfulness, flaw, touches_edge, turn_degrees
from telepresence.avatar.framing import choose_square
from telepresence.avatar.samples import sample_avatar, sample_motion
from telepresence.enrolment import gathering
from telepresence.enrolment.guide import Guide, News
from telepresence.enrolment.hints import hint
from telepresence.enrolment.steps import DRAWN, Measure, Step, measure
from telepresence.face import topology
from telepresence.face.basis import default_basis
from telepresence.face.identity import neutral_shape
from telepresence.face.landmarks import face_box
from telepresence.face.matte import EDGE_EPSILON, SURE, only_person
from telepresence.face.motion import keypoints, to_square

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]
LISTS: Final = ("OVAL", "LIPS_OUTER", "LIPS_INNER", "EYE_RIGHT", "EYE_LEFT", "EYE_OPENING_RIGHT", "EYE_OPENING_LEFT")
WIDTH, HEIGHT = 640, 480
FACES: Final = 90
GUIDES: Final = 12


def write(folder: Path) -> None:
    """vectors.json, and the raw pictures that it names."""
    store = Store(folder)
    vectors: dict[str, Any] = {name: make(store) for name, make in PARTS.items()}
    (folder / "vectors.json").write_text(json.dumps(vectors))


class Store:
    """Arrays as files, each named by its number."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def __call__(self, array: NDArray[Any]) -> dict[str, Any]:
        name = f"{self._count}.raw"
        self._count += 1
        (self._folder / name).write_bytes(array.tobytes())
        return {"file": name, "type": str(array.dtype), "shape": list(array.shape)}


def faces() -> list[Floats]:
    """Landmarks in pixels of a camera's picture, of somebody who moves."""
    neutral = sample_avatar().neutral
    motions = [packet.motion for packet in sample_motion()]
    stride = max(1, len(motions) // FACES)
    shapes = [keypoints(motion, neutral) for motion in motions[::stride][:FACES]]
    half = min(WIDTH, HEIGHT) / 2
    return [(shape * half + np.array([WIDTH / 2, HEIGHT / 2, 0])).astype(np.float32) for shape in shapes]


def _lists(_: Store) -> dict[str, Any]:
    return {name: list(getattr(topology, name)) for name in LISTS}


def _measures(store: Store) -> dict[str, Any]:
    found = [measure(face, WIDTH, HEIGHT) for face in faces()]
    return {"faces": store(np.stack(faces())), "measures": [asdict(one) for one in found]}


def _guides(_: Store) -> list[dict[str, Any]]:
    return [_guide(random.Random(seed)) for seed in range(GUIDES)]


def _guide(dice: random.Random) -> dict[str, Any]:
    """Somebody who mostly follows, and what the guide says after each picture."""
    order = list(DRAWN)
    dice.shuffle(order)
    guide = Guide(lambda: order)
    rest = Measure(dice.uniform(-8, 8), dice.uniform(-10, 10), 0.02, 0.1, 0.3)
    at_us, shown, told = 0, [], []
    naughty = dice.random() < 0.5
    for number in range(900):
        at_us += dice.choice([33_000, 66_000, 100_000, 100_000, 120_000])
        step = order[(number // 40) % len(order)] if naughty and number % 40 < 18 else guide.step
        face = None if dice.random() < 0.02 else _acted(rest, step, guide.phase.value, number, dice)
        skips = number > 600 and dice.random() < 0.01
        news = guide.skip() if skips else guide.see(face, at_us)
        shown.append([at_us, None if face is None else asdict(face), skips])
        told.append([news, guide.step, guide.phase, round(guide.progress, 6)])
        if guide.step is None or news is News.SLOW:  # after which the order is drawn by lot
            break
    return {"order": order, "shown": shown, "told": told, "followed": guide.followed, "anew": guide.anew}


def _acted(rest: Measure, step: Step | None, phase: str, number: int, dice: random.Random) -> Measure:
    tremble = dice.uniform(-0.6, 0.6)
    face = replace(rest, left=rest.left + tremble, mouth=rest.mouth + abs(tremble) / 50)
    if phase == "back" or step in (None, Step.REST):
        return face
    there = number % 40 < 18 if phase == "act" and number % 80 < 40 else number % 23 > 5
    changes = {
        Step.LEFT: {"left": rest.left + 20.0}, Step.RIGHT: {"left": rest.left - 20.0}, Step.UP: {"up": rest.up + 12.0},
        Step.SMILE: {"corners": rest.corners + 0.07}, Step.OPEN: {"mouth": 0.25}, Step.BLINK: {"lids": 0.03},
        Step.SPEAK: {"mouth": 0.06 + 0.05 * float(np.sin(number * 0.9))},
    }  # fmt: skip
    return replace(face, **changes[step]) if there and step is not None else face


def _choosing(store: Store) -> dict[str, Any]:
    shapes = [to_square(face, WIDTH, HEIGHT) for face in faces()]
    neutral, few = neutral_shape(shapes), neutral_shape(shapes[:5])
    dice = random.Random(3)
    marks = [(dice.uniform(50, 150), dice.uniform(0, 0.4)) for _ in shapes]
    looks = [describe(face, neutral, WIDTH, HEIGHT, *mark) for face, mark in zip(faces(), marks, strict=True)]
    steps = [list(Step)[i * len(Step) // len(looks)] for i in range(len(looks))]
    kept = [
        gathering.Kept(b"", i * 100_000, step, (WIDTH, HEIGHT), face, *mark, 0.4 + 0.6 * (i % 3) / 2)
        for i, (step, face, mark) in enumerate(zip(steps, faces(), marks, strict=True))
    ]
    return {
        "neutral": store(neutral),
        "few": store(few),
        "marks": marks,
        "looks": [_look(one) for one in looks],
        "chosen": choose(looks, 8),
        "some": choose(looks[:7], 4),
        "missing": missing([looks[i] for i in choose(looks[:7], 4)]),
        "steps": steps,
        "progress": [one.progress for one in kept],
        "of_steps": gathering._chosen(kept, looks),
        "square": _square(choose_square(WIDTH, HEIGHT, faces(), "x")),
        "small": _square(choose_square(WIDTH, HEIGHT, [face * 0.4 + 100 for face in faces()], "x")),
        "aside": _square(choose_square(WIDTH, HEIGHT, [face + np.float32([190, 0, 0]) for face in faces()], "x")),
        "box": face_box(faces()[0]),
    }


def _look(look: Look) -> dict[str, Any]:
    fields = {name: getattr(look, name) for name in ("yaw", "turn", "mouth", "lids", "teeth", "rest", "misfit")}
    return fields | {"features": look.features.tolist()}


def _square(square: Any) -> list[int]:
    return [square.left, square.top, square.side]


def _pictures(store: Store) -> list[dict[str, Any]]:
    """The sample's face as it is, and spoilt in the ways that are told."""
    first = sample_avatar().references[0]
    return [_judged(store, *spoilt) for spoilt in spoilt_pictures(first.picture, first.landmarks)]


def spoilt_pictures(picture: Picture, landmarks: Floats) -> list[tuple[str, Picture, Floats]]:
    """(what, picture, landmarks)."""
    import cv2

    side = picture.shape[0]
    left, top, right, bottom = (round(v) for v in face_box(landmarks))
    shades = picture.copy()
    eyes = landmarks[list(topology.EYE_LEFT + topology.EYE_RIGHT), :2]
    low, high = eyes.min(0).astype(int) - 14, eyes.max(0).astype(int) + 14
    shades[low[1] : high[1], low[0] : high[0]] = 10
    masked = picture.copy()
    masked[(top + bottom) // 2 + 12 : bottom + 5, left:right] = (200, 180, 170)
    white = np.clip(picture.astype(int) + 230, 0, 255).astype(np.uint8)
    moved = np.zeros_like(picture)
    moved[:, : side - left - 20] = picture[:, left + 20 :]
    return [
        ("plain", picture, landmarks),
        ("dark", (picture * 0.15).astype(np.uint8), landmarks),
        ("bright", white, landmarks),
        ("blurred", cv2.GaussianBlur(picture, (0, 0), 5), landmarks),
        ("shades", shades, landmarks),
        ("masked", masked, landmarks),
        ("grey", np.repeat(picture.mean(-1, keepdims=True).astype(np.uint8), 3, 2), landmarks),
        ("cut", moved, landmarks - np.float32([left + 20, 0, 0])),
        ("far", cv2.resize(picture, (200, 200)), landmarks * np.float32(0.3)),
    ]


def _judged(store: Store, what: str, picture: Picture, landmarks: Floats) -> dict[str, Any]:
    points = landmarks.astype(np.float32)
    return {
        "what": what,
        "picture": store(np.ascontiguousarray(picture)),
        "landmarks": store(points),
        "sharpness": sharpness(picture, points),
        "bright": bright_mouth(picture, points),
        "colour": colourfulness(picture, points),
        "turn": turn_degrees(picture, points),
        "flaw": flaw(picture, points) or "",
        "touches": touches_edge(picture, points) or "",
        "hint": hint(picture, [points]),
        "two": hint(picture, [points, points + 1]),
    }


def _mattes(store: Store) -> dict[str, Any]:
    import cv2

    references = sample_avatar().references
    first = references[0]
    side = first.side
    network = cv2.GaussianBlur(first.matte, (0, 0), 4)  # as coarse as a network's answer
    fine = cv2.ximgproc.guidedFilter(
        first.picture.astype(np.float32) / 255,
        network.astype(np.float32) / 255,
        max(2, round(side / 96)),
        EDGE_EPSILON,
    )
    low, high = SURE
    matte = np.rint(np.clip((fine - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    littered = matte.copy()
    littered[5:40, 5:40] = 255  # somebody else, in a corner
    middle = first.landmarks[1, :2].astype(int)
    littered[middle[1] + 60 : middle[1] + 64, middle[0] : middle[0] + 4] = 0  # a hole
    shifted = [np.roll(first.matte, step, 1) for step in (-30, 0, 30)]
    pictures = [np.roll(first.picture, step, 1) for step in (-30, 0, 30)]
    return {
        "picture": store(first.picture),
        "landmarks": store(first.landmarks),
        "network": store(network),
        "fine": store(fine),
        "matte": store(matte),
        "littered": store(littered),
        "mine": store(only_person(littered, first.landmarks)),
        "mattes": [store(one) for one in shifted],
        "pictures": [store(one) for one in pictures],
        "plate": store(background_plate(pictures, shifted)),
        "photo": store(background_plate([first.picture], [first.matte])),
        "nothing": store(background_plate([first.picture], [np.full_like(first.matte, 255)])),
        "smaller": store(cv2.resize(first.picture, (201, 230), interpolation=cv2.INTER_AREA)),
        "half": store(cv2.resize(first.picture, (side // 2, side // 2), interpolation=cv2.INTER_AREA)),
        "larger": store(cv2.resize(first.picture, (400, 333), interpolation=cv2.INTER_LINEAR)),
        "grown": store(cv2.resize(first.picture, (400, 333), interpolation=cv2.INTER_AREA)),
    }


def _people(store: Store) -> dict[str, Any]:
    """Photos of three people: who is left out."""
    basis = default_basis()
    dice = np.random.default_rng(5)
    people = [basis.mean.copy() for _ in range(3)]
    for person in people:
        person[: topology.N_FACE] += np.tensordot(dice.normal(0, 1, len(basis.identity)), basis.identity, 1)
    who = [0, 0, 1, 0, 2]
    shapes = [(people[n] + dice.normal(0, 0.002, (478, 3))).astype(np.float32) for n in who]
    blank = np.zeros((64, 64, 3), np.uint8)
    given = [photos.Photo(Path(f"{i}.jpg"), blank, s, s, 3.0, 20.0) for i, s in enumerate(shapes)]
    said: list[str] = []
    left = photos.one_person(given, said.append)
    return {"shapes": store(np.stack(shapes)), "kept": [photo.path.name for photo in left], "said": said}


PARTS: Final = {
    "lists": _lists,
    "measures": _measures,
    "guides": _guides,
    "choosing": _choosing,
    "pictures": _pictures,
    "mattes": _mattes,
    "people": _people,
}
