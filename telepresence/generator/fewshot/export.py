"""The few-shot engine's folder from trained weights: graphs, golden vectors, discriminator, description."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import torch

from telepresence.generator.export import describe, export_graphs, write_golden
from telepresence.generator.fewshot.described import described, description
from telepresence.generator.fewshot.engine import REFERENCES, FewShotEncode, FewShotRender, sizes
from telepresence.generator.fewshot.network import FewShot
from telepresence.generator.fewshot.stored import JUDGE, weights_of_engine, write_judge
from telepresence.generator.fewshot.weights import read_judge, read_weights
from telepresence.runtime.info import read_info

NAME: Final = "fewshot"
MAX_ENGINE_BYTES: Final = 16 * 1024 * 1024  # of the whole folder, as it is shipped
DESCRIPTION: Final = "Few-shot adversarial (Zakharov et al. 2019): draws every pixel from landmarks and one vector."


def export_fewshot(folder: Path, weights: Path | None, *, limit: int = MAX_ENGINE_BYTES) -> str:
    """Write the engine, from trained weights or, without them, again from those in its graphs.

    Args:
        folder: of the engine.
        weights: `weights.pt` of a training run, which has the discriminator too.
        limit: bytes of the whole folder; the discriminator is left out rather than exceed them.

    Returns:
        A line about what was written.

    Raises:
        InputError: the weights cannot be used.
        EngineError: without weights, the folder is no few-shot engine's.
    """
    network = read_weights(weights) if weights else weights_of_engine(folder)
    _tell_apart(network)
    config, judge = network.config, folder / JUDGE
    keep = not weights and judge.is_file() and described(folder) == config and JUDGE in read_info(folder).files
    for size in sizes(config.size):
        encode, render = FewShotEncode(network, size).eval(), FewShotRender(network, size).eval()
        export_graphs(folder, size, REFERENCES, encode, render)
        write_golden(folder, size, REFERENCES, encode, render)
    if weights:
        write_judge(judge, read_judge(weights), matched=_matched(weights))
        keep = True
    total = sum(path.stat().st_size for path in folder.iterdir())
    if keep and total > limit:
        judge.unlink()
        keep = False
    more = (JUDGE,) if keep else ()
    tables = description(config)
    describe(folder, folder.name, REFERENCES, DESCRIPTION, sizes=sizes(config.size), more=more, tables=tables)
    without = "" if keep else "; without the discriminator: fine-tuning has no adversarial part"
    return f"{folder}: {sum(path.stat().st_size for path in folder.iterdir()) / 2**20:.1f} MiB{without}"


def _tell_apart(network: FewShot) -> None:
    """Move one value of each tensor that equals another by the least that float16 can.

    The exporter merges equal tensors, and the weights of the second could not be found again by their name. Biases of
    two convolutions whose results are added learn the same, so this happens.
    """
    seen: set[tuple[tuple[int, ...], bytes]] = set()
    for value in network.state_dict().values():
        half = value.numpy().astype(np.float16)
        while (key := (half.shape, half.tobytes())) in seen:
            half.flat[0] = np.nextafter(half.flat[0], np.float16(np.inf))
        seen.add(key)
        value.copy_(torch.from_numpy(half.astype(np.float32)))


def _matched(weights: Path) -> bool:
    """Whether training pulled embeddings to the discriminator's columns: then an embedding may stand for a column."""
    return bool(torch.load(weights, map_location="cpu", weights_only=True).get("matched", False))
