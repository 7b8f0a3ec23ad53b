"""`bench headset`: both eyes' pictures, their disparity, the stream to a client, the page, parallax as it is seen,
and what a GPU would have to do.

Every figure of docs/headset.md comes from here. The sample avatar, moved by the sample motion, on this machine alone.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

from telepresence.bench.headset_eyes import eyes
from telepresence.bench.headset_scene import HeadsetConfig, Report, own_data_folder
from telepresence.bench.headset_stream import motion, stream
from telepresence.errors import TelepresenceError

__all__ = ["HeadsetConfig", "run_headset", "write"]

Say = Callable[[str], None]


def run_headset(config: HeadsetConfig, say: Say) -> Report:
    """Everything, in about two minutes.

    Raises:
        TelepresenceError: the engine cannot be loaded, or a port not be had.
    """
    report: Report = {"what": "headset", "engine": config.engine, "size": config.size, "problems": []}
    say("both eyes")
    report |= eyes(config)
    say("a client of the stream")
    with own_data_folder():
        for guests in (1, 3):
            report[f"stream_{guests}"] = asyncio.run(stream(config, guests))
        report["stream_motion"] = asyncio.run(motion(config))
        if config.page:
            say("the page, in an emulated headset")
            try:
                report |= asyncio.run(_page(config))
            except TelepresenceError as error:
                report["problems"].append(f"the page: {error}")
    return report


async def _page(config: HeadsetConfig) -> Report:
    from telepresence.bench.headset_page import measure_page
    from telepresence.bench.headset_parallax import measure_parallax

    pages = {f"page_{guests}": await measure_page(config, guests) for guests in (1, 3)}
    return pages | {"parallax": await measure_parallax(config)}


def write(report: Report, path: Path) -> None:
    """Keep the figures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n")
