from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
import torch
from click.testing import CliRunner

from telepresence.cli import main
from telepresence.errors import InputError
from telepresence.generator import checkpoint, run
from telepresence.generator.data.clips import Clip
from telepresence.generator.fewshot.batches import FewShotBatch, draw_batches
from telepresence.generator.fewshot.config import SMALL, FewShotConfig, FewShotTraining, Preset
from telepresence.generator.fewshot.training import FewShotTrainer
from telepresence.generator.fewshot.weights import read_judge, read_weights
from telepresence.generator.training import Trainer, TrainingConfig
from tests.generator.data.made import made_clip, write_clips

SHAPE = FewShotConfig(
    size=32, width=0.125, embedder_width=0.125, judge_width=0.125, embedding=16, references=2, matte=True
)
TRAINING = FewShotTraining(people=1, targets=2, workers=0, match=0, several=True, augment=True)
TINY = Preset(SHAPE, TRAINING)
PUBLISHED = Preset(replace(SHAPE, matte=False), FewShotTraining(people=2, workers=0))
PROCESSES_S = 240


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    return [made_clip(20), made_clip(20, name="second", identity="bob")]


@pytest.fixture(scope="module")
def batch(clips: list[Clip]) -> FewShotBatch:
    return next(draw_batches(clips, TINY, 1))


@pytest.fixture(autouse=True)
def threads() -> None:
    torch.set_num_threads(1)


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def changed(**training: object) -> Preset:
    return replace(TINY, training=replace(TRAINING, **training))


def test_a_run_goes_on_where_it_stood(tmp_path: Path, clips: list[Clip]) -> None:
    one = FewShotTrainer(tmp_path, clips, TINY, "cpu")
    one.run(samples=4)
    two = FewShotTrainer(tmp_path, clips, TINY, "cpu")
    assert (two.progress.samples, two.progress.restarts) == (4, 1)
    assert same(one.drawing.network, two.drawing.network)
    assert same(one.average, two.average)
    assert same(one.judge, two.judge)
    assert all(int(state["step"]) == 2 for state in two.optimiser.state_dict()["state"].values())
    assert all(int(state["step"]) == 4 for state in two.judge_optimiser.state_dict()["state"].values())
    assert two.data_seed != one.data_seed
    two.run(samples=6)
    rows = [json.loads(line) for line in (tmp_path / run.LOG).read_text().splitlines()]
    assert [row["samples"] for row in rows] == [4, 6]
    assert all(value == value for row in rows for value in row.values())


def test_the_discriminator_joins_when_it_is_time(tmp_path: Path, clips: list[Clip], batch: FewShotBatch) -> None:
    trainer = FewShotTrainer(tmp_path, clips, changed(adversarial_after=2), "cpu")
    before = [p.clone() for p in trainer.judge.parameters()]
    trainer.step(batch)
    first = set(trainer._sums)
    assert first == {"l1", "ssim", "gradient", "energy", "matte"}
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.judge.parameters(), strict=True))
    trainer.step(batch)
    assert set(trainer._sums) - first == {"adversarial", "matching", "judge"}
    assert not all(torch.equal(a, b) for a, b in zip(before, trainer.judge.parameters(), strict=True))
    columns = dict(trainer.judge.named_parameters())["columns.weight"]
    number = [name for name, _ in trainer.judge.named_parameters()].index("columns.weight")
    moved = (columns - before[number]).abs().amax(1) > 0
    assert moved.tolist() == [i in batch.clip.tolist() for i in range(2)]


def test_the_published_variant_pulls_embeddings_to_their_columns(tmp_path: Path, clips: list[Clip]) -> None:
    trainer = FewShotTrainer(tmp_path, clips, PUBLISHED, "cpu")
    one = next(trainer._batches)
    trainer.step(one)
    assert "match" in trainer._sums
    assert "matte" not in trainer._sums
    drawn = trainer.drawing(one)
    gap = (drawn.embedding - trainer.judge.columns(one.clip)).abs().mean().detach()
    total, count = trainer._sums["match"]
    assert float(total) / count == pytest.approx(80 * float(gap), rel=0.2)


