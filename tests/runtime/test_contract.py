"""Every runtime keeps the contract, and all of them draw the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from telepresence.errors import EngineError
from telepresence.runtime.contract import Array, Runtime, Session, TensorSpec, first_line
from telepresence.runtime.onnxruntime import OnnxRuntime
from telepresence.runtime.openvino import OpenVino
from tests.runtime import tiny

RUNTIMES: list[Runtime] = [OpenVino(), OnnxRuntime()]
every_runtime = pytest.mark.parametrize("runtime", RUNTIMES, ids=lambda runtime: runtime.name)


def feeds(session: Session, seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    out: dict[str, Array] = {}
    for name, spec in session.inputs.items():
        if spec.dtype == np.uint8:
            out[name] = rng.integers(0, 256, spec.shape, np.uint8)
        else:
            out[name] = rng.random(spec.shape, np.float32)
    return out


def load(runtime: Runtime, folder: Path, kind: str = "render") -> Session:
    return runtime.load(folder / f"{kind}-{tiny.SIZE}.onnx", threads=1)


@every_runtime
def test_specs(runtime: Runtime, engine_folder: Path) -> None:
    session = load(runtime, engine_folder, "encode")
    assert dict(session.inputs) == {
        "picture": TensorSpec((1, 64, 64, 3), np.dtype(np.uint8)),
        "matte": TensorSpec((1, 64, 64, 1), np.dtype(np.uint8)),
        "keypoints": TensorSpec((1, 478, 3), np.dtype(np.float32)),
    }
    assert dict(session.outputs) == {
        "colour": TensorSpec((1, 3, 64, 64), np.dtype(np.float32)),
        "alpha": TensorSpec((1, 1, 64, 64), np.dtype(np.float32)),
    }


def test_runtimes_agree(engine_folder: Path) -> None:
    pictures = []
    for runtime in RUNTIMES:
        session = load(runtime, engine_folder)
        pictures.append(session.run(feeds(session))["picture"].astype(int))
        session.close()
    assert pictures[0].std() > 10
    assert np.abs(pictures[0] - pictures[1]).max() <= 1  # a float on the edge between two bytes may fall either way


@every_runtime
def test_bound_input_stays_until_it_is_bound_anew(runtime: Runtime, engine_folder: Path) -> None:
    session = load(runtime, engine_folder)
    first, second = feeds(session, 0), feeds(session, 1)
    expected = [session.run(f | {"keypoints": first["keypoints"]})["picture"].copy() for f in (first, second)]
    keypoints = {"keypoints": first["keypoints"]}
    for tensors, picture in ((first, expected[0]), (second, expected[1]), (first, expected[0])):
        for name, array in tensors.items():
            if name != "keypoints":
                session.bind(name, array)
        for _ in range(2):
            np.testing.assert_array_equal(session.run(keypoints)["picture"], picture)


@every_runtime
def test_bind_shares_and_feed_copies(runtime: Runtime, engine_folder: Path) -> None:
    session = load(runtime, engine_folder, "encode")
    given = feeds(session)
    session.bind("picture", given.pop("picture"))
    matte = np.full((1, 64, 64, 1), 255, np.uint8)
    session.run(given | {"matte": matte})
    matte[:] = 0  # ours again: the session must not look at it any more
    np.testing.assert_allclose(session.run({})["alpha"], 1.0)


@every_runtime
def test_feeding_a_bound_input_leaves_the_bound_array_alone(runtime: Runtime, engine_folder: Path) -> None:
    session = load(runtime, engine_folder, "encode")
    bound = np.full((1, 64, 64, 1), 255, np.uint8)
    session.bind("matte", bound)
    session.run(feeds(session))
    assert bound.min() == 255


@every_runtime
def test_read_only_arrays_can_be_bound(runtime: Runtime, engine_folder: Path) -> None:
    session = load(runtime, engine_folder)
    given = feeds(session)
    expected = session.run(given)["picture"].copy()
    for name, array in given.items():
        array.flags.writeable = False
        session.bind(name, array)
    np.testing.assert_array_equal(session.run({})["picture"], expected)


@every_runtime
def test_outputs_are_the_sessions_own(runtime: Runtime, engine_folder: Path) -> None:
    session = load(runtime, engine_folder)
    first = session.run(feeds(session, 0))["picture"]
    before = first.copy()
    assert session.run(feeds(session, 1))["picture"] is first
    assert not np.array_equal(first, before)


@every_runtime
def test_wrong_feeds(runtime: Runtime, engine_folder: Path) -> None:
    session = load(runtime, engine_folder)
    given = feeds(session)
    with pytest.raises(EngineError, match=r"nothing was bound or fed for .*keypoints"):
        session.run({name: array for name, array in given.items() if name != "keypoints"})
    with pytest.raises(EngineError, match=r"'keypoints' is float32 \[478, 3\].*takes float32 \[1, 478, 3\]"):
        session.run(given | {"keypoints": given["keypoints"][0]})
    with pytest.raises(EngineError, match="float64"):
        session.bind("keypoints", given["keypoints"].astype(np.float64))
    with pytest.raises(EngineError, match="no input 'nonsense'"):
        session.bind("nonsense", given["keypoints"])
    with pytest.raises(EngineError, match="ascontiguousarray"):
        session.bind("background", np.zeros((1, 64, 3, 64), np.uint8).transpose(0, 1, 3, 2))
    session.run(given)  # still usable


@every_runtime
def test_closed(runtime: Runtime, engine_folder: Path) -> None:
    session = load(runtime, engine_folder)
    given = feeds(session)
    session.close()
    session.close()
    with pytest.raises(EngineError, match="closed"):
        session.run(given)
    with pytest.raises(EngineError, match="closed"):
        session.bind("keypoints", given["keypoints"])


@every_runtime
@pytest.mark.parametrize("damage", ["truncated", "empty", "noise", "missing"])
def test_damaged_graph(runtime: Runtime, engine_folder: Path, damage: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = engine_folder / f"render-{tiny.SIZE}.onnx"
    data = path.read_bytes()
    damaged = {"truncated": data[: len(data) // 2], "empty": b"", "noise": b"\x80" * 999}
    path.unlink() if damage == "missing" else path.write_bytes(damaged[damage])
    with pytest.raises(EngineError, match=f"^{runtime.name} cannot load render-{tiny.SIZE}.onnx: .{{5}}"):
        runtime.load(path)
    assert capfd.readouterr() == ("", "")


@every_runtime
def test_dynamic_shapes_are_refused(runtime: Runtime, engine_folder: Path) -> None:
    import onnx

    path = engine_folder / f"encode-{tiny.SIZE}.onnx"
    model = tiny.encode_model()
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "height"
    onnx.save(model, str(path))
    with pytest.raises(EngineError, match="fixed shape"):
        runtime.load(path)


@every_runtime
def test_is_quiet(runtime: Runtime, engine_folder: Path) -> None:
    """In a fresh process: what a runtime prints, it prints once."""
    module, name = type(runtime).__module__, type(runtime).__name__
    script = (
        f"from pathlib import Path; from {module} import {name}\n"
        f"s = {name}().load(Path({str(engine_folder)!r}) / 'encode-{tiny.SIZE}.onnx')\n"
        "import numpy as np; s.run({n: np.zeros(t.shape, t.dtype) for n, t in s.inputs.items()}); s.close()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")


def test_importing_the_package_imports_no_runtime() -> None:
    script = (
        "import sys, telepresence.runtime.engine\n"
        "sys.exit(str({'openvino', 'onnxruntime', 'cv2', 'onnx', 'torch'} & sys.modules.keys() or ''))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stderr.strip() == ""


def test_first_line() -> None:
    assert first_line(RuntimeError("Exception from src/a.cpp:1\nCheck 'x' failed\nno memory\ntrace")) == "no memory"
    assert first_line(ValueError("")) == "ValueError"
    assert len(first_line(ValueError("x" * 999))) == 200
