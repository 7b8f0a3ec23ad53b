from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from telepresence.cli import main
from telepresence.errors import InputError
from telepresence.generator import checkpoint, run, training
from telepresence.generator.batches import Batch, Preparer, draw_batch
from telepresence.generator.data.clips import Clip
from telepresence.generator.data.samples import Sampler
from telepresence.generator.data.sources import HELD_OUT
from telepresence.generator.run import Progress
from telepresence.generator.start import LiveOptions, choose_files
from telepresence.generator.training import Trainer, TrainingConfig
from telepresence.generator.weights import weights_of_engine
from telepresence.runtime.info import find_engine
from tests.generator.data.made import made_clip, write_clips

SIDE = 256
ONE = TrainingConfig(batch=1, workers=0, temporal=0, adversarial_after=10**9, warm_up=1)
PROCESSES_S = 240


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    return [made_clip(10, side=SIDE)]


@pytest.fixture(scope="module")
def batch(clips: list[Clip]) -> Batch:
    """A pair."""
    return draw_batch(Sampler(clips, seed=1), Preparer(1), 2, pairs=True)


@pytest.fixture(autouse=True)
def threads() -> None:
    torch.set_num_threads(1)


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def rows(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / run.LOG).read_text().splitlines()]


def test_a_run_goes_on_where_it_stood(tmp_path: Path, clips: list[Clip]) -> None:
    one = Trainer(tmp_path, clips, ONE, "cpu")
    one.run(samples=2)
    two = Trainer(tmp_path, clips, ONE, "cpu")
    assert two.progress == Progress(samples=2, restarts=1)
    assert same(one.drawing.network, two.drawing.network)
    assert same(one.average, two.average)
    assert not same(two.average, two.drawing.network)
    moments = two.optimiser.state_dict()["state"]
    assert len(moments) == len(list(two.drawing.network.parameters()))
    assert all(int(state["step"]) == 2 for state in moments.values())
    assert two.data_seed != one.data_seed
    two.run(samples=3)
    assert two.progress.samples == 3
    assert not same(one.drawing.network, two.drawing.network)
    assert [row["samples"] for row in rows(tmp_path)] == [2, 3]
    assert all(value == value for row in rows(tmp_path) for value in row.values())
    halves = torch.load(tmp_path / checkpoint.WEIGHTS, weights_only=True)
    assert {value.dtype for value in halves.values()} == {torch.float16}


def test_a_new_run_may_begin_with_an_engines_weights_and_one_under_way_may_not(
    tmp_path: Path, clips: list[Clip]
) -> None:
    shipped = weights_of_engine(find_engine("live").folder)
    trainer = Trainer(tmp_path, clips, ONE, "cpu")
    trainer.begin_from(shipped)
    assert same(trainer.drawing.network, shipped)
    assert same(trainer.average, shipped)
    trainer.run(samples=1)
    learned = [value.clone() for value in trainer.drawing.network.parameters()]
    trainer.begin_from(shipped)
    assert all(torch.equal(a, b) for a, b in zip(learned, trainer.drawing.network.parameters(), strict=True))
    assert not same(trainer.drawing.network, shipped)


def test_both_phases_learn_and_a_pair_has_its_loss(tmp_path: Path, clips: list[Clip], batch: Batch) -> None:
    trainer = Trainer(tmp_path, clips, replace(ONE, batch=2, temporal=0.5, adversarial_after=2), "cpu")
    before = [p.clone() for p in trainer.judge.parameters()]
    trainer.step(batch)
    first = set(trainer._sums)
    assert {"l1", "ssim", "gradient", "matte", "blend", "rough", "temporal"} <= first
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.judge.parameters(), strict=True))
    trainer.step(replace(batch, paired=False))
    assert set(trainer._sums) - first == {"adversarial", "matching", "judge"}
    assert trainer._sums["temporal"][1] == 1
    assert not all(torch.equal(a, b) for a, b in zip(before, trainer.judge.parameters(), strict=True))
    assert trainer.progress.samples == 4


