"""Avatars between two participants: who asks, who sends, what is refused."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from telepresence.errors import TransferError
from telepresence.rtc.cache import AvatarCache
from telepresence.rtc.exchange import AvatarExchange
from telepresence.rtc.hello import Control, Want
from telepresence.rtc.transfer import Data, offer_of, parse_message
from tests.rtc.pair import until

FILE = bytes(range(256)) * 40


class Wire:
    """A connection that keeps what would be sent."""

    open = True

    def __init__(self) -> None:
        self.control: list[Control] = []
        self.avatar: list[bytes] = []

    def send_control(self, message: Control) -> None:
        self.control.append(message)

    def send_avatar(self, message: bytes) -> None:
        self.avatar.append(message)


def exchange(
    folder: Path, data: bytes | None = None, wanted: bool = True, previews: list[bytes] | None = None
) -> tuple[AvatarExchange, list[bytes]]:
    got: list[bytes] = []
    shown = previews if previews is not None else []
    take, peek = (lambda sha256, data: got.append(data)), (lambda sha256, data: shown.append(data))
    return AvatarExchange(data, wanted, AvatarCache(folder), take, peek), got


async def offered(ours: AvatarExchange, wire: Wire, data: bytes = FILE) -> None:
    """Their hello, and until it is known whether their avatar is here already."""
    ours.on_offer(offer_of(data), wire)
    if ours._looking:
        await ours._looking


def in_loop(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


def pieces(data: bytes) -> list[Data]:
    return [Data(n, data[n : n + 1000]) for n in range(0, len(data), 1000)]


def test_an_offer_is_asked_for_once_and_again_only_after_a_rebuild(tmp_path: Path) -> None:
    async def test() -> None:
        ours, got = exchange(tmp_path)
        wire = Wire()
        await offered(ours, wire)
        assert wire.control == [Want(offer_of(FILE).sha256, 0)]
        for piece in pieces(FILE)[:3]:
            ours.on_message(piece, 0, wire)
        rebuilt = Wire()
        await offered(ours, rebuilt)
        assert rebuilt.control == [Want(offer_of(FILE).sha256, 3000)]
        assert ours.receiving == pytest.approx(3000 / len(FILE))
        for piece in pieces(FILE)[3:]:
            ours.on_message(piece, 0, rebuilt)
        assert got == [FILE]
        assert ours.receiving is None
        third = Wire()
        await offered(ours, third)
        assert third.control == []

    in_loop(test)


def test_wrong_bytes_are_asked_for_once_more_and_then_given_up(tmp_path: Path) -> None:
    async def test() -> None:
        ours, got = exchange(tmp_path)
        wire = Wire()
        wrong = FILE[:-1] + b"x"
        await offered(ours, wire)
        for attempt in (1, 2):
            *most, last = pieces(wrong)
            for piece in most:
                ours.on_message(piece, 0, wire)
            with pytest.raises(TransferError, match="hash"):
                ours.on_message(last, 0, wire)
            assert len(wire.control) == min(attempt + 1, 2)
        with pytest.raises(TransferError, match="nobody asked"):
            ours.on_message(pieces(wrong)[0], 0, wire)
        assert got == []

    in_loop(test)
    assert not list(tmp_path.iterdir())


def test_an_edge_that_draws_nothing_asks_for_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        ours, _ = exchange(tmp_path, wanted=False)
        wire = Wire()
        await offered(ours, wire)
        assert wire.control == []
        with pytest.raises(TransferError):
            ours.on_message(pieces(FILE)[0], 0, wire)

    in_loop(test)


LARGE = FILE * 16  # beyond the size at which its beginning is shown


def test_the_beginning_of_what_turns_out_to_be_wrong_is_taken_back(tmp_path: Path) -> None:
    async def test() -> None:
        previews: list[bytes] = []
        ours, got = exchange(tmp_path, previews=previews)
        wire = Wire()
        await offered(ours, wire, LARGE)
        wrong = pieces(LARGE[:-1] + b"x")
        for _ in range(2):
            assert b"" not in previews
            for piece in wrong[:-1]:
                ours.on_message(piece, 0, wire)
            with pytest.raises(TransferError, match="hash"):
                ours.on_message(wrong[-1], 0, wire)
        assert LARGE.startswith(previews[0])
        assert previews[-1] == b""
        assert got == []

    in_loop(test)


def test_the_beginning_of_what_stops_coming_is_taken_back_and_the_whole_shown_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("telepresence.rtc.exchange.STALL_S", 0.05)

    async def test() -> None:
        previews: list[bytes] = []
        ours, got = exchange(tmp_path, previews=previews)
        wire = Wire()
        await offered(ours, wire, LARGE)
        for piece in pieces(LARGE)[:60]:
            ours.on_message(piece, 0, wire)
        await until(lambda: b"" in previews)
        for piece in pieces(LARGE)[60:]:
            ours.on_message(piece, 0, wire)
        assert got == [LARGE]
        seen = len(previews)
        await asyncio.sleep(0.1)
        assert len(previews) == seen

    in_loop(test)


def test_the_cache_is_read_outside_the_event_loop(tmp_path: Path) -> None:
    threads: list[threading.Thread] = []

    class Slow(AvatarCache):
        def get(self, sha256: str) -> bytes | None:
            threads.append(threading.current_thread())
            return super().get(sha256)

    cache = Slow(tmp_path)
    cache.put(FILE)

    async def test() -> None:
        got: list[bytes] = []
        wire = Wire()
        take = lambda sha256, data: got.append(data)  # noqa: E731
        await offered(AvatarExchange(None, True, cache, take, take), wire)
        assert got == [FILE]
        assert wire.control == []

    in_loop(test)
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


def test_a_connection_that_is_gone_before_the_cache_is_read_is_asked_for_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        ours, _ = exchange(tmp_path)
        first, second = Wire(), Wire()
        ours.on_offer(offer_of(FILE), first)
        overtaken = ours._looking
        assert overtaken is not None
        await offered(ours, second)
        await overtaken
        assert first.control == []
        assert second.control == [Want(offer_of(FILE).sha256, 0)]
        closed = Wire()
        closed.open = False
        await offered(ours, closed)
        assert closed.control == []

    in_loop(test)


def test_an_offer_again_is_nothing_new_and_another_one_at_once_is_refused(tmp_path: Path) -> None:
    async def test() -> None:
        ours, _ = exchange(tmp_path)
        wire = Wire()
        for _ in range(3):
            await offered(ours, wire)
        with pytest.raises(TransferError, match="another avatar"):
            ours.on_offer(offer_of(LARGE), wire)
        assert wire.control == [Want(offer_of(FILE).sha256, 0)]
        await offered(ours, Wire(), LARGE)  # anew with a new connection

    in_loop(test)


def test_ours_is_sent_from_where_it_is_wanted_and_only_ours(tmp_path: Path) -> None:
    ours, _ = exchange(tmp_path, FILE)
    wire = Wire()
    ours.on_want(Want("0" * 64, 0), offer_of(FILE))
    ours.pump(0, wire)
    assert not wire.avatar
    ours.on_want(Want(offer_of(FILE).sha256, 9_000), offer_of(FILE))
    ours.pump(0, wire)
    parsed = [parse_message(message) for message in wire.avatar]
    assert b"".join(p.chunk for p in parsed if isinstance(p, Data)) == FILE[9_000:]
    assert ours.sending
    with pytest.raises(TransferError):
        ours.on_want(Want(offer_of(FILE).sha256, len(FILE) + 1), offer_of(FILE))


def test_acknowledgements_for_nothing_are_refused(tmp_path: Path) -> None:
    ours, _ = exchange(tmp_path, FILE)
    with pytest.raises(TransferError):
        ours.on_message(parse_message(b"\x02\x00\x00\x00\x01"), 0, Wire())
