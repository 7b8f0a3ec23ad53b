from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from telepresence.errors import EngineError, RuntimeLostError
from telepresence.face.motion import to_square
from telepresence.runtime import engine as engine_module
from telepresence.runtime import golden, machine
from telepresence.runtime import openvino as openvino_module
from telepresence.runtime.contract import Session
from telepresence.runtime.engine import Engine, open_engine
from telepresence.runtime.graphs import Graphs
from telepresence.runtime.onnxruntime import OnnxRuntime
from telepresence.runtime.openvino import OpenVino
from tests.runtime import tiny
from tests.runtime.conftest import make_avatar

KEYPOINTS = np.zeros((478, 3), np.float32)


@pytest.fixture(params=["openvino", "onnxruntime"])
def engine(request: pytest.FixtureRequest, engine_folder: Path) -> Iterator[Engine]:
    with open_engine(engine_folder, tiny.SIZE, runtime=request.param) as opened:
        yield opened


def missing(self: object) -> str:
    return "not installed; pip install it"


def test_draws_over_the_background(engine: Engine) -> None:
    prepared = engine.prepare(make_avatar())
    out = engine.render(prepared, KEYPOINTS + 9)  # so far off that nobody is in the picture
    assert out.shape == (64, 64, 4)
    assert out.dtype == np.uint8
    assert (out[..., :3] == 30).all()
    assert (out[..., 3] == 0).all()


def test_keypoints_move_the_picture(engine: Engine) -> None:
    avatar = make_avatar(side=100, references=1)
    prepared = engine.prepare(avatar)
    at_rest = to_square(avatar.references[0].landmarks, 100, 100)
    still = engine.render(prepared, at_rest).copy()
    assert still[32, 32, 3] == 255
    moved = at_rest + np.array([2 * 10 / 64, 0, 0], np.float32)  # ten pixels to the right
    out = engine.render(prepared, moved)
    assert np.abs(out[:, 10:].astype(int) - still[:, :-10]).max() <= 1
    assert not np.array_equal(out, still)


def test_returned_picture_is_reused(engine: Engine) -> None:
    prepared = engine.prepare(make_avatar())
    first = engine.render(prepared, KEYPOINTS)
    before = first.copy()
    engine.render(prepared, KEYPOINTS + 9)
    assert not np.array_equal(first, before)


def test_free_slots_repeat_the_first_reference(engine: Engine) -> None:
    prepared = engine.prepare(make_avatar(references=2))
    for name in ("colour", "alpha", "reference_keypoints"):
        tensor = prepared.tensors[name]
        assert len(tensor) == tiny.REFERENCES
        np.testing.assert_array_equal(tensor[2], tensor[0])
    assert not np.array_equal(prepared.tensors["colour"][1], prepared.tensors["colour"][0])


def test_more_references_than_slots(engine: Engine) -> None:
    avatar = make_avatar(references=tiny.REFERENCES + 2)
    whole, cut = engine.prepare(avatar), engine.prepare(make_avatar(references=tiny.REFERENCES))
    np.testing.assert_array_equal(whole.tensors["colour"], cut.tensors["colour"])


def test_several_avatars_in_turn(engine: Engine) -> None:
    prepared = [engine.prepare(make_avatar(seed=seed)) for seed in (0, 1)]
    alone = [engine.render(one, KEYPOINTS).copy() for one in prepared]
    assert not np.array_equal(alone[0], alone[1])
    for number in (0, 1, 1, 0):
        np.testing.assert_array_equal(engine.render(prepared[number], KEYPOINTS), alone[number])


def test_references_of_another_size_are_scaled(engine: Engine) -> None:
    for side in (65, 100, 200):
        prepared = engine.prepare(make_avatar(side=side))
        assert prepared.tensors["background"].shape == (1, 64, 64, 3)
        assert np.abs(prepared.tensors["reference_keypoints"][..., :2]).max() <= 0.4 + 1e-6


