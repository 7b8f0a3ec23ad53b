"""A bad network on demand, for tests and benchmarks: loss, bursts, delay, jitter, reordering, duplication, outages.

`LinkModel` is pure: it says when each datagram arrives, if at all, and says the same for the same seed. `impair` puts
one in the way of what an aiortc peer connection sends.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from aiortc import RTCPeerConnection

logger = logging.getLogger(__name__)

QUEUE_US: Final = 200_000  # of a link of limited rate: what would wait longer is lost


@dataclass(frozen=True, slots=True)
class Bursts:
    """Loss that comes in bursts: two states with a loss of their own (Gilbert 1960, Elliott 1963)."""

    begin: float
    """Probability, each datagram, of a burst beginning."""
    end: float
    """Probability, each datagram, of the burst ending; 1 / end is its mean length."""
    loss: float = 1.0
    """Loss within a burst."""

    @property
    def mean_loss(self) -> float:
        """Loss over a long time."""
        return self.loss * self.begin / (self.begin + self.end)


@dataclass(frozen=True, slots=True)
class LinkConditions:
    """One direction of a link. Times in microseconds, probabilities a datagram."""

    delay_us: int = 0
    jitter_us: int = 0
    """Standard deviation of what is added to the delay: half-normal, so `delay_us` is the fastest."""
    loss: float = 0.0
    bursts: Bursts | None = None
    """On top of `loss`."""
    reorder: float = 0.0
    """Probability of overtaking: no delay, hence before what is still under way."""
    duplicate: float = 0.0
    keep_order: bool = False
    """Jitter as of a queue: nothing overtakes, what is late holds up what follows."""
    bits_per_s: int | None = None
    """Of the slowest hop, with a queue of 200 ms in front of it; None: no limit."""
    outages_us: tuple[tuple[int, int], ...] = ()
    """From, to; by the model's clock, which begins with its first datagram unless it is told otherwise."""

    def __post_init__(self) -> None:
        shares = [self.loss, self.reorder, self.duplicate]
        if self.bursts:
            shares += [self.bursts.begin, self.bursts.end, self.bursts.loss]
        if not all(0 <= p <= 1 for p in shares) or min(self.delay_us, self.jitter_us) < 0:
            raise ValueError("probabilities are between 0 and 1, delay and jitter are not negative")
        if self.bits_per_s is not None and self.bits_per_s <= 0:
            raise ValueError("a link's rate is positive; None means no limit")


class LinkModel:
    """What one direction of a link does to each datagram. Deterministic: same seed, same sends, same answers.

    Every datagram draws the same numbers whatever the conditions, so that two conditions lose the same datagrams as far
    as their loss is the same.

    Args:
        conditions: of the link.
        seed: of all that is drawn.
        begun_us: what outages are counted from; the first datagram if not given.
    """

    def __init__(self, conditions: LinkConditions, seed: int, begun_us: int | None = None) -> None:
        self._conditions = conditions
        self._random = random.Random(seed)
        self._begun_us = begun_us
        self._in_burst = False
        self._last_us = 0
        self._free_us = 0  # when the slowest hop has sent what it holds
        self.sent = 0
        self.lost = 0

    def send(self, size: int, now_us: int) -> list[int]:
        """Send a datagram of `size` bytes: when it arrives; no time if it is lost, two if it is doubled."""
        link = self._conditions
        if self._begun_us is None:
            self._begun_us = now_us
        lost, burst, overtakes, doubled, late, late_again = self._draw()
        self.sent += 1
        at_us = self._through_hop(size, now_us)
        if at_us is None or lost or burst or self._is_out(now_us - self._begun_us):
            self.lost += 1
            return []
        arrivals = [at_us if overtakes else at_us + link.delay_us + late]
        if doubled:
            arrivals.append(at_us + link.delay_us + late_again)
        if link.keep_order:
            arrivals = [max(arrival, self._last_us) for arrival in arrivals]
            self._last_us = max(arrivals)
        return sorted(arrivals)

    def _draw(self) -> tuple[bool, bool, bool, bool, int, int]:
        link, draw = self._conditions, self._random.random
        first, second, third, fourth, fifth = (draw() for _ in range(5))
        late, late_again = (round(abs(self._random.gauss(0.0, 1.0)) * link.jitter_us) for _ in range(2))
        burst = False
        if link.bursts:
            self._in_burst = first >= link.bursts.end if self._in_burst else first < link.bursts.begin
            burst = self._in_burst and second < link.bursts.loss
        return third < link.loss, burst, fourth < link.reorder, fifth < link.duplicate, late, late_again

    def _is_out(self, model_us: int) -> bool:
        return any(start <= model_us < end for start, end in self._conditions.outages_us)

    def _through_hop(self, size: int, now_us: int) -> int | None:
        """When a datagram has left the slowest hop; None if its queue is full."""
        rate = self._conditions.bits_per_s
        if rate is None:
            return now_us
        if self._free_us - now_us > QUEUE_US:
            return None
        self._free_us = max(self._free_us, now_us) + math.ceil(size * 8e6 / rate)
        return self._free_us


