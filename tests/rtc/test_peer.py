"""Peers over real connections: what arrives, what is refused, what is rebuilt."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from telepresence.hub.messages import MAX_SESSION, Payload
from telepresence.rtc import attempt, channels, hello, retrying
from telepresence.rtc.cache import AvatarCache
from telepresence.rtc.channels import MAX_VIOLATIONS
from telepresence.rtc.hello import Want
from telepresence.rtc.link import LinkConditions, impair
from telepresence.rtc.monotonic import now_us
from telepresence.rtc.peer import Ours, Peer, State
from telepresence.rtc.transfer import offer_of
from telepresence.wire.codec import MotionDecoder
from telepresence.wire.thrift import Rate
from tests.rtc.pair import KEY, Pair, Seen, avatar_file, packet, pair, run, until


def test_motion_arrives_and_ages_are_comparable(tmp_path: Path) -> None:
    async def test() -> None:
        async with pair(tmp_path) as both:
            await both.connected()
            await until(lambda: both.b.clock.known)
            sent = packet(1, now_us())
            assert both.a.send_motion(sent)
            await until(lambda: bool(both.seen_b.motion))
            received, arrived_us = both.seen_b.motion[0]
            assert received.capture_us == sent.capture_us  # the first of a connection travels as it is
            assert abs(both.b.clock.offset_us) <= both.b.clock.rtt_us / 2 + 1  # one machine, one clock
            assert arrived_us >= sent.capture_us
            assert both.a.counters.sent == 1
            assert both.b.counters.payload_received_bytes > 40
            sent_bytes, received_bytes = both.a.read_wire()
            assert sent_bytes > both.a.counters.payload_sent_bytes + 28
            assert received_bytes > 0

    run(test)


def test_late_packets_are_dropped_and_counted(tmp_path: Path) -> None:
    async def test() -> None:
        async with pair(tmp_path) as both:
            await both.connected()
            for sequence in (1, 5, 3, 5):
                both.b.on_motion(packet(sequence, sequence * 1000), now_us())
            assert [p.sequence for p, _ in both.seen_b.motion] == [1, 5]
            assert both.b.dropped == 3 + 1  # 2, 3, 4 were missing; then 3 came late; the second 5 is a repeat

    run(test)


def test_motion_refers_to_what_was_acknowledged(tmp_path: Path) -> None:
    async def test() -> None:
        async with pair(tmp_path) as both:
            await both.connected()
            sizes = []
            for n in range(20):
                before = both.a.counters.payload_sent_bytes
                await until(lambda n=n: both.a.send_motion(packet(capture_us=n * 33_000)))
                sizes.append(both.a.counters.payload_sent_bytes - before)
                await until(lambda n=n: len(both.seen_b.motion) > n)
            assert min(sizes[10:]) < 12 < sizes[0]  # differences, and the first one whole
            assert both.b.counters.missing == both.b.counters.violations == both.a.counters.violations == 0
            motion = both.seen_b.motion[-1][0].motion
            np.testing.assert_allclose(motion.pose.rotation, packet().motion.pose.rotation, atol=0.003)

    run(test)


def test_unless_told_otherwise_a_still_head_sends_next_to_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        async with pair(tmp_path, Ours(None, cache=AvatarCache(tmp_path / "a"))) as both:
            await both.connected()
            for n in range(30):
                await until(lambda n=n: both.a.send_motion(packet(capture_us=n * 33_000)))
            assert both.a.counters.left_out > 15
            assert both.a.counters.sent + both.a.counters.left_out == 30  # one by one
            await until(lambda: bool(both.seen_b.motion) and both.seen_b.motion[-1][0].still)

    run(test)


def test_thrifty_motion_comes_in_pairs_and_not_at_all_while_the_head_is_still(tmp_path: Path) -> None:
    async def test() -> None:
        ours = Ours(None, cache=AvatarCache(tmp_path / "a"), rate=Rate.THRIFTY)
        async with pair(tmp_path, ours) as both:
            await both.connected()
            for n in range(30):  # turns, then keeps still
                turned = packet(capture_us=n * 33_000)
                pose = replace(turned.motion.pose, rotation=np.array([0, min(n, 12) * 0.05, 0], np.float32))
                moved = replace(turned, motion=replace(turned.motion, pose=pose))
                await until(lambda moved=moved: both.a.send_motion(moved))
            await until(lambda: bool(both.seen_b.motion) and both.seen_b.motion[-1][0].still)
            counters = both.a.counters
            assert counters.left_out > 8
            assert counters.sent + counters.left_out < 30  # the others went two by two
            assert len(both.seen_b.motion) + counters.left_out >= 29
            turn = both.seen_b.motion[-1][0].motion.pose.rotation[1]
            assert turn == pytest.approx(0.6, abs=0.01)  # where the head has come to rest

    run(test)


def test_a_missing_reference_is_no_violation_and_answered(tmp_path: Path) -> None:
    async def test() -> None:
        async with pair(tmp_path) as both:
            await both.connected()
            a, b = both.a.session, both.b.session
            assert a is not None
            assert b is not None
            await until(lambda: both.a.send_motion(packet(capture_us=1_000)))
            await until(lambda: bool(both.seen_b.motion))
            await until(lambda: any(held.known for held in a.channels._encoder._sent.values()))
            b.channels._decoder = MotionDecoder()  # has forgotten everything
            await until(lambda: both.a.send_motion(packet(capture_us=34_000)))
            await until(lambda: both.b.counters.missing == 1)
            await until(lambda: not any(held.known for held in a.channels._encoder._sent.values()))
            await until(lambda: both.a.send_motion(packet(capture_us=67_000)))
            await until(lambda: len(both.seen_b.motion) == 2)
            assert both.b.counters.violations == 0

    run(test)


def test_on_a_bad_link_what_arrives_is_usable_and_losses_are_repaired(tmp_path: Path) -> None:
    async def test() -> None:
        async with pair(tmp_path) as both:
            await both.connected()
            a, b = both.a.session, both.b.session
            assert a is not None
            assert b is not None
            (there,) = impair(a._pc, LinkConditions(10_000, jitter_us=5_000, loss=0.2, reorder=0.05, duplicate=0.05), 3)
            (back,) = impair(b._pc, LinkConditions(10_000, jitter_us=5_000, loss=0.2), 4)
            for _ in range(180):
                both.a.send_motion(packet(capture_us=now_us()))
                await asyncio.sleep(0.015)
            await asyncio.sleep(0.1)
            there.remove()
            back.remove()
            sent = both.a.counters.sent
            assert both.b.counters.violations == both.a.counters.violations == both.b.counters.missing == 0
            assert a.channels._encoder.repeating
            assert both.b.counters.received < 0.95 * sent
            assert len(both.seen_b.motion) > 0.85 * sent  # some of the lost ones came with the next
            captured = [p.capture_us for p, _ in both.seen_b.motion]
            assert captured == sorted(set(captured))

    run(test)


def test_a_send_is_skipped_while_the_transport_holds_one(tmp_path: Path) -> None:
    async def test() -> None:
        async with pair(tmp_path) as both:
            await both.connected()
            assert both.a.send_motion(packet(1))
            assert not both.a.send_motion(packet(2))
            assert (both.a.counters.sent, both.a.counters.skipped) == (1, 1)

    run(test)


def test_avatar_is_fetched_verified_and_cached_while_motion_flows(tmp_path: Path) -> None:
    data = avatar_file(400_000)
    cache = AvatarCache(tmp_path / "b")

    async def test() -> None:
        async with pair(
            tmp_path, Ours(data, cache=AvatarCache(tmp_path / "a"), rate=Rate.EVERY, key=KEY), Ours(None, cache=cache)
        ) as both:
            await both.connected()
            sequence = 0
            while not any(whole for _, whole in both.seen_b.avatars):
                sequence += 1
                both.a.send_motion(packet(sequence, now_us()))
                await asyncio.sleep(0.01)
            assert both.seen_b.avatars[-1] == (data, True)
            assert [whole for _, whole in both.seen_b.avatars[:-1]] == [False] * 3  # previews of the first reference
            assert all(data.startswith(part) for part, _ in both.seen_b.avatars)
            assert len(both.seen_b.motion) >= 0.8 * sequence
            assert not both.seen_a.avatars
        await until(lambda: cache.get(offer_of(data).sha256) == data)
        async with pair(
            tmp_path, Ours(data, cache=AvatarCache(tmp_path / "a"), rate=Rate.EVERY, key=KEY), Ours(None, cache=cache)
        ) as again:
            await again.connected()
            await until(lambda: bool(again.seen_b.avatars))
            assert again.seen_b.avatars == [(data, True)]
            assert again.b.exchange.receiving is None

    run(test)


def test_silence_leads_to_a_new_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "HEARTBEAT_S", 0.2)

    async def test() -> None:
        ours = Ours(avatar_file(9_000), cache=AvatarCache(tmp_path / "a"), key=KEY)
        async with pair(tmp_path, ours) as both:
            await both.connected()
            await until(lambda: bool(both.seen_b.avatars))
            first = both.relayed[0].session
            silence(both)
            await until(lambda: both.a.state is not State.CONNECTED)
            await both.connected()
            assert both.a.rebuilds == 1
            assert both.a.session is not None
            assert both.b.session is not None
            assert both.a.session.number == both.b.session.number > first
            both.seen_b.motion.clear()
            await until(lambda: both.b.proving.admits)  # proved anew
            assert both.a.send_motion(packet(1))
            await until(lambda: bool(both.seen_b.motion))
            assert len(both.seen_b.avatars) == 1  # known from before
            stale = next(p for p in both.relayed if p.kind == "answer" and p.session == first)
            both.a.on_payload(stale)
            await asyncio.sleep(0.05)
            assert both.a.state is State.CONNECTED

    run(test)


def test_silence_of_one_direction_is_noticed_by_the_answerer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "HEARTBEAT_S", 0.2)

    async def test() -> None:
        async with pair(tmp_path) as both:
            await both.connected()
            first = both.relayed[0].session
            both.b.on_silence()  # as after three heartbeats without a sign of life at b alone
            await until(lambda: both.a.session is not None and both.a.session.number > first)
            await both.connected()
            assert Payload("bye", first) in both.relayed
            assert both.a.rebuilds == both.b.rebuilds == 1

    run(test)


def test_a_new_offer_ends_the_connection_before_it_at_once(tmp_path: Path) -> None:
    async def test() -> None:
        async with pair(tmp_path) as both:
            await both.connected()
            offer = both.relayed[0]
            both.b.on_payload(Payload("offer", offer.session + 1, offer.sdp))  # which nobody will ever connect to
            assert both.b.state is State.LOST
            assert both.b.rebuilds == 1
            assert not both.b.send_motion(packet(1))
            await until(
                lambda: Payload("answer", offer.session + 1) in [Payload(p.kind, p.session) for p in both.relayed]
            )
            assert both.b.state is State.LOST
            assert not both.b.send_motion(packet(2))
            assert both.b.counters.skipped == 0

    run(test)


def test_nothing_counts_before_hello(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with pair(tmp_path) as both:
            monkeypatch.setattr(both.a, "on_open", lambda: None)
            await until(lambda: both.a.state is State.CONNECTED)  # b greets
            assert both.a.session is not None
            channels = both.a.session.channels
            await until(lambda: channels.send_motion(packet(1)))  # the first ping may be in its way
            await until(lambda: both.b.counters.received == 1)
            channels.send_control(Want("0" * 64, 0))
            await until(lambda: both.b.counters.violations == 1)
            assert both.b.state is State.CONNECTING
            assert not both.seen_b.motion
            assert not both.b.send_motion(packet(1))
            assert (both.b.counters.sent, both.b.counters.skipped, both.b.dropped) == (0, 0, 0)

    run(test)


def test_motion_is_of_the_highest_common_schema(tmp_path: Path) -> None:
    async def test() -> None:
        ours = [Ours(None, schemas=schemas, cache=AvatarCache(tmp_path)) for schemas in ((1, 7, 9), (9, 7, 8))]
        async with pair(tmp_path, *ours) as both:
            await both.connected()
            assert both.a.schema == both.b.schema == 9
            assert not both.a.send_motion(packet(1))  # of schema 1
            assert both.a.session is not None
            assert both.a.session.channels.send_motion(packet(1))
            await until(lambda: both.b.counters.violations == 1)
            assert not both.seen_b.motion

    run(test)


def test_both_may_offer_at_once(tmp_path: Path) -> None:
    async def test() -> None:
        async with pair(tmp_path) as both:
            both.b.start()
            await both.connected()
            await until(lambda: len(both.relayed) >= 3)
            assert both.a.session is not None
            assert both.b.session is not None
            assert both.a.session.number == both.b.session.number

    run(test)


@pytest.mark.parametrize("behind_us", [0, 1 << 50])
def test_a_participant_who_starts_anew_is_not_taken_for_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behind_us: int
) -> None:
    monkeypatch.setattr(retrying, "RETRY_S", (0.02, 0.1))
    monkeypatch.setattr(channels, "HEARTBEAT_S", 0.1)

    async def test() -> None:
        async with pair(tmp_path) as both:
            await both.connected()
            silence(both)
            monkeypatch.setattr(attempt, "_EPOCH_US", attempt._EPOCH_US - behind_us)  # a clock behind
            fresh = both.restart_a()
            fresh.start()
            await until(lambda: both.b.state is State.LOST)
            await both.connected()
            assert both.b.rebuilds == 1

    run(test)


def test_a_bye_makes_whoever_waits_offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One side has forgotten the other and waits for its offer, the other waits for one too."""
    monkeypatch.setattr(retrying, "RETRY_S", (0.02, 0.1))

    async def test() -> None:
        async with pair(tmp_path) as both:
            await both.connected()
            both.restart_a()
            assert both.b.session is not None
            both.b.session.lost.set()
            await until(lambda: both.b.state is State.LOST)
            await both.connected()

    run(test)


