"""An avatar's own tensors in the shipped live engine: put in when they fit, left out loudly when not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pytest

from telepresence.avatar.model import Avatar
from telepresence.avatar.personal import pack_personal
from telepresence.avatar.samples import sample_avatar
from telepresence.face.motion import to_square
from telepresence.runtime.engine import Engine, Prepared, open_engine

PERSONAL = ("features", "details", "modulation")


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with open_engine("live", 256, runtime="onnxruntime", threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def avatar() -> Avatar:
    """Two references, of which the second looks different."""
    one = sample_avatar()
    first = one.references[0]
    return replace(one, references=(first, replace(first, picture=255 - first.picture)), personal={})


@pytest.fixture(scope="module")
def plain(engine: Engine, avatar: Avatar) -> Prepared:
    return engine.prepare(avatar)


def picture(engine: Engine, prepared: Prepared, avatar: Avatar) -> np.ndarray:
    first = avatar.references[0]
    points = to_square(first.landmarks, first.side, first.side) + np.array([0.03, 0, 0], np.float32)
    return engine.render(prepared, points).astype(int)


def with_personal(engine: Engine, avatar: Avatar, tensors: Mapping[str, np.ndarray]) -> Avatar:
    return replace(avatar, personal={engine.info.digest: pack_personal(tensors)})


def encoded(plain: Prepared, names: tuple[str, ...] = PERSONAL, count: int = 2) -> dict[str, np.ndarray]:
    return {name: plain.tensors[name][:count].astype(np.float32) for name in names}


def test_what_encode_gave_draws_the_same_picture(engine: Engine, avatar: Avatar, plain: Prepared) -> None:
    prepared = engine.prepare(with_personal(engine, avatar, encoded(plain)))
    assert prepared.warnings == ()
    gap = np.abs(picture(engine, prepared, avatar) - picture(engine, plain, avatar))
    assert gap.max() <= 2  # rounded to float16


def test_changed_tensors_change_the_picture(engine: Engine, avatar: Avatar, plain: Prepared) -> None:
    before = picture(engine, plain, avatar)
    for name in PERSONAL:
        own = {name: encoded(plain)[name] + 0.5}
        prepared = engine.prepare(with_personal(engine, avatar, own))
        assert prepared.warnings == ()
        assert np.abs(picture(engine, prepared, avatar) - before).max() > 4, name
    assert np.array_equal(picture(engine, plain, avatar), before)  # another avatar's tensors stay its own


def test_the_first_references_only(engine: Engine, avatar: Avatar, plain: Prepared) -> None:
    own = {"features": encoded(plain, count=1)["features"] + 1}
    kept = engine.prepare(with_personal(engine, avatar, own)).tensors["features"]
    assert np.abs(kept[0] - own["features"][0]).max() < 0.02
    assert np.array_equal(kept[1], plain.tensors["features"][1])
    assert (kept[2:] == kept[0]).all()  # free slots hold the first reference, as it is now


def test_another_engines_are_left_out(engine: Engine, avatar: Avatar, plain: Prepared) -> None:
    (data,) = with_personal(engine, avatar, {"modulation": encoded(plain)["modulation"] + 1}).personal.values()
    prepared = engine.prepare(replace(avatar, personal={"0" * 64: data}))
    (warning,) = prepared.warnings
    assert "fine-tuned for another engine than 'live'" in warning
    assert "--fine-tune" in warning
    assert_unchanged(prepared, plain)


def test_this_engines_are_found_beside_anothers(engine: Engine, avatar: Avatar, plain: Prepared) -> None:
    both = with_personal(engine, avatar, {"modulation": encoded(plain)["modulation"] + 1})
    prepared = engine.prepare(replace(both, personal={"0" * 64: b"?", **both.personal}))
    assert prepared.warnings == ()
    assert not np.array_equal(prepared.tensors["modulation"], plain.tensors["modulation"])


@pytest.mark.parametrize("damage", [b"", b"nonsense", "cut"], ids=["empty", "nonsense", "cut"])
def test_damaged_ones_are_left_out(engine: Engine, avatar: Avatar, plain: Prepared, damage: bytes | str) -> None:
    whole = pack_personal(encoded(plain))
    data = damage if isinstance(damage, bytes) else whole[:-1]
    prepared = engine.prepare(replace(avatar, personal={engine.info.digest: data}))
    (warning,) = prepared.warnings
    assert "drawn without its fine-tuning" in warning
    assert_unchanged(prepared, plain)


def wrong(plain: Prepared) -> Iterator[tuple[str, np.ndarray]]:
    """One tensor each that no avatar may bring; all but the first five would have the right shape."""
    have = {name: values.astype(np.float32) for name, values in plain.tensors.items()}
    yield "features", have["features"][:3]  # of more references than the avatar has
    yield "features", have["features"][:2, :-1]
    yield "features", have["features"][:2, ..., None].reshape(2, -1)
    yield "modulation", have["modulation"][0]
    yield "nothing", have["modulation"][:2]
    for name in ("vertices", "expression", "signature", "pixels"):
        yield name, have[name][:2]
    yield "background", have["background"][:1]
    yield "keypoints", np.zeros((1, 478, 3), np.float32)


def test_what_does_not_fit_is_left_out_whole(engine: Engine, avatar: Avatar, plain: Prepared) -> None:
    for name, values in wrong(plain):
        good = {"modulation": encoded(plain)["modulation"] + 1}
        prepared = engine.prepare(with_personal(engine, avatar, good | {name: values * np.float32(0.5)}))
        (warning,) = prepared.warnings
        assert f"without its fine-tuning: {name!r}" in warning
        assert_unchanged(prepared, plain)


def assert_unchanged(prepared: Prepared, plain: Prepared) -> None:
    """Then the picture is that without, too."""
    assert prepared.tensors.keys() == plain.tensors.keys()
    for name, values in plain.tensors.items():
        assert np.array_equal(prepared.tensors[name], values), name
