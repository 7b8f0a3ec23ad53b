"""One peer connection to another edge, from offer to close. Once lost it is replaced: aiortc has no ICE restart."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from aiortc import (
    RTCConfiguration,
    RTCIceServer,
    RTCIceTransportPolicy,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.sdp import SessionDescription

from telepresence.errors import ProtocolError, SignallingError
from telepresence.hub.ice import is_turn
from telepresence.hub.messages import IceServer
from telepresence.rtc import patches
from telepresence.rtc.channels import ChannelEvents, Channels, Counters
from telepresence.rtc.link import Impairment, LinkConditions, impair
from telepresence.rtc.monotonic import now_us
from telepresence.rtc.presence_messages import certificate_of
from telepresence.wire.clock import ClockOffset
from telepresence.wire.thrift import Rate

logger = logging.getLogger(__name__)

CLOSE_S: Final = 5.0  # aiortc's close may wait for a dead peer

_RELATED: Final = re.compile(r" raddr \S+ rport \d+")  # RFC 8839, section 5.1

_closing: set[asyncio.Task[None]] = set()  # the loop itself keeps only weak references


def close_soon(pc: RTCPeerConnection) -> None:
    """Close a connection in the background, without waiting for it longer than CLOSE_S."""
    task = asyncio.ensure_future(_close(pc))
    _closing.add(task)
    task.add_done_callback(_closing.discard)


async def closed_all() -> None:
    """Wait until every `close_soon` has ended."""
    while _closing:
        await asyncio.gather(*_closing, return_exceptions=True)


async def _close(pc: RTCPeerConnection) -> None:
    try:
        await asyncio.wait_for(_hang_up(pc), CLOSE_S)
    except TimeoutError:
        logger.warning("a peer connection did not close within %g s; left behind", CLOSE_S)
    except Exception:
        logger.exception("a peer connection could not be closed")


async def _hang_up(pc: RTCPeerConnection) -> None:
    """Tell the other side first: aiortc does so last of all, after it has waited for every encoder and decoder."""
    for transceiver in pc.getTransceivers():
        await transceiver.receiver.transport.stop()
    await pc.close()


def configuration(servers: Sequence[IceServer], relay_only: bool = False, attempt: int = 0) -> RTCConfiguration:
    """ICE servers as the hub recommends them; none means none: aiortc would ask Google's, for up to five seconds.

    Of several TURN servers aiortc asks only the first: at every `attempt` (0, 1, ...) it is the next one.
    """
    each = [RTCIceServer([url], username=s.username, credential=s.credential) for s in servers for url in s.urls]
    turn = [server for server in each if is_turn(server.urls[0])]
    first = attempt % len(turn) if turn else 0
    return RTCConfiguration(
        iceServers=[server for server in each if server not in turn] + turn[first:] + turn[:first],
        iceTransportPolicy=RTCIceTransportPolicy.RELAY if relay_only else RTCIceTransportPolicy.ALL,
    )


def told(pc: RTCPeerConnection, relay_only: bool) -> str:
    """Our description as the other side gets it. aiortc says where a relay's packets go on to: our own address."""
    sdp: str = pc.localDescription.sdp
    return _RELATED.sub(" raddr 0.0.0.0 rport 0", sdp) if relay_only else sdp