def test_a_bye_is_noticed_while_an_answer_is_waited_for(tmp_path: Path) -> None:
    relayed: list[Payload] = []

    async def relay(payload: Payload) -> bool:
        relayed.append(payload)
        return True

    async def test() -> None:
        asked = Peer("a", "b", Ours(None, cache=AvatarCache(tmp_path)), relay, Seen())
        asked.start()
        await until(lambda: len(relayed) == 1)
        asked.on_payload(Payload("bye", relayed[0].session - 1))  # of an older one
        asked.on_payload(Payload("bye", relayed[0].session))
        await until(lambda: len(relayed) == 2, attempt.ANSWER_S / 2)
        assert [p.kind for p in relayed] == ["offer", "offer"]
        assert relayed[1].session > relayed[0].session
        asked.close()
        asked.on_payload(Payload("offer", MAX_SESSION, relayed[0].sdp))  # after its end
        assert asked.session is None

    run(test)


def silence(both: Pair) -> None:
    """Cut the wire without telling anybody."""

    async def nothing(data: bytes) -> None:
        return

    for side in (both.a, both.b):
        assert side.session is not None
        side.session._sctp.transport.transport._send = nothing


HOSTILE: list[bytes | str] = [
    b"",
    b"\x00",
    b"\xff" * 1160,
    b"\x11\x01" + b"\xff" * 40,
    b"{" * 5_000,
    b'{"type":"hello"}',
    b'{"type":"hello","protocol":1,"schemas":[],"avatar":null}',
    b'{"type":"want","sha256":"' + b"0" * 64 + b'","start":-1}',
    b'{"type":"later"}',
    b"[" * 16_000,
    "text",
    b"\x01\x00\x00\x00\x05data",
    b"\x02\xff\xff\xff\xff",
    b"x" * 60_000,
]


