"""The live engine's `render` graphs once more, with convolutions in 8 bits: for CPUs that multiply those faster.

python -m telepresence.generator.quantise live

Nothing is trained. Weights become int8 with a scale for each output channel, what a convolution reads becomes uint8
with one scale and zero point (ONNX's QuantizeLinear and DequantizeLinear; Jacob et al. 2018, section 2). What says
where things are stays in float32. The ranges are those of the sample avatar and of the golden inputs, both of which are
in the repository, and wider, because people differ.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.avatar.samples import sample_avatar, sample_motion
from telepresence.errors import EngineError
from telepresence.face.retarget import Retarget
from telepresence.generator.splitting import joined, parts_of, replace, split
from telepresence.resources import shipped
from telepresence.runtime import golden
from telepresence.runtime.contract import Array, Session
from telepresence.runtime.engine import open_engine
from telepresence.runtime.graphs import EncodeInput, Graphs
from telepresence.runtime.info import read_info
from telepresence.runtime.onnxruntime import OnnxRuntime
from telepresence.runtime.openvino import OpenVino
from telepresence.runtime.precision import towards_coordinates

# Ranges of other people were up to 2.8 times those of the sample avatar. Of ten avatars, three of them fine-tuned, the
# worst picture had 46, 51, 50 and 49 dB with the ranges as they are, 1.3, 1.6 and 2 times as wide.
WIDER: Final = 1.6
MIN_CHANNELS: Final = 8  # that a convolution makes: fewer fill no vector, and decide more than colours
MIN_ALONE: Final = 54.0  # dB; a convolution that alone takes more than that from a picture is left out
MIN_PSNR: Final = 42.0  # dB; of every picture, all together
MOTIONS: Final = 24  # of the sample track: half to take ranges from, half to compare pictures by
_TABLE: Final = "\n[int8]\n"

Feeds = Sequence[tuple[Mapping[str, Array], NDArray[np.float32]]]
"""An avatar's tensors and keypoints (478, 3)."""
Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Made:
    """An 8-bit graph."""

    path: Path
    convolutions: tuple[str, ...]
    """Names of those in 8 bits."""
    left_out: Mapping[str, float]
    """Of those that could be and are not: dB of the worst picture with that one alone."""
    psnr: float
    """dB, of the worst picture, against float32."""


def main() -> None:
    """Make an engine's 8-bit graphs anew from its float32 ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=("live",))
    parser.add_argument("--out", type=Path, help="folder of engines; default: the checkout's")
    options = parser.parse_args()
    for made in quantise_engine((options.out or shipped("engines")) / options.engine):
        left = ", ".join(f"{name} ({psnr:.0f} dB)" for name, psnr in made.left_out.items()) or "none"
        print(f"{made.path.name}: {len(made.convolutions)} in 8 bits, {made.psnr:.1f} dB; left out: {left}")


def quantise_engine(folder: Path) -> list[Made]:
    """Write render-S.int8.onnx for every size of an engine, and their hashes into its engine.toml.

    Raises:
        EngineError: no such engine, or pictures of an 8-bit graph are too far from those in float32.
    """
    made = [quantise(folder, size) for size in read_info(folder).sizes]
    text = (folder / "engine.toml").read_text(encoding="utf-8").partition(_TABLE)[0]
    hashes = "".join(f'"{m.path.name}" = "{hashlib.sha256(m.path.read_bytes()).hexdigest()}"\n' for m in made)
    (folder / "engine.toml").write_text(f"{text}{_TABLE}{hashes}", encoding="utf-8")
    return made


def quantise(folder: Path, size: int) -> Made:
    """Write render-SIZE.int8.onnx beside render-SIZE.onnx.

    Raises:
        EngineError: as `quantise_engine`.
    """
    import onnx

    model = onnx.load(str(read_info(folder).graph("render", size)))
    apart = split(model, joined(model))
    names = quantisable(apart)
    seen, unseen = _feeds(folder, size)
    between = ranges(apart, names, seen)
    wanted = _draw(model, unseen)
    few = slice(None, None, 3)
    alone = {
        name: golden.compare(_draw(quantised(apart, [name], between), unseen[few]), wanted[few]).psnr for name in names
    }
    good = {name for name in names if alone[name] >= MIN_ALONE}
    whole = [name for name, parts in parts_of(model).items() if good.issuperset(parts)]  # else it stays as it is
    model = split(model, whole)
    kept = tuple(name for name in quantisable(model) if name in good)
    made = quantised(model, kept, between)
    psnr = golden.compare(_draw(made, unseen), wanted).psnr
    if psnr < MIN_PSNR:
        raise EngineError(f"pictures of size {size} in 8 bits have {psnr:.1f} dB, and {MIN_PSNR:.0f} are wanted")
    path = folder / f"render-{size}.int8.onnx"
    path.write_bytes(made.SerializeToString(deterministic=True))
    return Made(path, kept, {name: alone[name] for name in names if name not in kept}, psnr)


def quantisable(model: Any) -> list[str]:
    """Names of the convolutions of a graph (onnx.ModelProto) that may compute in 8 bits: colours, not coordinates.

    Not those that read a Concat (see `splitting`).
    """
    nodes = model.graph.node
    made_by = {name: node for node in nodes for name in node.output}
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    exact = {nodes[i].name for i in towards_coordinates(model.graph)}

    def source(name: str) -> Any:
        node = made_by.get(name)
        return source(node.input[0]) if node is not None and node.op_type == "Reshape" else node

    def weights(node: Any) -> tuple[int, ...]:
        cast = made_by.get(node.input[1])
        return shapes.get(cast.input[0] if cast is not None else node.input[1], ())

    found = []
    for node in nodes:
        if node.op_type == "Conv" and node.name not in exact and weights(node)[:1] >= (MIN_CHANNELS,):
            before = source(node.input[0])
            if before is not None and before.op_type != "Concat":
                found.append(node.name)
    return found


def ranges(model: Any, names: Sequence[str], feeds: Feeds) -> dict[str, Range]:
    """Of every tensor that one of these convolutions reads: least and greatest value, made wider, 0 among them."""
    import onnx
    from onnx import TensorProto, helper

    told = onnx.ModelProto()
    told.CopyFrom(model)
    read = sorted({node.input[0] for node in told.graph.node if node.name in names})
    told.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in read)
    inferred = onnx.shape_inference.infer_shapes(told)
    found = dict.fromkeys(read, (0.0, 0.0))
    for made in _run(inferred, OnnxRuntime(), feeds):
        for name, (low, high) in found.items():
            found[name] = (min(low, float(made[name].min())), max(high, float(made[name].max())))
    return {name: (WIDER * low, WIDER * high) for name, (low, high) in found.items()}


def quantised(model: Any, names: Sequence[str], between: Mapping[str, Range]) -> Any:
    """A copy of a graph (onnx.ModelProto, float32) in which these convolutions read 8-bit numbers."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    rewriting = _Rewriting(graph, between)
    nodes = [made for node in graph.node for made in (rewriting.convolution(node) if node.name in names else [node])]
    graph.initializer.extend(rewriting.constants)
    replace(graph, nodes)  # weights that nobody reads any more go
    onnx.checker.check_model(copy)
    return copy


