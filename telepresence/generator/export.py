"""Write an engine's folder: graphs, description and golden vectors.

python -m telepresence.generator.export prior
python -m telepresence.generator.export live --weights out/train/live/weights.pt
python -m telepresence.generator.export fewshot --weights out/train/fewshot/weights.pt
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from telepresence import __version__
from telepresence.face.basis import default_basis
from telepresence.resources import shipped

OPSET: Final = 18  # the lowest that torch's exporter writes; TensorRT 10 and 11, OpenVINO and onnxruntime read it
SIZES: Final = (256, 512)
LIVE_SIZES: Final = (128, *SIZES)  # 128 for the small pictures of a call with several participants
WEIGHTS: Final = ("encoder.", "network.")  # how the names of learned weights begin in a graph
HALF: Final = ".half"  # ends their names in the file


def main() -> None:
    """Export one engine into `engines/NAME`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=("fewshot", "live", "prior"))
    parser.add_argument("--out", type=Path, help="folder of engines; default: the checkout's")
    parser.add_argument("--weights", type=Path, help="what training wrote; default: those that the engine has already")
    options = parser.parse_args()
    folder = (options.out or shipped("engines")) / options.engine
    folder.mkdir(parents=True, exist_ok=True)
    if options.engine == "prior":
        export_prior(folder)
    elif options.engine == "live":
        export_live(folder, options.weights)
    else:
        from telepresence.generator.fewshot.export import export_fewshot

        print(export_fewshot(folder, options.weights))


def export_prior(folder: Path) -> None:
    """The analytic engine."""
    from telepresence.generator.prior import REFERENCES, PriorEncode, PriorRender

    for size in SIZES:
        encode, render = PriorEncode().eval(), PriorRender(size).eval()
        export_graphs(folder, size, REFERENCES, encode, render)
        write_golden(folder, size, REFERENCES, encode, render)
    description = "Analytic: a z-buffered face mesh with rigid rings warps the two nearest references."
    describe(folder, "prior", REFERENCES, f"{description} No learned weights.")


def export_live(folder: Path, weights: Path | None) -> None:
    """The learned engine, from trained weights or, without them, again from those in its graphs."""
    from telepresence.generator.live import REFERENCES, LiveEncode, LiveRender
    from telepresence.generator.quantise import quantise_engine
    from telepresence.generator.weights import read_weights, weights_of_engine

    network = read_weights(weights) if weights else weights_of_engine(folder)
    for size in LIVE_SIZES:
        encode, render = LiveEncode(network, size).eval(), LiveRender(network, size).eval()
        export_graphs(folder, size, REFERENCES, encode, render)
        write_golden(folder, size, REFERENCES, encode, render)
    description = "Learned: a small network corrects what the mesh looks up in two references at every pixel."
    describe(folder, "live", REFERENCES, description, sizes=LIVE_SIZES)
    quantise_engine(folder)


def export_graphs(folder: Path, size: int, references: int, encode: nn.Module, render: nn.Module) -> None:
    """Write encode-SIZE.onnx and render-SIZE.onnx; feature names are those of `encode.outputs`."""
    keypoints = 0.45 * torch.from_numpy(default_basis().mean)[None]
    picture = torch.zeros(1, size, size, 3, dtype=torch.uint8)
    matte = torch.zeros(1, size, size, 1, dtype=torch.uint8)
    names: Any = encode.outputs
    with torch.no_grad():
        features: Sequence[Tensor] = encode(picture, matte, keypoints)
    stacked = [f.repeat(references, *[1] * (f.dim() - 1)) for f in features]
    inputs = ("picture", "matte", "keypoints")
    _export(encode, (picture, matte, keypoints), folder / f"encode-{size}.onnx", inputs, names)
    _export(
        render,
        (keypoints, *stacked, picture),
        folder / f"render-{size}.onnx",
        ("keypoints", *names, "background"),
        ("picture",),
    )


def describe(
    folder: Path,
    name: str,
    references: int,
    description: str,
    *,
    sizes: Sequence[int] = SIZES,
    more: Sequence[str] = (),
    tables: str = "",
) -> None:
    """Write engine.toml with the hash of every graph.

    Args:
        folder: of the engine, with its graphs.
        name: of the engine.
        references: K.
        description: one line.
        sizes: sides of the pictures that it draws, pixels.
        more: further files of the engine, whose hashes are written too.
        tables: TOML for the end.
    """
    graphs = [f"{kind}-{size}.onnx" for size in sizes for kind in ("encode", "render")]
    hashes = "\n".join(f'"{n}" = "{hashlib.sha256((folder / n).read_bytes()).hexdigest()}"' for n in (*graphs, *more))
    (folder / "engine.toml").write_text(
        f'name = "{name}"\nversion = "{__version__}"\nmotion_schema = {default_basis().schema}\n'
        f"references = {references}\nsizes = {list(sizes)}\n"
        f'description = "{description}"\nlicence = "Apache-2.0"\n\n[files]\n{hashes}\n{tables}'
    )


def write_golden(folder: Path, size: int, references: int, encode: nn.Module, render: nn.Module) -> None:
    """Write golden-SIZE.npz: what torch itself, which no runtime is built on, draws of inputs made by rule."""
    from telepresence.runtime import golden

    given = {name: torch.from_numpy(array) for name, array in golden.inputs(size, references).items()}
    with torch.no_grad():
        encoded = [
            encode(p[None], m[None, ..., None], k[None])
            for p, m, k in zip(given["picture"], given["matte"], given["reference_keypoints"], strict=True)
        ]
        filled = encoded + encoded[:1] * (references - len(encoded))
        features = [torch.cat(column) for column in zip(*filled, strict=True)]
        pictures = [render(k[None], *features, given["background"][None]) for k in given["keypoints"]]
    arrays = {name: tensor.numpy() for name, tensor in given.items()}
    golden.save(folder / f"golden-{size}.npz", arrays, torch.cat(pictures).numpy())


def _export(
    module: nn.Module, inputs: Sequence[Tensor], path: Path, names: Sequence[str], outputs: Sequence[str]
) -> None:
    import onnx

    program: Any = torch.onnx.export(
        module.eval(),
        tuple(inputs),
        input_names=list(names),
        output_names=list(outputs),
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    model = program.model_proto
    # Source lines and tensor notes of the machine that exported: of no use to others, and they change the hash.
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    del model.graph.value_info[:]
    del model.metadata_props[:]
    for value in [*model.graph.input, *model.graph.output]:
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    _halve(model.graph)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _halve(graph: Any) -> None:
    """Keep learned weights as float16, cast to float32 when a runtime loads them: half the bytes, the same pictures.

    Training already rounds the weights it hands over, so nothing changes. Geometry stays in float32.
    """
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name.startswith(WEIGHTS):
            values, name = numpy_helper.to_array(tensor), tensor.name
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}{HALF}"))
            casts.append(helper.make_node("Cast", [tensor.name], [name], f"cast_{name}", to=TensorProto.FLOAT))
    for node in reversed(casts):
        graph.node.insert(0, node)


if __name__ == "__main__":
    main()