@pytest.mark.parametrize("name", ["_motion", "_control", "_avatar"])
def test_hostile_bytes_on_every_channel_do_not_end_the_connection(tmp_path: Path, name: str) -> None:
    async def test() -> None:
        async with pair(tmp_path) as both:
            await both.connected()
            assert both.a.session is not None
            channel = getattr(both.a.session.channels, name)
            for message in HOSTILE:
                channel.send(message)
            await until(lambda: both.b.counters.violations >= 9)
            await asyncio.sleep(0.1)
            assert both.a.send_motion(packet(1))
            await until(lambda: bool(both.seen_b.motion))
            assert both.b.state is State.CONNECTED

    run(test)


def test_text_that_is_not_utf8_does_not_end_the_connection(tmp_path: Path) -> None:
    async def test() -> None:
        async with pair(tmp_path) as both:
            await both.connected()
            assert both.a.session is not None
            await both.a.session._sctp._send(0, 51, b"\xff\xfe\xfd")  # 51: WebRTC string
            await both.a.session._sctp._send(99, 50, b"\x03")  # 50: DCEP, to a channel nobody opened
            await until(lambda: both.b.counters.violations >= 1)
            assert both.a.send_motion(packet(1))
            await until(lambda: bool(both.seen_b.motion))

    run(test)


