from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from telepresence.errors import EngineError, InputError
from telepresence.generator import weights
from telepresence.generator.live import LiveEncode, LiveRender, Network
from telepresence.generator.weights import read_weights, weights_of_engine
from telepresence.resources import shipped
from telepresence.runtime import golden
from telepresence.runtime.info import find_engine

LIVE = shipped("engines") / "live"


@torch.no_grad()
def test_torch_draws_the_golden_pictures_with_the_engines_weights() -> None:
    network = weights_of_engine(LIVE)
    with np.load(LIVE / "golden-256.npz") as data:
        given = {name: torch.from_numpy(data[name]) for name in data.files}
    encode, render = LiveEncode(network, 256).eval(), LiveRender(network, 256).eval()
    parts = zip(given["picture"], given["matte"], given["reference_keypoints"], strict=True)
    encoded = [encode(p[None], m[None, ..., None], k[None]) for p, m, k in parts]
    slots = find_engine(LIVE).references
    features = [torch.cat(part) for part in zip(*encoded, *encoded[:1] * (slots - len(encoded)), strict=True)]
    drawn = torch.cat([render(k[None], *features, given["background"][None]) for k in given["keypoints"]])
    difference = golden.compare(drawn.numpy(), given["pictures"].numpy())
    assert difference.fits, difference


def test_weights_are_read_as_an_engine_keeps_them(tmp_path: Path) -> None:
    network = weights_of_engine(LIVE)
    state = {name: value + 1e-6 for name, value in network.state_dict().items()}
    for saved in (state, {"average": state, "steps": 7}):
        torch.save(saved, tmp_path / "weights.pt")
        read = read_weights(tmp_path / "weights.pt").state_dict()
        assert all(torch.equal(value, state[name].half().float()) for name, value in read.items())


def test_another_engine_cannot_be_tuned() -> None:
    with pytest.raises(EngineError, match="'prior' cannot be fine-tuned: it is not a live engine"):
        weights_of_engine(shipped("engines") / "prior")


def test_an_engine_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"encode-256\.onnx cannot be read; restore"):
        weights_of_engine(tmp_path)
    (tmp_path / "encode-256.onnx").write_bytes((LIVE / "encode-256.onnx").read_bytes()[:100_000])
    with pytest.raises(EngineError, match=r"encode-256\.onnx cannot be read; restore"):
        weights_of_engine(tmp_path)


@pytest.mark.parametrize("damage", ["none", "empty", "text", "cut", "changed"])
def test_damaged_files_of_weights(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "weights.pt"
    torch.save(Network().state_dict(), path)
    whole = path.read_bytes()
    if damage == "none":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "text": b"no weights", "cut": whole[: len(whole) // 2]}.get(damage, b"PK" * 9))
    with pytest.raises(InputError, match=r"give the weights\.pt that training wrote"):
        read_weights(path)


def test_files_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    whole = Network().state_dict()
    name = next(iter(whole))
    others = [torch.ones(3), [1, 2], {}, {"a": torch.ones(1)}, {"average": torch.ones(1)}, {"average": 3}, {7: 7}]
    for other in [*others, whole | {name: 3}, whole | {name: torch.ones(1)}, whole | {"more": torch.ones(1)}]:
        torch.save(other, path)
        with pytest.raises(InputError, match=r"weights of another network|not a file of weights"):
            read_weights(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(Network().state_dict(), tmp_path / "weights.pt")
    monkeypatch.setattr(weights, "MAX_BYTES", 1 << 20)
    monkeypatch.setattr(torch, "load", lambda *args, **how: pytest.fail("was read"))
    with pytest.raises(InputError, match="larger than 1 MiB"):
        read_weights(tmp_path / "weights.pt")
