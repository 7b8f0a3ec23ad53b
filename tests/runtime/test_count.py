from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from telepresence.runtime import speed as speed_module
from telepresence.runtime.count import cost
from telepresence.runtime.info import find_engine
from telepresence.runtime.speed import Speed, cpu_speed

FLOAT = TensorProto.FLOAT


def test_counts_by_hand() -> None:
    nodes = [
        helper.make_node("Cast", ["w.half"], ["w"], to=FLOAT),
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("GridSample", ["c", "g"], ["s"]),
        helper.make_node("Flatten", ["s"], ["f"]),
        helper.make_node("Gemm", ["f", "d"], ["y"], transB=1),
        helper.make_node("MatMul", ["m", "n"], ["p"]),
    ]
    constants = {
        "w.half": np.zeros((8, 3, 3, 3), np.float16),
        "b": np.zeros(8, np.float32),
        "g": np.zeros((1, 2, 2, 2), np.float32),
        "d": np.zeros((5, 32), np.float32),
        "n": np.zeros((6, 7), np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "test",
        [
            helper.make_tensor_value_info("x", FLOAT, [1, 3, 16, 16]),
            helper.make_tensor_value_info("m", FLOAT, [2, 4, 6]),
        ],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in ("y", "p")],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    counted = cost(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9))
    convolution, looked_up, dense, product = 8 * 64 * 27, 8 * 4 * 4, 5 * 32, 2 * 4 * 7 * 6
    assert counted.macs == convolution + looked_up + dense + product
    assert counted.parameters == 8 * 27 + 8 + 5 * 32  # not the grid, nor the matrix, which nobody learned
    read = 3 * 256 + 8 * 27 + 8 + 512 + (512 + 8 + 32) + (32 + 160 + 5) + (48 + 42 + 56)
    assert counted.moved_bytes == 4 * read


def test_the_live_engine() -> None:
    info = find_engine("live")
    encode, render = (cost(onnx.load(str(info.graph(kind, 256)))) for kind in ("encode", "render"))
    assert 0.3e9 < encode.macs < 1e9
    assert 0.6e9 < render.macs < 1.2e9
    assert 0.5e6 < encode.parameters + render.parameters < 3e6


def test_floor_is_whatever_takes_longer() -> None:
    speed = Speed(gflops=100, gbytes=10)
    assert speed.floor_ms(1_000_000_000, 1) == 20
    assert speed.floor_ms(1, 50_000_000) == 5


def test_this_machine_can_do_something() -> None:
    speed = cpu_speed(1)
    assert speed.gflops > 0.1
    assert speed.gbytes > 0.01


def test_speed_is_measured_with_as_many_threads_as_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """numpy's own threads would multiply them, and the floor of one thread would be that of all cores."""
    for name in speed_module.ONE_THREAD:
        monkeypatch.delenv(name, raising=False)
    script = (
        "import telepresence.runtime.speed as speed, json, os, pathlib\n"
        "print(json.dumps({'gflops': len(os.listdir('/proc/self/task')), 'gbytes': 1.0}))"
    )
    run = subprocess.run

    def count_threads(command: list[str], **how: Any) -> Any:
        assert command[1:] == ["-m", "telepresence.runtime.speed", "2"]
        return run([command[0], "-c", script], **how)

    monkeypatch.setattr(speed_module.subprocess, "run", count_threads)
    if sys.platform == "linux":
        assert cpu_speed(2).gflops == 1  # before any product: numpy has started none


def test_speed_where_no_process_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*command: object, **how: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(speed_module.subprocess, "run", refuse)
    assert cpu_speed(1).gflops > 0.1