class Impairment:
    """A link model in the way of what a peer connection sends; `remove` takes it out again."""

    def __init__(self, transport: Any, model: LinkModel, clock_us: Callable[[], int], overhead_bytes: int) -> None:
        self.model = model
        self._transport = transport
        self._send = transport._send
        self._clock_us = clock_us
        self._overhead_bytes = overhead_bytes
        self._waiting: set[asyncio.TimerHandle] = set()
        self._sending: set[asyncio.Task[None]] = set()
        transport._send = self._impaired

    def remove(self) -> None:
        """Send as before; what is under way is lost."""
        self._transport._send = self._send
        for handle in self._waiting:
            handle.cancel()
        self._waiting.clear()

    async def _impaired(self, data: bytes) -> None:
        now_us = self._clock_us()
        loop = asyncio.get_running_loop()
        for arrival_us in self.model.send(len(data) + self._overhead_bytes, now_us):
            self._call_later(loop, max(0, arrival_us - now_us) / 1e6, bytes(data))

    def _call_later(self, loop: asyncio.AbstractEventLoop, seconds: float, data: bytes) -> None:
        def deliver() -> None:
            self._waiting.discard(handle)
            task = loop.create_task(self._deliver(data))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

        handle = loop.call_later(seconds, deliver)
        self._waiting.add(handle)

    async def _deliver(self, data: bytes) -> None:
        try:
            await self._send(data)
        except ConnectionError:
            logger.debug("a datagram arrived after its connection had ended")


def impair(
    pc: RTCPeerConnection,
    conditions: LinkConditions,
    seed: int,
    *,
    clock_us: Callable[[], int] | None = None,
    begun_us: int | None = None,
    overhead_bytes: int = 28,
) -> list[Impairment]:
    """Put a link of these conditions behind everything that a peer connection sends from now on.

    Impaired is what DTLS and media hand to ICE (`RTCIceTransport._send`); ICE's own checks pass. Call once the
    transports exist, that is after the local description was set.

    Args:
        pc: the sender; impair both ends for both directions.
        conditions: of this direction.
        seed: of the first transport; each further one takes the next.
        clock_us: any monotonic clock, microseconds; the event loop's by default.
        begun_us: by that clock, what outages are counted from; the first datagram if not given.
        overhead_bytes: of a datagram's IP and UDP headers, counted where the rate is limited.

    Raises:
        RuntimeError: no transport yet, or aiortc has changed.
    """
    ice = _ice_transports(pc)
    if not ice or not all(hasattr(transport, "_send") for transport in ice):
        raise RuntimeError("no ICE transport to impair: set the local description first")
    clock = clock_us or _loop_us
    return [
        Impairment(transport, LinkModel(conditions, seed + i, begun_us), clock, overhead_bytes)
        for i, transport in enumerate(ice)
    ]


def _loop_us() -> int:
    return round(asyncio.get_running_loop().time() * 1e6)


def _ice_transports(pc: RTCPeerConnection) -> Sequence[Any]:
    dtls = [pc.sctp.transport] if pc.sctp else []
    dtls += [transceiver.sender.transport for transceiver in pc.getTransceivers()]
    ice: list[Any] = []
    for transport in dtls:
        if transport is not None and transport.transport not in ice:
            ice.append(transport.transport)
    return ice