class Session:
    """A peer connection with its channels. `lost` is set once it is of no more use.

    Args:
        number: of the session; the offerer counts up.
        events, counters, clock, rate: for the channels.
        relay_only: whether only a TURN server's addresses are used.
        attempt: see `configuration`.
    """

    def __init__(
        self,
        number: int,
        servers: Sequence[IceServer],
        events: ChannelEvents,
        counters: Counters,
        clock: ClockOffset,
        *,
        rate: Rate = Rate.ADAPTIVE,
        relay_only: bool = False,
        attempt: int = 0,
    ) -> None:
        self.number = number
        self.lost = asyncio.Event()
        self._answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._relay_only = relay_only
        self._pc = RTCPeerConnection(configuration(servers, relay_only, attempt))
        self.channels = Channels(self._pc, events, counters, clock, rate=rate)
        sctp = self._pc.sctp
        if sctp is None:
            raise RuntimeError("aiortc made no data transport")
        self._sctp = sctp
        patches.guard_data(sctp, self.channels.violation)
        patches.open_window(sctp)
        self.wire = patches.count_datagrams(sctp.transport.transport)
        self._pc.on("connectionstatechange", self._on_state)

    @property
    def certificates(self) -> tuple[bytes, bytes]:
        """SHA-256 of our DTLS certificate and of theirs; known once the channels are open."""
        return certificate_of(self._pc.localDescription.sdp), certificate_of(self._pc.remoteDescription.sdp)

    @property
    def room_for_avatar(self) -> int:
        """Bytes of an avatar that may be under way just now."""
        return patches.room_for_avatar(self._sctp)

    async def offer(self) -> str:
        """Begin as the offerer: the SDP to relay, candidates included."""
        await self._pc.setLocalDescription(await self._pc.createOffer())
        return told(self._pc, self._relay_only)

    async def answered(self, timeout_s: float) -> None:
        """Wait for the answer, and apply it.

        Raises:
            TimeoutError: none came.
            SignallingError: it cannot be used.
        """
        sdp = await asyncio.wait_for(self._answer, timeout_s)
        await self._apply(self._pc.setRemoteDescription(RTCSessionDescription(checked(sdp), "answer")))

    def on_answer(self, sdp: str) -> None:
        """The answer to our offer has come; a second one is ignored."""
        if not self._answer.done():
            self._answer.set_result(sdp)

    async def answer(self, offer: str) -> str:
        """Begin as the answerer: the SDP to relay.

        Raises:
            SignallingError: the offer cannot be used.
        """
        await self._apply(self._pc.setRemoteDescription(RTCSessionDescription(checked(offer), "offer")))
        await self._apply(self._describe())
        return told(self._pc, self._relay_only)

    async def open(self, timeout_s: float) -> None:
        """Wait until the channels are open.

        Raises:
            TimeoutError: they are not, or the connection failed.
        """
        deadline = asyncio.get_running_loop().time() + timeout_s
        while not self.channels.open:
            if self.lost.is_set() or asyncio.get_running_loop().time() > deadline:
                raise TimeoutError
            await asyncio.sleep(0.02)

    def impair(self, conditions: LinkConditions, seed: int, begun_us: int | None = None) -> list[Impairment]:
        """Put a bad link behind all that is sent from now on, for tests and benchmarks; times by `monotonic.now_us`."""
        return impair(self._pc, conditions, seed, clock_us=now_us, begun_us=begun_us)

    def close(self) -> None:
        """Fall silent now, close in the background."""
        self.lost.set()
        self.channels.close()
        self._answer.cancel()
        self._pc.remove_all_listeners()
        close_soon(self._pc)

    async def _describe(self) -> None:
        await self._pc.setLocalDescription(await self._pc.createAnswer())

    async def _apply(self, step: Coroutine[Any, Any, None]) -> None:
        try:
            await step
        except Exception as error:  # aiortc raises anything, AssertionError included, on an SDP it cannot use
            raise SignallingError(f"session description refused ({type(error).__name__})") from error

    def _on_state(self) -> None:
        if self._pc.connectionState in ("failed", "closed"):
            self.lost.set()


def checked(sdp: str) -> str:
    """An edge's session description has data channels and nothing else: media would start decoders.

    Of the certificate's fingerprints only the SHA-256 stays, so that DTLS holds the other side to exactly the one that
    a proof of presence is bound to.

    Returns what aiortc's own parser has understood, written anew: no other reading of the text can differ from it.

    Raises:
        SignallingError: it has none, or more, or not one SHA-256 fingerprint, or is no session description.
    """
    try:
        description = SessionDescription.parse(sdp)
    except Exception as error:  # aiortc raises anything, AssertionError included, on text that is none
        raise SignallingError(f"session description refused ({type(error).__name__})") from error
    if [media.kind for media in description.media] != ["application"]:
        raise SignallingError("session description does not consist of one application section")
    dtls = description.media[0].dtls
    if dtls is not None:
        dtls.fingerprints = [one for one in dtls.fingerprints if one.algorithm.lower() == "sha-256"]
    text = str(description)
    try:
        certificate_of(text)
    except ProtocolError as error:
        raise SignallingError(f"session description refused: {error}") from error
    return text