class _Rewriting:
    """Convolutions of one graph; what two of them read is quantised once."""

    def __init__(self, graph: Any, between: Mapping[str, Range]) -> None:
        from onnx import numpy_helper

        values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        casts = {node.output[0]: values[node.input[0]] for node in graph.node if node.input[0] in values}
        self._weights = values | casts
        self._between = between
        self._done: set[str] = set()
        self.constants: list[Any] = []

    def convolution(self, node: Any) -> Iterator[Any]:
        """The nodes in place of one."""
        given, weights = node.input[0], node.input[1]
        if given not in self._done:
            self._done.add(given)
            yield from self._activations(given)
        yield self._weight(weights)
        node.input[0], node.input[1] = f"{given}.near", f"{weights}.near"
        yield node

    def _activations(self, name: str) -> Iterator[Any]:
        from onnx import helper

        low, high = self._between[name]
        scale = np.float32(max(high - low, 1e-6) / 255)
        zero = np.uint8(np.clip(round(-low / scale), 0, 255))
        how = self._constant(f"{name}.scale", scale), self._constant(f"{name}.zero", zero)
        yield helper.make_node("QuantizeLinear", [name, *how], [f"{name}.int8"], f"quantise_{name}")
        yield helper.make_node("DequantizeLinear", [f"{name}.int8", *how], [f"{name}.near"], f"restore_{name}")

    def _weight(self, name: str) -> Any:
        from onnx import helper

        values = self._weights[name].astype(np.float32)
        most = np.abs(values).max(tuple(range(1, values.ndim)))
        scale = np.where(most > 0, most / 127, 1).astype(np.float32)
        rounded = np.round(values / scale.reshape(-1, *[1] * (values.ndim - 1))).astype(np.int8)
        parts = (("int8", rounded), ("scale", scale), ("zero", np.zeros(len(scale), np.int8)))
        given = [self._constant(f"{name}.{part}", array) for part, array in parts]
        return helper.make_node("DequantizeLinear", given, [f"{name}.near"], f"restore_{name}", axis=0)

    def _constant(self, name: str, values: Any) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name


def _feeds(folder: Path, size: int) -> tuple[Feeds, Feeds]:
    """What ranges are taken from, and other motions of the same by which pictures are compared."""
    info = read_info(folder)
    avatar, packets = sample_avatar(), sample_motion()
    retarget = Retarget(avatar.neutral, avatar.rest, "relative")
    moved = [retarget(packet.motion, packet.capture_us) for packet in packets[:: len(packets) // MOTIONS]]
    with open_engine(folder, size, runtime="onnxruntime", threads=1) as engine:
        tensors = engine.prepare(avatar).tensors
    given = golden.inputs(size, info.references)
    graphs = Graphs(info, size, OnnxRuntime(), 1)
    references = map(EncodeInput, given["picture"], given["matte"], given["reference_keypoints"])
    stripes = graphs.tensors(references, given["background"])
    graphs.close()
    seen = [*((tensors, points) for points in moved[::2]), *((stripes, points) for points in given["keypoints"])]
    return seen, [(tensors, points) for points in moved[1::2]]


def _draw(model: Any, feeds: Feeds) -> NDArray[np.uint8]:
    """Pictures (N, S, S, 4), by the runtime that the 8-bit graphs are for."""
    return np.stack([made["picture"][0].copy() for made in _run(model, OpenVino(), feeds)])


def _run(model: Any, runtime: OnnxRuntime | OpenVino, feeds: Feeds) -> Iterator[Mapping[str, Array]]:
    """What a graph gives for each; overwritten by the next."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        path.write_bytes(model.SerializeToString())
        session: Session = runtime.load(path, threads=1)
        for tensors, points in feeds:
            for name, array in tensors.items():
                session.bind(name, array)
            yield session.run({"keypoints": points[None]})
        session.close()


if __name__ == "__main__":
    main()
