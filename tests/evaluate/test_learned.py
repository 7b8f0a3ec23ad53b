from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from telepresence.avatar.samples import sample_avatar
from telepresence.errors import InputError
from telepresence.evaluate.learned import ALIGNED, Learned, aligned, frechet

onnx = pytest.importorskip("onnx")


def graph(path: Path, nodes: list[object], inputs: list[str]) -> None:
    spec = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, 3, "h", "w"]) for n in inputs]
    out = onnx.helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, None)
    made = onnx.helper.make_graph(nodes, "g", spec, [out])
    onnx.save(onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Stand-ins of the documented shapes: mean absolute difference, and mean colours."""
    node = onnx.helper.make_node
    difference = [node("Sub", ["a", "b"], ["d"]), node("Abs", ["d"], ["m"]), node("ReduceMean", ["m"], ["out"])]
    graph(tmp_path / "lpips.onnx", difference, ["a", "b"])
    colours = [node("ReduceMean", ["a"], ["out"], axes=[2, 3], keepdims=0)]
    graph(tmp_path / "face-embedding.onnx", colours, ["a"])
    return tmp_path


def test_what_is_there_is_used_and_what_is_not_is_named(weights: Path) -> None:
    learned = Learned(weights)
    assert [learned.has(figure) for figure in ("lpips", "csim", "fid")] == [True, True, False]
    assert [entry["figure"] for entry in learned.missing] == ["fid"]
    assert learned.missing[0]["put"] == str(weights / "inception.onnx")
    dark, bright = np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 255, np.uint8)
    assert learned.lpips(dark, dark) == 0
    assert learned.lpips(dark, bright) == pytest.approx(2)
    reference = sample_avatar().references[0]
    assert learned.csim(*(reference.picture, reference.landmarks) * 2) == pytest.approx(1)


def test_without_a_folder_all_three_are_missing() -> None:
    assert [entry["figure"] for entry in Learned(None).missing] == ["lpips", "csim", "fid"]


def test_bad_weights_are_refused_with_their_name(tmp_path: Path, weights: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        Learned(tmp_path / "nowhere")
    (weights / "inception.onnx").write_bytes(b"not a graph")
    with pytest.raises(InputError, match=r"inception\.onnx"):
        Learned(weights)


def test_a_face_is_aligned_to_arcface_s_places() -> None:
    reference = sample_avatar().references[0]
    marked = np.zeros_like(reference.picture)
    y, x = np.rint(reference.landmarks[1, :2][::-1]).astype(int)  # the tip of the nose
    marked[y - 3 : y + 4, x - 3 : x + 4] = 255
    found = aligned(marked, reference.landmarks)[..., 0] > 127
    assert found.shape == (112, 112)
    assert np.argwhere(found).mean(0)[::-1] == pytest.approx(ALIGNED[2], abs=8)  # a face is not the mean face


def test_the_frechet_distance_of_shifted_sets_is_the_shift_squared() -> None:
    features = list(np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32))
    assert frechet(features, features) == pytest.approx(0, abs=1e-6)
    shifted = [f + np.float32(2) for f in features]
    assert frechet(shifted, features) == pytest.approx(5 * 4, rel=1e-4)
    assert frechet([f * 3 for f in features], features) > 5