def test_a_message_without_end_is_thrown_away(tmp_path: Path) -> None:
    async def test() -> None:
        async with pair(tmp_path) as both:
            await both.connected()
            assert both.a.session is not None
            both.a.session.channels._avatar.send(b"x" * 250_000)
            await until(lambda: both.b.counters.violations >= 1)
            assert both.b.session is not None
            held = sum(len(s.reassembly) for s in both.b.session._sctp._inbound_streams.values())
            assert held <= 65
            await until(lambda: both.a.send_motion(packet(1)))  # the transport may still hold something
            await until(lambda: bool(both.seen_b.motion))

    run(test)


def test_a_flood_ends_with_the_peer_refused_for_good(tmp_path: Path) -> None:
    async def test() -> None:
        async with pair(tmp_path) as both:
            await both.connected()
            assert both.a.session is not None
            for _ in range(2 * MAX_VIOLATIONS):
                both.a.session.channels._motion.send(b"nonsense")
            await until(lambda: both.b.state is State.REFUSED)
            assert "protocol" in both.b.reason
            assert both.b.session is None or both.b.session.lost.is_set()
            offers = len(both.relayed)
            await asyncio.sleep(0.3)
            answers = [p for p in both.relayed[offers:] if p.kind == "answer"]
            assert not answers

    run(test)