def test_one_batch_is_learned(tmp_path: Path, clips: list[Clip], batch: FewShotBatch) -> None:
    quick = replace(changed(adversarial_after=10**9, rate=2e-3), network=replace(SHAPE, normalised=False))
    trainer = FewShotTrainer(tmp_path, clips, quick, "cpu")
    losses = []
    for _ in range(40):
        trainer._sums = {}
        trainer.step(batch)
        losses.append(sum(float(total) for total, _ in trainer._sums.values()))
    assert losses[-1] < 0.6 * losses[0]


def test_what_is_averaged_and_shipped_are_weights_as_they_are_used(
    tmp_path: Path, clips: list[Clip], batch: FewShotBatch
) -> None:
    """With spectral norm multiplied in: the plain networks draw and judge the same."""
    trainer = FewShotTrainer(tmp_path, clips, changed(ema_samples=1), "cpu")
    for _ in range(3):
        trainer.step(batch)
    trainer.save()
    shipped, judge = read_weights(tmp_path / checkpoint.WEIGHTS), read_judge(tmp_path / checkpoint.WEIGHTS)
    trained = trainer.drawing.network.eval()
    trainer.judge.eval()
    picture, raster = torch.rand(1, 3, 32, 32) * 2 - 1, torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        wanted = type(trained.embedder).forward(trained.embedder, picture, raster)
        embedding = shipped.embedder(picture, raster)
        assert torch.allclose(embedding, wanted, rtol=0.05, atol=0.02)
        modulation = shipped.generator.project(embedding)
        again = type(trained.generator).forward(trained.generator, raster, modulation)
        assert torch.allclose(shipped.generator(raster, modulation), again, atol=0.05)
        vector, _ = trainer.judge.pyramid(picture, raster)
        columns = trainer.judge.columns.weight.mean(0)
        own = (vector * columns).sum(1) + trainer.judge.common(vector)[:, 0]
        assert torch.allclose(judge(picture, raster, torch.tensor([0]))[0], own, rtol=0.05, atol=0.02)


def test_a_checkpoint_of_other_networks_is_told(tmp_path: Path, clips: list[Clip]) -> None:
    FewShotTrainer(tmp_path, clips, TINY, "cpu").save()
    wider = replace(TINY, network=replace(SHAPE, width=0.25))
    with pytest.raises(InputError, match=r"of other networks \(width 0.125 and not 0.25\)"):
        FewShotTrainer(tmp_path, clips, wider, "cpu")
    with pytest.raises(InputError, match="trained on other clips"):
        FewShotTrainer(tmp_path, clips[:1], TINY, "cpu")
    FewShotTrainer(tmp_path, clips, changed(rate=1e-4), "cpu")
    live = tmp_path / "live"
    Trainer(live, [made_clip(10, side=256)], TrainingConfig(batch=1, workers=0), "cpu").save()
    with pytest.raises(InputError, match="not of few-shot networks"):
        FewShotTrainer(live, clips, TINY, "cpu")
    (tmp_path / checkpoint.CHECKPOINT).write_bytes(b"no")
    with pytest.raises(InputError, match="damaged"):
        FewShotTrainer(tmp_path, clips, TINY, "cpu")


def test_a_look_writes_figures_and_a_sheet(tmp_path: Path, clips: list[Clip]) -> None:
    seen = [made_clip(10, side=256)]
    for preset in (TINY, PUBLISHED):
        folder = tmp_path / str(preset.network.matte)
        trainer = FewShotTrainer(folder, clips, preset, "cpu", validation=seen)
        trainer.look()
        row = json.loads((folder / run.LOG).read_text())
        assert set(row["validation"]) == {"1", "8"}
        assert cv2.imread(str(folder / run.SHEETS / row["sheet"])).shape == (4 * 256, 5 * 256, 3)


