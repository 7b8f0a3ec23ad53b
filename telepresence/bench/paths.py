"""The ways that a face can take from one page to the other: as an avatar, or as an ordinary call's video."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Protocol

from telepresence.bench.hop import Hop, host_of, replaced
from telepresence.bench.rig import Rig
from telepresence.errors import TelepresenceError
from telepresence.rtc.link import LinkConditions

IP_UDP_BYTES: Final = 28
NATURAL_BITS_PER_S: Final = 1_500_000  # of the relay's encoder: what aiortc's own VP8 encoder goes up to
CODEC: Final = "vp8"
SMALL_HEIGHT: Final = 256  # of a squeezed ordinary call's pictures, as tall as the avatar's


@dataclass(frozen=True)
class Reading:
    """Counters of the way from the sender's machine to the receiver's, since it was connected."""

    wire_bytes: int
    """One direction, at IP level: IPv4 and UDP headers included."""
    payload_bytes: int | None = None
    """Of motion messages."""
    extra: dict[str, Any] = field(default_factory=dict)


class Way(Protocol):
    """One way, connected and disconnected anew for each stretch of time in which it is measured."""

    name: str

    async def connect(self, rig: Rig) -> None:
        """Connect, until pictures come."""

    async def read(self, rig: Rig) -> Reading:
        """The counters now."""

    async def disconnect(self, rig: Rig) -> None:
        """End it; nothing of it is left running."""


@dataclass
class Avatar:
    """The product: page, edge, motion over a data channel, edge, page."""

    name: str = "avatar"
    link: LinkConditions | None = None
    seed: int = 1
    sound: bool = False
    """Whether the pages also speak, and steer their lips by it."""
    notes: list[Sequence[Any]] = field(default_factory=list)
    """Of both edges, since the last `clear`."""

    async def connect(self, rig: Rig) -> None:
        """Open the pages' connections to their edges; a link, if there is one, lies between the edges."""
        for page, role in ((rig.sender, "sender"), (rig.receiver, "receiver")):
            await page.call("avatar", {"edge": rig.where(role), "send": role == "sender", "sound": self.sound})
        await asyncio.gather(rig.sender.call("up", False), rig.receiver.call("up", True))
        if self.link is not None:
            for number, role in enumerate(rig.edges):
                body = {"conditions": asdict(self.link), "seed": self.seed + 1000 * number}
                await rig.ask(role, "/api/trace/link", body)

    async def read(self, rig: Rig) -> Reading:
        """Also collects the edges' notes."""
        sender, receiver = [await rig.ask(role, "/api/trace") for role in rig.edges]
        self.notes += [*sender["notes"], *receiver["notes"]]
        totals = sender["totals"]
        extra = {name: totals[name] for name in ("sent", "skipped", "left_out", "rebuilds")}
        extra["dropped"] = receiver["totals"]["dropped"]
        extra["datagrams"] = [sum(hop[i] for hop in sender["link"]) for i in (0, 1)] if sender["link"] else None
        return Reading(totals["wire_sent_bytes"], totals["payload_sent_bytes"], extra)

    async def disconnect(self, rig: Rig) -> None:
        """Close the pages' connections; the edges stay."""
        if self.link is not None:
            for role in rig.edges:
                await rig.ask(role, "/api/trace/link", None)
        await asyncio.gather(rig.sender.call("close"), rig.receiver.call("close"))


@dataclass
class Direct:
    """An ordinary call, browser to browser; with a link, through a relay of datagrams that is one."""

    name: str = "ordinary_direct"
    bitrate: int | None = None
    shrink: float = 1.0
    link: LinkConditions | None = None
    seed: int = 1
    codec: str = CODEC
    _hop: Hop | None = None

    async def connect(self, rig: Rig) -> None:
        """Offer, answer, and a link between if there is one."""
        asked = {"send": True, "codec": self.codec, "bitrate": self.bitrate, "shrink": self.shrink}
        offer = await rig.sender.call("offer", asked)
        if self.link is None:
            await rig.sender.call("accept", {"sdp": await rig.receiver.call("answer", offer)})
        else:
            self._hop = Hop(self.link, self.seed)
            sender = host_of(offer)
            for_sender, for_receiver = await self._hop.begin(sender[0])
            answer = await rig.receiver.call("answer", replaced(offer, for_sender))
            self._hop.between(sender, host_of(answer))
            await rig.sender.call("accept", {"sdp": replaced(answer, for_receiver)})
        await asyncio.gather(rig.sender.call("up", False), rig.receiver.call("up", True))

    async def read(self, rig: Rig) -> Reading:
        """What the browsers count."""
        sent, came = await rig.sender.call("counters"), await rig.receiver.call("counters")
        if "bytesSent" not in sent:
            raise TelepresenceError("the sender's browser does not count what it sends; use a newer Chromium")
        hop = self._hop
        extra = {"sent": sent, "came": came, "datagrams": [hop.there.sent, hop.there.lost] if hop else None}
        return Reading(sent["bytesSent"] + IP_UDP_BYTES * sent["packetsSent"], None, extra)

    async def disconnect(self, rig: Rig) -> None:
        """Close both ends."""
        await asyncio.gather(rig.sender.call("close"), rig.receiver.call("close"))
        if self._hop is not None:
            self._hop.close()
            self._hop = None


@dataclass
class Relayed:
    """An ordinary call through Python: browser, aiortc (decoded and encoded anew), browser."""

    name: str = "ordinary_relayed"
    bitrate: int = NATURAL_BITS_PER_S
    height: int | None = None
    link: LinkConditions | None = None
    seed: int = 1
    codec: str = CODEC

    async def connect(self, rig: Rig) -> None:
        """The camera first, then who sees it."""
        relay = _relay(rig)
        await relay(do="rate", bitrate=self.bitrate, height=self.height)
        for page, what, send in ((rig.sender, "take", True), (rig.receiver, "give", False)):
            offer = await page.call("offer", {"send": send, "codec": self.codec})
            answer = await relay(do=what, sdp=offer)
            await page.call("accept", {"sdp": answer["sdp"], "own": send})
        await asyncio.gather(rig.sender.call("up", False), rig.receiver.call("up", True))
        if self.link is not None:
            await relay(do="link", conditions=asdict(self.link), seed=self.seed)

    async def read(self, rig: Rig) -> Reading:
        """What the relay sends on; the leg from the camera's page to it stays on the sender's machine."""
        counted = await _relay(rig)(do="counters")
        came = await rig.receiver.call("counters")
        lost = [sum(hop[i] for hop in counted["link"]) for i in (0, 1)] if counted["link"] else None
        extra = {"taken": counted["taken"], "given": counted["sent"], "came": came, "datagrams": lost}
        return Reading(counted["wire_sent_bytes"], None, extra)

    async def disconnect(self, rig: Rig) -> None:
        """Close all three."""
        await asyncio.gather(rig.sender.call("close"), rig.receiver.call("close"), _relay(rig)(do="close"))


def _relay(rig: Rig) -> Callable[..., Awaitable[dict[str, Any]]]:
    if rig.relay is None:
        raise TelepresenceError("no relay was started")
    return rig.relay.ask
