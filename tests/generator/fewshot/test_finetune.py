"""Fine-tuning of a tiny engine on pictures of the sample avatar: better on those, in the avatar, in an own engine."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from telepresence.avatar.file import load, pack, unpack
from telepresence.avatar.model import Avatar
from telepresence.avatar.personal import unpack_personal
from telepresence.avatar.samples import sample_avatar
from telepresence.cli import main
from telepresence.errors import EngineError, InputError
from telepresence.face.motion import to_square
from telepresence.generator.fewshot import finetune
from telepresence.generator.fewshot.config import FewShotConfig
from telepresence.generator.fewshot.finetune import EPOCHS, fine_tune
from telepresence.generator.fewshot.network import Discriminator, FewShot
from telepresence.generator.fewshot.stored import JUDGE
from telepresence.runtime.engine import Engine, open_engine
from telepresence.runtime.info import read_info
from tests.clips import portrait


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """And larger steps: weights that nobody trained are far from any person."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finetune, "RATES", {**finetune.RATES, "modulation": 5e-2, "generator": 5e-3})
        yield
    torch.set_num_threads(before)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """However fast the machine is: each look at the clock, one a step, is a second later."""
    monkeypatch.setattr(finetune, "time", SimpleNamespace(monotonic=itertools.count().__next__))


