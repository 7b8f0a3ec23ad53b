from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from telepresence.errors import InputError
from telepresence.generator.fewshot import weights
from telepresence.generator.fewshot.weights import read_judge, read_weights
from tests.generator.fewshot.tiny import TINY, judge, network, write_weights


def test_weights_are_read_as_they_were_written(tmp_path: Path) -> None:
    read = read_weights(write_weights(tmp_path / "weights.pt"))
    assert read.config == TINY
    for mine, wanted in zip(read.parameters(), network().parameters(), strict=True):
        assert torch.equal(mine, wanted)


def test_of_the_columns_only_their_mean_is_kept(tmp_path: Path) -> None:
    read = read_judge(write_weights(tmp_path / "weights.pt"))
    mean = judge().columns.weight.mean(0)
    assert read.columns.weight.shape == (1, TINY.embedding)
    assert torch.allclose(read.columns.weight[0], mean, atol=1e-4)


def test_every_weight_of_the_discriminator_is_kept() -> None:
    kept = weights.judge_weights(judge())
    assert set(kept) == set(judge().__class__(TINY, 1, spectral=False).state_dict())
    assert {value.dtype for value in kept.values()} == {torch.float16}


def test_what_is_no_file_of_weights_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_weights(tmp_path / "weights.pt")
    state = torch.load(path, weights_only=True)
    wider = asdict(replace(TINY, width=0.25))
    for spoilt, why in (
        ({"config": wider, "state": state["state"]}, "weights of other networks"),
        ({"config": state["config"]}, "weights of other networks"),
        ({"state": state["state"]}, "does not say what few-shot networks"),
        (dict(state["state"].items()), "does not say what few-shot networks"),
        ([1], "not a file of weights"),
    ):
        torch.save(spoilt, path)
        with pytest.raises(InputError, match=why):
            read_weights(path)
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="damaged"):
        read_weights(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_judge(tmp_path / "none.pt")
    monkeypatch.setattr(weights, "MAX_BYTES", 3)
    with pytest.raises(InputError, match="larger than"):
        read_weights(path)