def test_where_to_look_is_never_in_half_precision(tmp_path: Path, clips: list[Clip], batch: Batch) -> None:
    from telepresence.generator.drawing import Drawing

    trainer = Trainer(tmp_path, clips, ONE, "cpu")
    plain = Drawing(trainer.average)
    with torch.no_grad():
        gap = (trainer._draw(batch).blend - plain(batch).blend).abs() * 255
    # The trunk's shares are of bfloat16 features, and an untrained trunk has none: what is left are coordinates.
    assert gap.max() < 1


def test_a_loss_that_is_no_number_is_left_out_and_counted(
    tmp_path: Path, clips: list[Clip], batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "MOST_SKIPPED", 2)
    trainer = Trainer(tmp_path, clips, ONE, "cpu")
    before = [p.clone() for p in trainer.drawing.parameters()]
    broken = replace(batch, raster=batch.raster * float("nan"))
    trainer.step(broken)
    assert trainer.progress.skipped == 1
    assert not trainer._sums
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.drawing.parameters(), strict=True))
    with pytest.raises(InputError, match="without a finite loss"):
        trainer.step(broken)


def test_infinite_gradients_do_not_spoil_the_discriminator(tmp_path: Path, clips: list[Clip]) -> None:
    trainer = Trainer(tmp_path, clips, ONE, "cpu")
    before = [p.clone() for p in trainer.judge.parameters()]
    none = next(trainer.judge.parameters()).flatten()[0] * 0
    assert trainer._learn_judging(torch.sqrt(none)).item() == 0  # finite, and its gradient is not
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.judge.parameters(), strict=True))


def test_a_run_that_is_lost_leaves_the_checkpoint_of_before(
    tmp_path: Path, clips: list[Clip], batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "MOST_SKIPPED", 2)
    Trainer(tmp_path, clips, replace(ONE, save_s=0), "cpu").run(samples=1)
    good = (tmp_path / checkpoint.CHECKPOINT).read_bytes()
    trainer = Trainer(tmp_path, clips, replace(ONE, save_s=0), "cpu")
    trainer._batches = iter([replace(batch, raster=batch.raster * float("nan"))] * 3)
    with pytest.raises(InputError, match="without a finite loss"):
        trainer.run(samples=9)
    assert (tmp_path / checkpoint.CHECKPOINT).read_bytes() == good