def test_full_width_does_a_step(tmp_path: Path, clips: list[Clip]) -> None:
    """At 64 pixels, where two levels less are there; all channels are the published ones."""
    preset = Preset(FewShotConfig(size=64, references=1), FewShotTraining(people=1, workers=0))
    trainer = FewShotTrainer(tmp_path, clips, preset, "cpu")
    trainer.step(next(trainer._batches))
    assert set(trainer._sums) == {"l1", "ssim", "gradient", "energy", "adversarial", "matching", "match", "judge"}
    assert trainer.progress.skipped == 0


def command(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["train", "fewshot", *arguments])
    return result.exit_code, result.output


def test_the_command_tells_what_is_missing(tmp_path: Path) -> None:
    none, out = str(tmp_path / "none"), str(tmp_path / "out")
    status, told = command("--clips", none, "--out", out)
    assert (status, "telepresence.generator.data prepare CLIPS_DIR --out" in told) == (2, True)
    write_clips(tmp_path / "clips", {"name": "ann", "identity": "ann", "count": 4, "side": 256})
    where = str(tmp_path / "clips")
    status, told = command("--clips", where, "--data", none, "--out", out)
    assert (status, "no such folder" in told) == (2, True)
    status, told = command("--clips", where, "--config", "huge", "--out", out)
    assert (status, "give small, paper" in told) == (2, True)
    status, told = command("--clips", where, "--train-all", "--config", "paper", "--out", out)
    assert (status, "8 references and a target need 9" in told) == (2, True)
    assert not (tmp_path / "out").exists()


def test_the_command_survives_being_killed(tmp_path: Path) -> None:
    """Killed outright it goes on from its checkpoint; SIGTERM ends it with status 0."""
    write_clips(tmp_path / "clips", {"name": "ann", "identity": "ann", "count": 8, "side": 256})
    own = tmp_path / "own.toml"
    own.write_text(
        'base = "small"\n[network]\nsize = 32\nwidth = 0.125\nembedding = 16\n[training]\nsave_s = 0.0\npeople = 1\n'
    )
    arguments = ["train", "fewshot", "--config", str(own), "--clips", str(tmp_path / "clips"), "--train-all"]
    saved = tmp_path / "run" / checkpoint.WEIGHTS
    for number, status in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 0)):
        with subprocess.Popen(
            [sys.executable, "-m", "telepresence", *arguments, "--out", str(tmp_path / "run"), "--device", "cpu"],
            start_new_session=True,
        ) as process:
            end = time.monotonic() + PROCESSES_S
            while not saved.exists():
                assert process.poll() is None, "the run ended by itself"
                assert time.monotonic() < end
                time.sleep(0.05)
            os.killpg(process.pid, number)
            assert process.wait(PROCESSES_S) == status
        saved.unlink()
    progress = torch.load(tmp_path / "run" / checkpoint.CHECKPOINT, weights_only=True)["progress"]
    assert progress["samples"] > 0
    assert progress["restarts"] == 1


DISTRIBUTED = """
import sys, torch
from pathlib import Path
torch.set_num_threads(1)
from telepresence.generator.fewshot.training import FewShotTrainer
from tests.generator.fewshot.test_training import TINY
from tests.generator.data.made import made_clip
trainer = FewShotTrainer(Path(sys.argv[1]), [made_clip(20)], TINY, "cpu")
trainer.run(samples=8)
weights = torch.cat([p.detach().flatten() for m in (trainer.drawing, trainer.judge) for p in m.parameters()])
torch.save((weights, trainer.data_seed), Path(sys.argv[1]) / f"{trainer.rank}.pt")
"""


def test_two_processes_learn_the_same_from_different_samples(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    begun = [
        subprocess.Popen([sys.executable, "-c", DISTRIBUTED, str(tmp_path)], env=shared | {"RANK": str(rank)})
        for rank in range(2)
    ]
    try:
        assert [process.wait(PROCESSES_S) for process in begun] == [0, 0]
    finally:
        for process in begun:
            process.kill()
    (one, first), (other, second) = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert first != second
    assert torch.equal(one, other)


def test_the_small_one_is_what_the_command_takes_when_nothing_is_said() -> None:
    found = next(option for option in main.commands["train"].commands["fewshot"].params if option.name == "config")  # type: ignore[attr-defined]
    assert found.default == "small"
    assert not SMALL.network.normalised
