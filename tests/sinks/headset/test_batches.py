"""An engine that gains by it draws everybody's eyes in one call."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from telepresence.errors import EngineError
from telepresence.runtime.engine import Engine, open_engine
from telepresence.sinks.headset import protocol, rehearsal
from tests.sinks.headset.test_stream import connect, eyes, hello, until


class Batching(Engine):
    """A real engine that says that it gains by batches, and notes them."""

    calls: list[int]
    fails = False

    @property
    def batches(self) -> bool:
        return True

    def render_many(self, each: Sequence[Any]) -> list[Any]:
        self.calls.append(len(each))
        if self.fails:
            raise EngineError("no memory for so many")
        return super().render_many(each)


def batching(fails: bool) -> Any:
    def opened(*arguments: Any, **options: Any) -> Engine:
        engine = open_engine(*arguments, **options)
        engine.__class__ = Batching
        assert isinstance(engine, Batching)
        engine.calls, engine.fails = [], fails
        return engine

    return opened


@pytest.mark.parametrize("fails", [False, True])
def test_three_avatars_are_six_pictures_of_one_call(
    fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(rehearsal, "open_engine", batching(fails))

    async def run() -> None:
        async with rehearsal.show(guests=3) as sink, connect(sink) as socket:
            await socket.send(hello(sink))
            assert sink._renderer is not None
            engine = sink._renderer._engines.large
            assert isinstance(engine, Batching)
            seen: dict[int, Any] = {}
            while len(seen) < 3 or 6 not in engine.calls:  # not all avatars are ready at once
                body = await until(socket, protocol.PICTURE)
                seen[body[0]] = eyes(body)
            for left, right, mattes in seen.values():
                assert np.abs(left.astype(int) - right).mean() > 0.5
                assert mattes.max() > 250

    asyncio.run(asyncio.wait_for(run(), 120))
