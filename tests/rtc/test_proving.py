"""Who may be shown, over real connections: impersonation is refused, and what was deleted goes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from telepresence.avatar.deletion import Tombstone, message
from telepresence.avatar.file import pack
from telepresence.avatar.owner import save_enrolled, sign
from telepresence.avatar.samples import sample_avatar
from telepresence.avatar.sections import digest
from telepresence.rtc import exchange, greeting, own_avatar, presence_exchange, proving
from telepresence.rtc.cache import AvatarCache
from telepresence.rtc.monotonic import now_us
from telepresence.rtc.party import Ours
from telepresence.rtc.peer import State
from telepresence.rtc.presence_exchange import NO_PROOF, UNPROVED
from telepresence.rtc.presence_messages import Forget, Proof
from telepresence.rtc.proving import DELETED
from telepresence.wire.thrift import Rate
from tests.rtc.call import edge, hub
from tests.rtc.pair import KEY, Pair, avatar_file, packet, pair, run, until

OTHER = Ed25519PrivateKey.from_private_bytes(bytes([2]) * 32)
MINE = avatar_file(20_000, made="live")


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (presence_exchange, proving):
        monkeypatch.setattr(module, "PROOF_S", 0.4)
    monkeypatch.setattr(exchange, "OFFER_EVERY_S", 0.05)
    monkeypatch.setattr(greeting, "OFFER_AGAIN_S", 0.1)


def ours(folder: Path, data: bytes | None, key: Ed25519PrivateKey | None = KEY) -> Ours:
    return Ours(data, cache=AvatarCache(folder / "a"), rate=Rate.EVERY, key=key)


async def moves(both: Pair, admitted: bool) -> None:
    """Whether motion of a is shown at b."""
    both.seen_b.motion.clear()
    for _ in range(12):
        both.a.send_motion(packet(capture_us=now_us()))
        await asyncio.sleep(0.02)
    assert bool(both.seen_b.motion) is admitted


async def reconnect(both: Pair) -> None:
    rebuilds = both.b.rebuilds
    assert both.b.session is not None
    both.b.session.lost.set()
    await until(lambda: both.b.rebuilds > rebuilds)
    await both.connected()


def test_the_owner_is_shown_moves_and_is_labelled(tmp_path: Path) -> None:
    async def test() -> None:
        async with pair(tmp_path, ours(tmp_path, MINE)) as both:
            await both.connected()
            await until(lambda: both.seen_b.avatars == [(MINE, True)])
            assert both.b.proving.label == "avatar"
            assert both.a.proving.label is None
            await moves(both, True)
            await reconnect(both)
            await until(lambda: both.b.proving.admits)
            assert both.seen_b.avatars == [(MINE, True)]
            assert both.a.counters.violations == both.b.counters.violations == 0

    run(test)


@pytest.mark.parametrize("key", [OTHER, None])
def test_who_only_has_the_file_is_not_shown_and_stays_in_the_call(
    tmp_path: Path, key: Ed25519PrivateKey | None
) -> None:
    async def test() -> None:
        async with pair(tmp_path, ours(tmp_path, MINE, key)) as both:
            await both.connected()
            await until(lambda: bool(both.b.proving.unshown))
            assert both.b.proving.unshown == NO_PROOF
            assert both.seen_b.avatars == [(b"", True)]
            assert both.b.proving.label is None
            await moves(both, False)
            assert both.b.state is State.CONNECTED
            await reconnect(both)
            await until(lambda: both.b.proving.unshown == NO_PROOF)
            assert all(not data for data, _ in both.seen_b.avatars)

    run(test)


def test_a_proof_by_another_key_is_refused_for_good(tmp_path: Path) -> None:
    async def test() -> None:
        async with pair(tmp_path, ours(tmp_path, MINE, None)) as both:
            await both.connected()
            assert both.a.session is not None
            await until(lambda: both.b.proving.gate.waits)
            both.a.session.channels.send_control(Proof(OTHER.sign(b"anything"), digest(MINE)))
            await until(lambda: both.b.proving.unshown == UNPROVED)
            await moves(both, False)

    run(test)


def test_an_unsigned_avatar_is_refused_with_words_that_say_how_to_sign_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with pair(tmp_path, ours(tmp_path, avatar_file(20_000, None))) as both:
            await both.connected()
            await until(lambda: "telepresence avatar sign" in both.b.proving.unshown)
            assert both.seen_b.avatars == [(b"", True)]

    run(test)


def test_an_avatar_swapped_after_the_proof_for_somebody_elses_is_taken_away(tmp_path: Path) -> None:
    theirs = avatar_file(20_000, OTHER)

    async def test() -> None:
        async with pair(tmp_path, ours(tmp_path, MINE)) as both:
            await both.connected()
            await until(lambda: both.seen_b.avatars == [(MINE, True)])
            await asyncio.sleep(0.1)
            both.a.change(replace(ours(tmp_path, theirs), epoch=1))
            await until(lambda: both.b.proving.unshown == NO_PROOF)
            assert theirs not in [data for data, _ in both.seen_b.avatars]
            assert both.seen_b.avatars[-1] == (b"", True)
            await moves(both, False)
            await asyncio.sleep(0.1)
            both.a.change(replace(ours(tmp_path, MINE), epoch=2))  # its own again
            await until(lambda: both.seen_b.avatars[-1] == (MINE, True))
            assert both.b.proving.unshown == ""
            await moves(both, True)

    run(test)


def test_a_reconnect_with_somebody_elses_avatar_shows_neither(tmp_path: Path) -> None:
    theirs = avatar_file(20_000, OTHER)

    async def test() -> None:
        async with pair(tmp_path, ours(tmp_path, MINE)) as both:
            await both.connected()
            await until(lambda: both.seen_b.avatars == [(MINE, True)])
            both.a.greeting.offered_s += 60  # not on this connection any more
            both.a.change(ours(tmp_path, theirs))
            await reconnect(both)
            await until(lambda: both.b.proving.unshown == NO_PROOF)
            assert both.seen_b.avatars[1:] != []
            assert all(not data for data, _ in both.seen_b.avatars[1:])
            await moves(both, False)

    run(test)


def test_who_draws_nobody_asks_for_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        blind = Ours(None, draws=False, cache=AvatarCache(tmp_path / "b"))
        async with pair(tmp_path, ours(tmp_path, MINE, None), blind) as both:
            await both.connected()
            await moves(both, True)
            assert both.seen_b.avatars == []
            assert both.b.proving.unshown == ""

    run(test)


def test_what_its_owner_has_deleted_goes_from_picture_and_cache(tmp_path: Path) -> None:
    cache, sha256 = AvatarCache(tmp_path / "b"), digest(MINE)
    foreign = avatar_file(10, OTHER)
    cache.put(foreign)

    async def test() -> None:
        async with pair(tmp_path, ours(tmp_path, MINE), Ours(None, cache=cache)) as both:
            await both.connected()
            await until(lambda: cache.get(sha256) == MINE)
            wishes = (
                Tombstone(digest(foreign), KEY.sign(message(digest(foreign))), 0),  # not theirs to delete
                Tombstone(sha256, KEY.sign(message(sha256)), 0),
            )
            await asyncio.sleep(0.1)
            both.a.change(replace(ours(tmp_path, None), epoch=1, deleted=wishes))
            await until(lambda: both.seen_b.avatars[-1] == (b"", True))
            await until(lambda: cache.get(sha256) is None)
            await asyncio.sleep(0.1)
            assert cache.get(digest(foreign)) == foreign
            assert both.b.counters.violations == 0

    run(test)


def test_nobody_else_can_wish_a_picture_away(tmp_path: Path) -> None:
    sha256 = digest(MINE)

    async def test() -> None:
        async with pair(tmp_path, ours(tmp_path, MINE)) as both:
            await both.connected()
            await until(lambda: both.seen_b.avatars == [(MINE, True)])
            assert both.a.session is not None
            both.a.session.channels.send_control(Forget(sha256, OTHER.sign(message(sha256))))
            await asyncio.sleep(0.1)
            await moves(both, True)
            assert both.seen_b.avatars == [(MINE, True)]
            both.a.session.channels.send_control(Forget(sha256, KEY.sign(message(sha256))))
            await until(lambda: both.b.proving.unshown == DELETED)
            assert both.seen_b.avatars[-1] == (b"", True)
            await moves(both, False)

    run(test)


def test_of_one_owner_only_the_newest_file_is_kept(tmp_path: Path) -> None:
    cache, second, foreign = AvatarCache(tmp_path / "b"), avatar_file(20_000), avatar_file(10, OTHER)
    cache.put(foreign)

    async def test() -> None:
        async with pair(tmp_path, ours(tmp_path, MINE), Ours(None, cache=cache)) as both:
            await both.connected()
            await until(lambda: cache.get(digest(MINE)) == MINE)
            await asyncio.sleep(0.1)
            both.a.change(replace(ours(tmp_path, second), epoch=1))
            await until(lambda: cache.get(digest(second)) == second)
            await until(lambda: cache.get(digest(MINE)) is None)
            assert cache.get(digest(foreign)) == foreign

    run(test)


def test_the_page_says_what_somebody_is_shown_as_and_why_somebody_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("telepresence.rtc.cache.cache_folder", lambda: tmp_path / "cache")
    mine, theirs = tmp_path / "mine.avatar", tmp_path / "theirs.avatar"
    me = replace(sample_avatar(), free_for_all=False, name="me")
    save_enrolled(me, mine, "live")
    theirs.write_bytes(sign(pack(me), OTHER, "live"))
    honest = own_avatar._key_of
    monkeypatch.setattr(  # a changed program, which lets anything be offered
        own_avatar, "_key_of", lambda data, path: KEY if path == theirs else honest(data, path)
    )

    async def test() -> None:
        async with (
            hub() as url,
            edge(url, camera="none", name="receiver") as receiver,
            edge(url, camera="sample", sink="null", avatar=mine, name="owner"),
            edge(url, camera="sample", sink="null", avatar=theirs, name="impostor"),
        ):

            def told() -> dict[str, tuple[str | None, str]]:
                people = receiver.page_room.fields()["participants"]
                return {one["name"]: (one["label"], one["unshown"]) for one in people}

            await until(lambda: told() == {"owner": ("avatar", ""), "impostor": (None, NO_PROOF)}, 15)
            await until(lambda: bool(receiver.stats()["avatar_errors"]))
            assert receiver.stats()["avatar_errors"] == [NO_PROOF]
            assert receiver._drawing is not None
            stages = receiver._drawing.renderer._stages
            names = {receiver.room.name(one): stage for one, stage in stages.items()}
            await until(lambda: names["owner"].prepared is not None)
            assert "impostor" not in names or names["impostor"].prepared is None
            assert receiver.stats()["state"] == "connected"

    run(test, 60)
