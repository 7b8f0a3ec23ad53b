from __future__ import annotations

import asyncio

import numpy as np

from telepresence.api import Receiver
from telepresence.sinks.label import label
from tests.rtc.call import edge, hub


def test_pictures_of_a_sample_edge_arrive() -> None:
    async def run() -> None:
        async with hub() as url, edge(url, camera="sample", sink="null", name="Eileen"):
            async with Receiver(url, engine="prior", size=256) as receiver:
                seen = 0
                async for picture in receiver:
                    assert picture.rgb.shape == (256, 256, 3)
                    seen += 1
                    if seen == 3:
                        break
            assert picture.name == "Eileen"
            assert picture.label == "sample avatar"
            patch = label("sample avatar", 256)
            height, width = patch.keep.shape[:2]
            bare = np.zeros((256, 256, 3), np.uint8)
            patch.draw(bare)
            there = bare[patch.top : patch.top + height, patch.left : patch.left + width] > 200
            drawn = picture.rgb[patch.top : patch.top + height, patch.left : patch.left + width]
            assert (drawn[there] > 200).mean() > 0.9

    asyncio.run(asyncio.wait_for(run(), 60))