@pytest.mark.parametrize(("theirs", "word"), [((7,), "schema"), ((1,), "protocol")])
def test_a_version_that_does_not_fit_is_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, theirs: tuple[int, ...], word: str
) -> None:
    async def test() -> None:
        if word == "protocol":
            monkeypatch.setattr(hello, "PROTOCOL", 2)
        async with pair(tmp_path, Ours(None, schemas=theirs, cache=AvatarCache(tmp_path / "a"))) as both:
            await until(lambda: both.a.state is State.REFUSED and both.b.state is State.REFUSED)
            assert word in both.a.reason
            assert word in both.b.reason
            assert "update" in both.a.reason + both.b.reason
            assert not both.a.send_motion(packet(1))

    run(test)


@pytest.mark.parametrize(
    "sdp", ["", "nonsense", "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n", "v=0\r\nm=application x x x\r\n"]
)
def test_an_offer_that_cannot_be_used_is_ignored(tmp_path: Path, sdp: str) -> None:
    async def test() -> None:
        async with pair(tmp_path) as both:
            await both.connected()
            assert both.b.session is not None
            both.b.on_payload(Payload("offer", 0, sdp))  # stale: not even looked at
            assert both.b.state is State.CONNECTED
            both.b.on_payload(Payload("offer", both.b.session.number + 1, sdp))
            assert both.b.state is State.LOST
            assert both.b.reason == ""
            await both.connected()  # asked for by b

    run(test)