def test_a_run_cools_down_and_is_then_done(
    tmp_path: Path, clips: list[Clip], batch: Batch, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = Trainer(tmp_path, clips, ONE, "cpu")
    rates = []

    def step(given: Batch) -> None:
        rates.append(trainer._factor())
        trainer.progress.samples += 1

    monkeypatch.setattr(trainer, "step", step)
    trainer._batches = iter([batch] * 20)
    trainer.run(samples=2)
    trainer.run(cool_down=4)
    assert rates == pytest.approx([1, 1, 1, 0.75, 0.5, 0.25])
    trainer.run()
    assert trainer.progress.samples == 6
    assert "has cooled down" in capsys.readouterr().out


def test_validation_writes_a_row_and_a_sheet(
    tmp_path: Path, clips: list[Clip], batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(start: partial[object], seen: object, path: Path) -> dict[str, dict[str, float]]:
        assert start.args == (trainer.average,)
        assert seen is clips
        return {"1": {"gap_closed": 0.5}}

    monkeypatch.setattr(training, "look", look)
    trainer = Trainer(tmp_path, clips, replace(ONE, validate_s=0), "cpu", validation=clips)
    monkeypatch.setattr(trainer, "step", lambda given: setattr(trainer.progress, "samples", 1))
    trainer._batches = iter([batch])
    trainer.run(samples=1)
    assert rows(tmp_path)[-1]["validation"] == {"1": {"gap_closed": 0.5}}
    assert rows(tmp_path)[-1]["sheet"] == "00000001.png"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_save_and_end(
    tmp_path: Path, clips: list[Clip], batch: Batch, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    trainer = Trainer(tmp_path, clips, ONE, "cpu")

    def step(given: Batch) -> None:
        trainer.progress.samples += 1
        os.kill(os.getpid(), number)

    monkeypatch.setattr(trainer, "step", step)
    trainer._batches = iter([batch] * 2)
    before = signal.getsignal(number)
    if number == signal.SIGINT:
        with pytest.raises(KeyboardInterrupt):
            trainer.run()
    else:
        trainer.run()
    assert Trainer(tmp_path, clips, ONE, "cpu").progress.samples == 1
    assert signal.getsignal(number) == before


def test_a_checkpoint_that_cannot_be_used_is_told(tmp_path: Path, clips: list[Clip]) -> None:
    path = tmp_path / checkpoint.CHECKPOINT
    whole = Trainer(tmp_path, clips, ONE, "cpu")
    whole.save()
    data, state = path.read_bytes(), torch.load(path, weights_only=True)
    for spoilt, why in (
        (data[: len(data) // 2], "damaged"),
        (b"", "damaged"),
        ({"format": 1}, "not a checkpoint"),
        (state | {"format": 2}, "version 2"),
        (state | {"network": {}}, "another network"),
        (state | {"progress": {"apples": 1}}, "another network"),
    ):
        if isinstance(spoilt, bytes):
            path.write_bytes(spoilt)
        else:
            checkpoint.write(spoilt, path)
        with pytest.raises(InputError, match=why):
            Trainer(tmp_path, clips, ONE, "cpu")
    del state["progress"]["skipped"]  # written before this was counted
    checkpoint.write(state, path)
    assert Trainer(tmp_path, clips, ONE, "cpu").progress.restarts == 1


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    checkpoint.write({"a": 1}, path)
    with pytest.raises(Exception, match="pickle"):
        checkpoint.write({"a": lambda: 1}, path)
    assert torch.load(path, weights_only=True) == {"a": 1}


def test_another_process_cannot_train_in_the_same_folder(tmp_path: Path) -> None:
    held = checkpoint.lock(tmp_path)
    code = (
        f"from pathlib import Path; from telepresence.generator import checkpoint as c; c.lock(Path({str(tmp_path)!r}))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PROCESSES_S, check=False
    )
    assert "another training run writes there" in found.stderr
    assert held is not None
    held.close()


def test_people_held_out_and_research_clips_are_not_trained_on(tmp_path: Path) -> None:
    write_clips(
        tmp_path,
        {"name": "ann", "identity": "ann", "count": 8},
        {"name": "held", "identity": HELD_OUT[0], "count": 8},
        {"name": "altered", "identity": HELD_OUT[1], "count": 8, "scored": False},
        {"name": "research", "identity": "bob", "rights": "B", "count": 8},
    )

    def names(**options: bool) -> tuple[list[str], list[str]]:
        train, validation = choose_files(LiveOptions(tmp_path, tmp_path / "out", **options))  # type: ignore[arg-type]
        return [path.stem for path in train], [path.stem for path in validation]

    assert names() == (["ann"], ["held"])
    assert names(research=True) == (["ann", "research"], ["held"])
    assert names(train_all=True) == (["ann", "held"], [])


def test_a_manifest_says_which_clips(tmp_path: Path) -> None:
    write_clips(tmp_path / "clips", {"name": "ann", "identity": "ann", "count": 8}, {"name": "bob", "count": 8})
    item = {"file": "bob.mp4", "identity": "bob", "rights_tier": "A", "real_human": "yes"}
    (tmp_path / "MANIFEST.json").write_text(json.dumps({"items": [item]}))
    train, validation = choose_files(LiveOptions(tmp_path / "clips", tmp_path / "out", data=tmp_path))
    assert ([path.stem for path in train], validation) == (["bob"], [])


def test_a_collection_without_our_people_holds_some_out(tmp_path: Path) -> None:
    write_clips(tmp_path, *({"name": f"p{i}", "identity": f"p{i}", "count": 8} for i in range(60)))
    train, validation = choose_files(LiveOptions(tmp_path, tmp_path / "out"))
    assert 1 <= len(validation) <= 8
    assert len(train) == 60 - len(validation)
    items = [{"file": f"p{i}.mp4", "identity": f"p{i}", "rights_tier": "A", "real_human": "yes"} for i in range(60)]
    (tmp_path / "MANIFEST.json").write_text(json.dumps({"items": items}))
    assert choose_files(LiveOptions(tmp_path, tmp_path / "out", data=tmp_path)) == (train, validation)


def command(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["train", "live", *arguments])
    return result.exit_code, result.output


def test_the_command_tells_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = str(tmp_path / "none")
    status, told = command("--clips", where, "--out", str(tmp_path / "out"))
    assert (status, "telepresence.generator.data prepare CLIPS_DIR --out" in told) == (2, True)
    write_clips(tmp_path / "small", {"name": "ann", "identity": "ann", "count": 8})
    status, told = command("--clips", str(tmp_path / "small"), "--train-all", "--out", str(tmp_path / "out"))
    assert (status, "ann.clip: pictures of 64 pixels" in told) == (2, True)
    status, told = command("--clips", where, "--data", where, "--train-all", "--out", where)
    assert (status, "give one of them" in told) == (2, True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    status, told = command("--clips", where, "--out", where)
    assert (status, "make setup-train" in told) == (2, True)


def test_a_device_that_is_not_there_is_told(tmp_path: Path, clips: list[Clip]) -> None:
    for name in ("cuda:99", "abacus"):
        with pytest.raises(InputError, match="no such device"):
            Trainer(tmp_path, clips, ONE, name)


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PROCESSES_S
    while not path.exists():
        assert process.poll() is None, "the run ended by itself"
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.skipif(sys.platform != "linux", reason="process groups and fork")
def test_the_command_survives_being_killed_and_ends_well(tmp_path: Path) -> None:
    """Killed outright it goes on from its checkpoint; SIGTERM to all its processes ends it with status 0."""
    write_clips(tmp_path / "clips", {"name": "ann", "identity": "ann", "count": 8, "side": SIDE})
    code = (
        "from telepresence.generator.start import LiveOptions, train_live; from pathlib import Path;"
        f"train_live(LiveOptions(Path({str(tmp_path / 'clips')!r}), Path({str(tmp_path / 'run')!r}), train_all=True,"
        " device='cpu'), {'batch': 1, 'save_s': 0.0})"
    )
    saved = tmp_path / "run" / checkpoint.WEIGHTS
    for number, status in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 0)):
        with subprocess.Popen([sys.executable, "-c", code], start_new_session=True) as process:
            wait_for(saved, process)
            os.killpg(process.pid, number)
            assert process.wait(PROCESSES_S) == status
        samples = torch.load(tmp_path / "run" / checkpoint.CHECKPOINT, weights_only=True)["progress"]["samples"]
        assert samples > 0
        saved.unlink()
    restarts = torch.load(tmp_path / "run" / checkpoint.CHECKPOINT, weights_only=True)["progress"]["restarts"]
    assert restarts == 1


DISTRIBUTED = """
import sys, torch
from pathlib import Path
torch.set_num_threads(1)
from telepresence.generator.training import Trainer, TrainingConfig
from tests.generator.data.made import made_clip
config = TrainingConfig(batch=1, workers=0, temporal=0, adversarial_after=2, warm_up=1)
trainer = Trainer(Path(sys.argv[1]), [made_clip(10, side=256)], config, "cpu")
trainer.run(samples=4)
weights = torch.cat([p.detach().flatten() for m in (trainer.drawing, trainer.judge) for p in m.parameters()])
torch.save((weights, trainer.data_seed, trainer.progress.samples), Path(sys.argv[1]) / f"{trainer.rank}.pt")
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
    (one, first_seed, samples), (other, second_seed, _) = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert samples == 4
    assert first_seed != second_seed
    assert torch.equal(one, other)
    written = torch.load(tmp_path / checkpoint.CHECKPOINT, weights_only=True)["network"]
    flat = torch.cat([value.flatten() for value in written.values()])
    assert torch.equal(flat, one[: len(flat)])