def test_runtimes_draw_the_same(engine_folder: Path) -> None:
    pictures = []
    for name in ("openvino", "onnxruntime"):
        with open_engine(engine_folder, tiny.SIZE, runtime=name) as engine:
            engine.warm_up()
            pictures.append(engine.render(engine.prepare(make_avatar()), KEYPOINTS + 0.03).astype(int))
    assert np.abs(pictures[0] - pictures[1]).max() <= 1


def test_wrong_arguments(engine: Engine) -> None:
    prepared = engine.prepare(make_avatar())
    with pytest.raises(EngineError, match=r"\(478, 3\)"):
        engine.render(prepared, KEYPOINTS[:468])
    with pytest.raises(EngineError, match="finite"):
        engine.render(prepared, KEYPOINTS * np.nan)
    with pytest.raises(EngineError, match="another engine"):
        engine.render(replace(prepared, digest="0" * 64), KEYPOINTS)


def test_closed(engine: Engine) -> None:
    prepared = engine.prepare(make_avatar())
    engine.close()
    engine.close()
    for call in (lambda: engine.render(prepared, KEYPOINTS), engine.warm_up, lambda: engine.prepare(make_avatar())):
        with pytest.raises(EngineError, match="closed"):
            call()


def test_prepare_while_rendering(engine: Engine) -> None:
    prepared = engine.prepare(make_avatar())
    expected = engine.render(prepared, KEYPOINTS).copy()
    seen: list[object] = []
    thread = threading.Thread(target=lambda: seen.extend(engine.prepare(make_avatar(seed=s)) for s in range(10)))
    thread.start()
    for _ in range(20):
        np.testing.assert_array_equal(engine.render(prepared, KEYPOINTS), expected)
    thread.join(30)
    assert len(seen) == 10


def test_first_use_measures_and_the_next_remembers(engine_folder: Path, cache: Path) -> None:
    with open_engine(engine_folder, tiny.SIZE, threads=1) as first:
        assert "measured now" in first.reason
        assert set(first.measured_ms) == {"openvino", "onnxruntime"}
    (key,) = json.loads((cache / "telepresence" / "runtime.json").read_text())["choices"]
    assert first.info.digest in key
    assert "1 threads" in key
    assert "size 64" in key
    assert f"openvino {OpenVino().version}" in key
    with open_engine(engine_folder, tiny.SIZE, threads=1) as second:
        assert "measured earlier" in second.reason
        assert second.runtime_name == first.runtime_name


@pytest.fixture
def with_int8(engine_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An engine with a graph in 8 bits, on a CPU that has instructions for it."""
    monkeypatch.setattr(openvino_module, "int8_instructions", lambda: True)
    tiny.add_int8(engine_folder)
    return engine_folder


def dimmed(by: float) -> onnx.ModelProto:
    """The tiny engine's graph with pictures of a share less light."""
    model = tiny.render_model()
    full = next(tensor for tensor in model.graph.initializer if tensor.name == "full")
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(255 * (1 - by)), "less"))
    assert onnx.numpy_helper.to_array(full) == 255
    for node in model.graph.node:
        if node.op_type == "Mul" and "full" in node.input and node.output[0] == "front":
            node.input[:] = ["less" if name == "full" else name for name in node.input]
    return model


def test_8_bits_are_measured_beside_the_others_and_can_be_asked_for(with_int8: Path) -> None:
    with open_engine(with_int8, tiny.SIZE, threads=1) as engine:
        assert set(engine.measured_ms) == {"openvino-int8", "openvino", "onnxruntime"}
    with open_engine(with_int8, tiny.SIZE, threads=1) as engine:
        assert "measured earlier" in engine.reason
    for name in ("openvino-int8", "openvino"):
        with open_engine(with_int8, tiny.SIZE, runtime=name) as engine:
            assert engine.runtime_name == name
            prepared = engine.prepare(make_avatar())
            assert engine.render(prepared, KEYPOINTS).shape == (64, 64, 4)


