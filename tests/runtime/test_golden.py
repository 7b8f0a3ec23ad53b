from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from telepresence.errors import EngineError
from telepresence.runtime import golden
from telepresence.runtime.graphs import Graphs
from telepresence.runtime.info import read_info
from telepresence.runtime.onnxruntime import OnnxRuntime
from telepresence.runtime.openvino import OpenVino
from tests.runtime import tiny


@pytest.fixture
def graphs(engine_folder: Path) -> Graphs:
    return Graphs(read_info(engine_folder), tiny.SIZE, OnnxRuntime(), 1)


def test_round_trip(graphs: Graphs, engine_folder: Path) -> None:
    given = golden.inputs(tiny.SIZE, tiny.REFERENCES)
    path = engine_folder / "golden-64.npz"
    golden.save(path, given, golden.draw(graphs, given))
    assert golden.check(graphs, path) == golden.Difference(0.0, 0.0)
    other = Graphs(graphs.info, tiny.SIZE, OpenVino(), 1)
    assert golden.check(other, path).fits


def test_notices_a_different_picture(graphs: Graphs) -> None:
    given = golden.inputs(tiny.SIZE, tiny.REFERENCES)
    pictures = golden.draw(graphs, given)
    shifted = pictures.copy()
    shifted[2] = np.roll(shifted[2], 1, axis=1)  # by a single pixel
    assert not golden.compare(shifted, pictures).fits
    brighter = np.minimum(pictures, 254) + 1
    assert not golden.compare(brighter.astype(np.uint8), pictures).fits


def test_forgives_single_pixels(graphs: Graphs) -> None:
    pictures = golden.draw(graphs, golden.inputs(tiny.SIZE, tiny.REFERENCES))
    touched = pictures.copy()
    touched[0, 5, 5] += 100
    assert golden.compare(touched, pictures).fits


def test_one_slot() -> None:
    assert len(golden.inputs(64, 1)["picture"]) == 1


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04nonsense", b"text"])
def test_not_a_golden_file(graphs: Graphs, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "golden.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EngineError, match="not a golden file"):
        golden.check(graphs, path)


def test_golden_file_without_pictures(graphs: Graphs, tmp_path: Path) -> None:
    np.savez(tmp_path / "golden.npz", **golden.inputs(tiny.SIZE, tiny.REFERENCES))
    with pytest.raises(EngineError, match="pictures"):
        golden.check(graphs, tmp_path / "golden.npz")
