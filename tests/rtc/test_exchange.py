"""Avatars between two participants: who asks, who sends, what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from telepresence.errors import TransferError
from telepresence.rtc.cache import AvatarCache
from telepresence.rtc.exchange import AvatarExchange
from telepresence.rtc.hello import Control, Want
from telepresence.rtc.transfer import Data, offer_of, parse_message

FILE = bytes(range(256)) * 40


class Wire:
    """Keeps what would be sent."""

    def __init__(self) -> None:
        self.control: list[Control] = []
        self.avatar: list[bytes] = []

    def send_control(self, message: Control) -> None:
        self.control.append(message)

    def send_avatar(self, message: bytes) -> None:
        self.avatar.append(message)


def exchange(folder: Path, data: bytes | None = None, wanted: bool = True) -> tuple[AvatarExchange, list[bytes]]:
    got: list[bytes] = []
    return AvatarExchange(data, wanted, AvatarCache(folder), got.append, lambda part: None), got


def in_loop(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


def pieces(data: bytes) -> list[Data]:
    return [Data(n, data[n : n + 1000]) for n in range(0, len(data), 1000)]


def test_an_offer_is_asked_for_once_and_again_only_after_a_rebuild(tmp_path: Path) -> None:
    async def test() -> None:
        ours, got = exchange(tmp_path)
        wire = Wire()
        ours.on_offer(offer_of(FILE), wire)
        assert wire.control == [Want(offer_of(FILE).sha256, 0)]
        for piece in pieces(FILE)[:3]:
            ours.on_message(piece, 0, wire)
        rebuilt = Wire()
        ours.on_offer(offer_of(FILE), rebuilt)
        assert rebuilt.control == [Want(offer_of(FILE).sha256, 3000)]
        assert ours.receiving == pytest.approx(3000 / len(FILE))
        for piece in pieces(FILE)[3:]:
            ours.on_message(piece, 0, rebuilt)
        assert got == [FILE]
        assert ours.receiving is None
        third = Wire()
        ours.on_offer(offer_of(FILE), third)
        assert third.control == []

    in_loop(test)


def test_wrong_bytes_are_asked_for_once_more_and_then_given_up(tmp_path: Path) -> None:
    async def test() -> None:
        ours, got = exchange(tmp_path)
        wire = Wire()
        wrong = FILE[:-1] + b"x"
        ours.on_offer(offer_of(FILE), wire)
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
    ours, _ = exchange(tmp_path, wanted=False)
    wire = Wire()
    ours.on_offer(offer_of(FILE), wire)
    assert wire.control == []
    with pytest.raises(TransferError):
        ours.on_message(pieces(FILE)[0], 0, wire)


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
