"""Fine-tuning on a short made clip: the sample avatar talks, in colours that the engine could not know."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from telepresence.avatar.file import MAX_FILE_BYTES, pack, unpack
from telepresence.avatar.model import Avatar
from telepresence.avatar.personal import unpack_personal
from telepresence.avatar.samples import sample_avatar, sample_motion
from telepresence.errors import EngineError, InputError
from telepresence.face.motion import keypoints, to_square
from telepresence.generator import finetune
from telepresence.generator.finetune import MIN_PICTURES, fine_tune
from telepresence.runtime.engine import Engine, open_engine

PICTURES = 42
SIDE = 256
STEPS = 16
TINT = np.array([1.0, 0.8, 0.6])

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]


@pytest.fixture(scope="module", autouse=True)
def _a_step_a_second() -> Iterator[None]:
    """However fast the machine is: a clock that goes on by a second whenever it is looked at; few steps, and long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finetune, "time", SimpleNamespace(monotonic=itertools.count().__next__))
        patch.setattr(finetune, "RATES", {name: 8 * rate for name, rate in finetune.RATES.items()})
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with open_engine("live", SIDE, runtime="onnxruntime", threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def avatar() -> Avatar:
    return replace(sample_avatar(), references=sample_avatar().references[:1])


@pytest.fixture(scope="module")
def clip(engine: Engine, avatar: Avatar) -> tuple[list[Picture], list[Floats]]:
    """Pictures as the engine draws them, RGBA, and landmarks in their pixels."""
    prepared = engine.prepare(avatar)
    pictures, landmarks = [], []
    for packet in itertools.islice(sample_motion(), 0, PICTURES * 4, 4):
        points = keypoints(packet.motion, avatar.neutral)
        pictures.append(engine.render(prepared, points).copy())
        landmarks.append(((points + np.array([1, 1, 0])) * (SIDE / 2)).astype(np.float32))
    assert np.allclose(to_square(landmarks[-1], SIDE, SIDE)[:, :2], points[:, :2], atol=1e-5)
    return pictures, landmarks


def tinted(pictures: Sequence[Picture]) -> list[Picture]:
    """Of the person only: what is behind is no tensor of the person's."""
    return [(p[..., :3] * (1 + p[..., 3:] / 255 * (TINT - 1))).astype(np.uint8) for p in pictures]


def plain(pictures: Sequence[Picture]) -> list[Picture]:
    return [np.ascontiguousarray(p[..., :3]) for p in pictures]


@pytest.fixture(scope="module")
def tuned(avatar: Avatar, clip: tuple[list[Picture], list[Floats]]) -> tuple[Avatar, list[tuple[float, str]]]:
    said: list[tuple[float, str]] = []
    out = fine_tune(
        avatar, tinted(clip[0]), clip[1], minutes=STEPS / 60, progress=lambda share, line: said.append((share, line))
    )
    return out, said


def error(engine: Engine, avatar: Avatar, pictures: Sequence[Picture], landmarks: Sequence[Floats]) -> float:
    prepared = engine.prepare(avatar)
    gaps = [
        np.abs(engine.render(prepared, to_square(points, SIDE, SIDE))[..., :3].astype(int) - picture).mean()
        for picture, points in zip(pictures, landmarks, strict=True)
    ]
    return float(np.mean(gaps))


def test_it_brings_the_engines_pictures_closer(
    engine: Engine,
    avatar: Avatar,
    clip: tuple[list[Picture], list[Floats]],
    tuned: tuple[Avatar, list[tuple[float, str]]],
) -> None:
    held_out = tinted(clip[0])[-6:], clip[1][-6:]
    before, after = error(engine, avatar, *held_out), error(engine, tuned[0], *held_out)
    # How much depends on how many steps a busy machine makes in the time.
    assert after < 0.97 * before, (before, after, tuned[1][-1])


def test_it_gives_this_engines_tensors_and_no_others(
    engine: Engine, avatar: Avatar, tuned: tuple[Avatar, list[tuple[float, str]]]
) -> None:
    assert tuned[0].personal.keys() == {engine.info.tuning}
    (data,) = tuned[0].personal.values()
    assert len(data) <= 6_000_000
    tensors = unpack_personal(data)
    assert tensors.keys() == {"features", "details", "modulation"}
    assert {len(values) for values in tensors.values()} == {len(avatar.references)}
    assert engine.prepare(tuned[0]).warnings == ()


def test_the_references_learn_too_and_stay_where_they_lie(
    avatar: Avatar, tuned: tuple[Avatar, list[tuple[float, str]]]
) -> None:
    (before,), (after,) = avatar.references, tuned[0].references
    assert np.array_equal(after.landmarks, before.landmarks)
    change = after.picture.astype(float) - before.picture
    shown = before.matte > 250
    assert change[shown].mean(0) @ (TINT - 1) > 0  # towards the tint: less green, lesser still blue
    assert 0 < np.abs(change).mean() < 12


def test_a_change_is_added_at_any_size() -> None:
    grey = np.full((512, 512, 3), 100, np.uint8)
    change = torch.zeros(3, 256, 256)
    change[0, :, 128:] = 10
    change[2] = -200
    out = finetune._added(grey, change)
    assert out.shape == grey.shape
    assert [out[9, 500].tolist(), out[9, 9].tolist()] == [[110, 100, 0], [100, 100, 0]]
    assert np.array_equal(finetune._added(out[:256, :256], torch.zeros(3, 256, 256)), out[:256, :256])


def test_progress_goes_on_to_the_end(tuned: tuple[Avatar, list[tuple[float, str]]]) -> None:
    shares = [share for share, _ in tuned[1]]
    assert shares[0] == 0
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert "% better" in tuned[1][-1][1]


def test_a_tuned_avatar_survives_its_file(engine: Engine, tuned: tuple[Avatar, list[tuple[float, str]]]) -> None:
    data = pack(tuned[0])
    assert len(data) <= MAX_FILE_BYTES
    back = unpack(data)
    assert back.personal == tuned[0].personal
    prepared = engine.prepare(back)
    assert prepared.warnings == ()
    first = back.references[0]
    assert engine.render(prepared, to_square(first.landmarks, first.side, first.side)).std() > 20


def test_the_tensors_of_the_most_references_still_fit_a_file() -> None:
    # An avatar of 32 pictures of 512 pixels has about 1.5 MB.
    assert finetune.personal_bytes(32) <= MAX_FILE_BYTES - 1_500_000


def test_references_and_their_like_do_not_decide() -> None:
    apart = np.array([0, 0.2, 0.5, 0.9, 1.3, 1.0, 0.6, 0.4, 0.2, 0])
    assert finetune.held_out(apart) == [2, 3, 4, 5, 6, 7]
    short = np.array([0.2, 0.1, 0, 0.1, 0.3, 0.5, 0.3, 0])  # hardly anything is far from one: then the furthest
    assert finetune.held_out(short) == [0, 1, 3, 4, 5, 6]
    with pytest.raises(InputError, match="longer video"):
        finetune.held_out(np.zeros(8))
    assert len(finetune.held_out(np.full(60, np.inf))) == finetune.CHECKED


def test_a_video_that_ends_with_references_only_is_refused(
    avatar: Avatar, clip: tuple[list[Picture], list[Floats]]
) -> None:
    with pytest.raises(InputError, match="longer video"):
        fine_tune(avatar, plain(clip[0]), clip[1], from_reference_s=np.zeros((PICTURES, 1), np.float32))


def test_what_does_not_hold_for_the_rest_is_not_kept(avatar: Avatar, clip: tuple[list[Picture], list[Floats]]) -> None:
    cut = int(PICTURES * (1 - finetune.HELD_OUT))
    pictures = tinted(clip[0])[:cut] + plain(clip[0][cut:])  # the last part is as the engine draws it already
    assert fine_tune(avatar, pictures, clip[1], minutes=5 / 60) is avatar


def test_without_time_for_a_step_the_avatar_stays(avatar: Avatar, clip: tuple[list[Picture], list[Floats]]) -> None:
    assert fine_tune(avatar, tinted(clip[0]), clip[1], minutes=1e-9) is avatar


def test_what_is_kept_is_a_mean_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    tuner = object.__new__(finetune._Tuner)
    tuner.tensors = {"features": [torch.zeros(1, 3, requires_grad=True)]}
    tuner.first = tuner.best = tuner.mean = {"features": torch.zeros(1, 3)}
    values = itertools.cycle([10.0, 20.0])
    monkeypatch.setattr(finetune, "RATES", {"features": 1e-3})
    monkeypatch.setattr(tuner, "_step", lambda optimiser: tuner.tensors["features"][0].data.fill_(next(values)))
    monkeypatch.setattr(tuner, "_check", lambda: 100.0 - float(tuner.mean["features"].mean()))
    monkeypatch.setattr(finetune, "time", SimpleNamespace(monotonic=itertools.count().__next__))
    assert tuner.run(200, lambda share, line: None)
    assert tuner.best["features"].mean() == pytest.approx(15, abs=2)  # neither of the two that steps go between


def test_a_busy_machine_is_not_taken_for_no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []
    tuner = object.__new__(finetune._Tuner)
    tuner.tensors = {name: [torch.zeros(1, requires_grad=True)] for name in finetune.RATES}
    tuner.mean = {name: torch.zeros(1) for name in finetune.RATES}
    monkeypatch.setattr(tuner, "_step", steps.append)
    monkeypatch.setattr(tuner, "_check", lambda: 1.0)
    monkeypatch.setattr(finetune, "time", SimpleNamespace(monotonic=itertools.count(step=30).__next__))
    assert not tuner.run(1e6, lambda share, line: None)
    assert len(steps) == finetune.PATIENCE * finetune.CHECK_STEPS


def test_a_short_video_is_refused(avatar: Avatar, clip: tuple[list[Picture], list[Floats]]) -> None:
    few = MIN_PICTURES - 1
    with pytest.raises(InputError, match=f"at least {MIN_PICTURES} pictures of the face"):
        fine_tune(avatar, plain(clip[0])[:few], clip[1][:few])
    with pytest.raises(InputError, match=f"at least {MIN_PICTURES} pictures of the face"):
        fine_tune(avatar, plain(clip[0]), clip[1][:-1])


def test_an_engine_without_weights_is_refused(avatar: Avatar, clip: tuple[list[Picture], list[Floats]]) -> None:
    with pytest.raises(EngineError, match="'prior' cannot be fine-tuned"):
        fine_tune(avatar, plain(clip[0]), clip[1], engine="prior")
