from __future__ import annotations

import asyncio

from telepresence.api import Receiver
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

    asyncio.run(asyncio.wait_for(run(), 60))