def test_a_cpu_that_gains_nothing_by_8_bits_is_not_asked(with_int8: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_module, "int8_instructions", lambda: False)
    with open_engine(with_int8, tiny.SIZE, threads=1) as engine:
        assert set(engine.measured_ms) == {"openvino", "onnxruntime"}
        assert engine.warnings == ()
    with open_engine(with_int8, tiny.SIZE, runtime="openvino-int8") as engine:
        assert engine.runtime_name != "openvino-int8"
        assert "VNNI" in engine.warnings[0]


def test_pictures_in_8_bits_that_differ_are_not_shown(with_int8: Path) -> None:
    tiny.add_int8(with_int8, dimmed(0.002))
    with open_engine(with_int8, tiny.SIZE, runtime="openvino-int8") as engine:
        assert engine.runtime_name == "openvino-int8"  # a rounding error, no more
    tiny.add_int8(with_int8, dimmed(0.1))
    with open_engine(with_int8, tiny.SIZE, runtime="openvino-int8") as engine:
        assert engine.runtime_name != "openvino-int8"
        assert "too far from those in float32 on this CPU" in engine.warnings[0]


def test_pictures_in_8_bits_are_looked_at_once(with_int8: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    check = golden.check

    def noted(graphs: Graphs, path: Path) -> golden.Difference:
        looked.append(graphs.runtime.name)
        return check(graphs, path)

    monkeypatch.setattr(golden, "check", noted)
    for _ in range(2):
        open_engine(with_int8, tiny.SIZE, threads=1).close()
    assert looked == ["openvino-int8"]
    model = tiny.render_model()
    model.doc_string = "another graph in 8 bits"
    tiny.add_int8(with_int8, model)
    open_engine(with_int8, tiny.SIZE, threads=1).close()
    assert looked == ["openvino-int8"] * 2


def test_an_engine_without_8_bits(engine_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_module, "int8_instructions", lambda: True)
    with open_engine(engine_folder, tiny.SIZE, runtime="openvino-int8") as engine:
        assert engine.runtime_name in ("openvino", "onnxruntime")
        assert "has no int8 graph" in engine.warnings[0]


def test_when_8_bits_fail_float32_goes_on(with_int8: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_engine(with_int8, tiny.SIZE, runtime="openvino-int8") as engine:
        prepared = engine.prepare(make_avatar())
        before = engine.render(prepared, KEYPOINTS).copy()
        graphs = engine._graphs.current

        def fail(tensors: object, keypoints: object) -> None:
            raise RuntimeLostError("lost")

        monkeypatch.setattr(graphs, "render", fail)
        after = engine.render(prepared, KEYPOINTS)
        assert np.abs(after.astype(int) - before).max() <= 1
        assert engine.runtime_name in ("onnxruntime", "openvino")


@pytest.mark.parametrize(
    ("cores", "environment", "given", "threads"),
    [(1, "", None, 1), (2, "", None, 2), (4, "", None, 3), (16, "", None, 4), (2, "", 1, 1), (8, "1", None, 1)],
)
def test_threads_of_an_engine(
    engine_folder: Path, monkeypatch: pytest.MonkeyPatch, cores: int, environment: str, given: int | None, threads: int
) -> None:
    used: list[int] = []
    load = OpenVino.load

    def noted(self: OpenVino, path: Path, *, threads: int | None = None) -> Session:
        used.append(threads or 0)
        return load(self, path, threads=1)

    monkeypatch.setattr(OpenVino, "load", noted)
    monkeypatch.setattr(machine, "cores", lambda: cores)
    monkeypatch.setenv(machine.THREADS, environment)
    with open_engine(engine_folder, tiny.SIZE, runtime="openvino", threads=given) as engine:
        assert engine.render(engine.prepare(make_avatar()), KEYPOINTS).shape == (64, 64, 4)
    assert set(used) == {threads}


def test_unavailable_runtime_is_said_in_the_reason(engine_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OpenVino, "available", missing)
    with open_engine(engine_folder, tiny.SIZE, runtime="openvino") as engine:
        assert engine.runtime_name == "onnxruntime"
        assert engine.warnings == ("openvino cannot be used: not installed; pip install it",)
        assert "\nwarning: openvino cannot be used" in engine.reason


def test_no_runtime_at_all(engine_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OpenVino, "available", missing)
    monkeypatch.setattr(OnnxRuntime, "available", missing)
    with pytest.raises(EngineError, match=r"no runtime can execute the engine: openvino .*; onnxruntime .*pip install"):
        open_engine(engine_folder, tiny.SIZE)


def test_unknown_runtime(engine_folder: Path) -> None:
    with pytest.raises(EngineError, match="no runtime 'abacus'; choose auto or one of: openvino, onnxruntime"):
        open_engine(engine_folder, tiny.SIZE, runtime="abacus")


def test_unknown_engine() -> None:
    with pytest.raises(EngineError, match="there is no engine 'nobody'"):
        open_engine("nobody")


def test_wrong_schema(engine_folder: Path) -> None:
    tiny.write_toml(engine_folder, motion_schema=7)
    with pytest.raises(EngineError, match="motion schema 7, and this telepresence has schema 1"):
        open_engine(engine_folder, tiny.SIZE)


def test_damaged_file_is_said_once(engine_folder: Path) -> None:
    (engine_folder / f"encode-{tiny.SIZE}.onnx").write_bytes(b"")
    with pytest.raises(EngineError, match=r"^[^;]*encode-64.onnx is damaged or was changed"):
        open_engine(engine_folder, tiny.SIZE)


def test_truncated_graph_with_a_fitting_hash(engine_folder: Path) -> None:
    path = engine_folder / f"render-{tiny.SIZE}.onnx"
    path.write_bytes(path.read_bytes()[:1000])
    tiny.write_toml(engine_folder)
    with pytest.raises(EngineError, match=r"openvino cannot load render-64.*onnxruntime cannot load render-64"):
        open_engine(engine_folder, tiny.SIZE)


@pytest.mark.parametrize("fault", ["another K", "no background", "another size"])
def test_graph_that_breaks_the_contract(engine_folder: Path, fault: str) -> None:
    path = engine_folder / f"render-{tiny.SIZE}.onnx"
    if fault == "another K":
        tiny.write_toml(engine_folder, references=tiny.REFERENCES + 1)
    elif fault == "another size":
        onnx.save(tiny.render_model(32), str(path))
        tiny.write_toml(engine_folder)
    else:
        model = tiny.render_model()
        for node in model.graph.node:
            node.input[:] = ["behind_it" if name == "background" else name for name in node.input]
        next(i for i in model.graph.input if i.name == "background").name = "behind_it"
        onnx.save(model, str(path))
        tiny.write_toml(engine_folder)
    with pytest.raises(EngineError, match=r"render-64.onnx breaks the contract of engines"):
        open_engine(engine_folder, tiny.SIZE, runtime="onnxruntime")


def test_graph_that_needs_no_reference_keypoints(engine_folder: Path) -> None:
    model = tiny.without_reference_keypoints(tiny.render_model())
    onnx.save(model, str(engine_folder / f"render-{tiny.SIZE}.onnx"))
    tiny.write_toml(engine_folder)
    with open_engine(engine_folder, tiny.SIZE, runtime="onnxruntime") as engine:
        prepared = engine.prepare(make_avatar(references=1))
        assert set(prepared.tensors) == {"colour", "alpha", "background"}
        assert engine.render(prepared, KEYPOINTS)[32, 32, 3] == 255


def test_runtime_names_are_distinct() -> None:
    ordinary, extra = engine_module.runtimes()
    names = [runtime.name for runtime in (*ordinary, *extra)]
    names += [runtime.name for runtime in engine_module.accelerated()]
    assert sorted(names) == ["onnxruntime", "openvino", "openvino-int8", "tensorrt", "torch", "torch-cpu"]