@pytest.fixture(scope="module")
def avatar() -> Avatar:
    """Of two references."""
    first = sample_avatar().references[0]
    return replace(sample_avatar(), references=(first, replace(first, picture=first.picture // 8 * 7)))


def error(engine: Engine, avatar: Avatar) -> float:
    """Of the first reference drawn, against the reference, grey levels where the person is."""
    first = avatar.references[0]
    prepared = engine.prepare(avatar)
    assert prepared.warnings == ()
    drawn = engine.render(prepared, to_square(first.landmarks, first.side, first.side))[..., :3]
    real = cv2.resize(first.picture, (engine.size, engine.size), interpolation=cv2.INTER_AREA)
    matte = cv2.resize(first.matte, (engine.size, engine.size), interpolation=cv2.INTER_AREA) > 127
    return float(np.abs(drawn.astype(int) - real)[matte].mean())


@pytest.fixture(scope="module")
def tuned(exported: Path, avatar: Avatar) -> tuple[Avatar, list[tuple[float, str]]]:
    said: list[tuple[float, str]] = []
    out = fine_tune(avatar, engine=str(exported), minutes=5, progress=lambda share, line: said.append((share, line)))
    return out, said


def test_photos_are_enough_and_the_engine_draws_them_better(
    exported: Path, avatar: Avatar, tuned: tuple[Avatar, list[tuple[float, str]]]
) -> None:
    with open_engine(exported, 32, runtime="onnxruntime", threads=1) as engine:
        before, after = error(engine, avatar), error(engine, tuned[0])
    assert after < 0.8 * before, (before, after, tuned[1][-1])


def test_it_runs_forty_epochs_and_says_so(tuned: tuple[Avatar, list[tuple[float, str]]]) -> None:
    shares, lines = zip(*tuned[1], strict=True)
    assert shares[0] == 0
    assert list(shares) == sorted(shares)
    assert shares[-1] == 1
    assert f"after {EPOCHS} of {EPOCHS} epochs" in lines[-1]
    assert "2 picture(s)" in lines[-1]
    assert "discriminator" not in lines[-1]


def test_a_modulation_travels_in_the_avatar_and_nothing_else(
    exported: Path, tuned: tuple[Avatar, list[tuple[float, str]]]
) -> None:
    back = unpack(pack(tuned[0]))
    assert back.personal.keys() == {read_info(exported).digest}
    tensors = unpack_personal(next(iter(back.personal.values())))
    assert tensors.keys() == {"modulation"}
    rows = tensors["modulation"]
    assert len(rows) == 2
    assert np.array_equal(rows[0], rows[1])  # else the engine would take the mean of what was learned and what was not
    assert np.isfinite(rows).all()


def test_a_videos_pictures_count_instead_of_references(exported: Path, avatar: Avatar) -> None:
    first = avatar.references[0]
    said: list[str] = []
    fine_tune(
        avatar, [first.picture] * 5, [first.landmarks] * 5, engine=str(exported), minutes=0.01,
        progress=lambda share, line: said.append(line),
    )  # fmt: skip
    assert said[-1].startswith("5 picture(s)")


def test_it_stops_at_the_minutes_given(clock: None, exported: Path, avatar: Avatar) -> None:
    said: list[str] = []
    fine_tune(avatar, engine=str(exported), minutes=10 / 60, progress=lambda share, line: said.append(line))
    assert f"after 8 of {EPOCHS} epochs" in said[-1] or f"after 9 of {EPOCHS} epochs" in said[-1]


def test_without_time_for_a_step_the_avatar_stays(exported: Path, avatar: Avatar, tmp_path: Path) -> None:
    assert fine_tune(avatar, engine=str(exported), minutes=1e-9, whole=tmp_path / "own") is avatar
    assert not (tmp_path / "own").exists()


def test_without_a_discriminator_it_works_and_says_so(engine: Path, avatar: Avatar) -> None:
    path = engine / "engine.toml"
    path.write_text("\n".join(line for line in path.read_text().splitlines() if JUDGE not in line) + "\n")
    said: list[str] = []
    out = fine_tune(avatar, engine=str(engine), progress=lambda share, line: said.append(line))
    assert "without a discriminator" in said[-1]
    assert out is not avatar


def test_whole_makes_an_engine_that_draws_the_person_better_still(
    exported: Path, avatar: Avatar, tuned: tuple[Avatar, list[tuple[float, str]]], tmp_path: Path
) -> None:
    out = fine_tune(avatar, engine=str(exported), whole=tmp_path / "own")
    own = read_info(tmp_path / "own")
    assert out.personal.keys() == {own.digest}
    with open_engine(exported, 32, runtime="onnxruntime", threads=1) as engine:
        with_modulation = error(engine, tuned[0])
    with open_engine(tmp_path / "own", 32, runtime="onnxruntime", threads=1) as engine:
        assert error(engine, out) < with_modulation


def test_the_discriminator_begins_with_the_persons_embedding_where_it_was_matched(
    exported: Path, avatar: Avatar
) -> None:
    from telepresence.generator.fewshot.stored import judge_of_engine, weights_of_engine

    own = weights_of_engine(exported).requires_grad_(False)
    found = judge_of_engine(read_info(exported))
    assert found is not None
    shots = finetune._stack(own, avatar.references)
    tuner = finetune._Tuner(own, avatar, shots, (found[0], True), whole=False)
    assert tuner.judge is not None
    embedding = tuner._embed(shots)
    assert torch.equal(tuner.judge.network.columns.weight, embedding)
    with torch.no_grad():
        assert torch.allclose(tuner.modulation, own.generator.project(embedding), atol=1e-5)


def test_the_discriminator_learns_to_tell(exported: Path) -> None:
    from tests.generator.fewshot.tiny import TINY

    torch.manual_seed(0)
    judge = finetune._Judge(Discriminator(TINY, 1, spectral=False), None)
    judge.optimiser.param_groups[0]["lr"] = 5e-3
    real, drawn = torch.full((2, 3, 32, 32), 0.5), torch.full((2, 3, 32, 32), -0.5)
    raster = torch.zeros(2, 3, 32, 32)
    before = float(judge.loss(real, real, raster) - judge.loss(real, drawn, raster))
    for _ in range(30):
        judge.learn(real, drawn, raster)
    assert float(judge.loss(real, real, raster) - judge.loss(real, drawn, raster)) < before


def test_what_cannot_be_is_refused(exported: Path, avatar: Avatar, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="'live' is not a few-shot engine"):
        fine_tune(avatar, engine="live")
    with pytest.raises(InputError, match="landmarks of every picture"):
        fine_tune(avatar, [avatar.references[0].picture], [], engine=str(exported))
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(InputError, match="new or empty folder"):
        fine_tune(avatar, engine=str(exported), whole=tmp_path)


def test_a_full_avatar_has_no_room(exported: Path, avatar: Avatar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetune, "MAX_FILE_BYTES", len(pack(avatar)) + 100)
    with pytest.raises(InputError, match="no room for what would be learned"):
        fine_tune(avatar, engine=str(exported))


def test_the_command_learns_from_a_photo(exported: Path, tmp_path: Path) -> None:
    photo, out = tmp_path / "me.png", tmp_path / "me.avatar"
    cv2.imwrite(str(photo), cv2.cvtColor(portrait(), cv2.COLOR_RGB2BGR))
    given = ["enrol", str(photo), "--out", str(out), "--engine", str(exported), "--fine-tune", "2"]
    result = CliRunner().invoke(main, [*given, "--whole", str(tmp_path / "own")])
    assert result.exit_code == 0, result.output
    assert "fine-tuned" in result.stdout
    assert "an engine of this person's own" in result.stdout
    assert load(out).personal.keys() == {read_info(tmp_path / "own").digest}
    many = CliRunner().invoke(main, [*given, "--references", "8"])
    assert many.exit_code == 2
    assert "--references 8: as many photos are needed to learn from, and 1 are given" in many.stderr
    again = CliRunner().invoke(main, [*given, "--whole", str(tmp_path / "own")])
    assert again.exit_code == 2
    assert "new or empty folder" in again.stderr


def test_networks_of_full_width_make_a_step(avatar: Avatar) -> None:
    config = FewShotConfig(size=64)
    network = FewShot(config, spectral=False).requires_grad_(False)
    shots = finetune._stack(network, avatar.references[:1])
    tuner = finetune._Tuner(network, avatar, shots, (Discriminator(config, 1, spectral=False), True), whole=True)
    before = tuner.modulation.detach().clone()
    tuner._step(torch.arange(1))
    assert torch.isfinite(tuner.modulation).all()
    assert not torch.equal(tuner.modulation, before)
