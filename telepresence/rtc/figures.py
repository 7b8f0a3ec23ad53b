"""An edge's figures: collected on the event loop, shown by `GET /api/stats`, defined one by one in `docs/edge.md`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from telepresence.rtc.landmarker import Tracked
from telepresence.rtc.peer import Peer, State
from telepresence.rtc.renderer import Picture
from telepresence.rtc.stats import Meter, Window, kbps, rounded

AGE_RANGE_US: Final = (-1_000_000, 60_000_000)  # an age outside comes from a peer's nonsense, not from a link


@dataclass
class Totals:
    """What participants amount to, those who have left included."""

    sent: int = 0
    skipped: int = 0
    left_out: int = 0
    dropped: int = 0
    violations: int = 0
    rebuilds: int = 0
    payload_sent_bytes: int = 0
    payload_received_bytes: int = 0
    wire_sent_bytes: int = 0
    wire_received_bytes: int = 0

    def add(self, peer: Peer) -> None:
        """Add one participant's counters."""
        counters = peer.counters
        wire_sent, wire_received = peer.read_wire()
        self.sent += counters.sent
        self.skipped += counters.skipped
        self.left_out += counters.left_out
        self.dropped += peer.dropped
        self.violations += counters.violations
        self.rebuilds += peer.rebuilds
        self.payload_sent_bytes += counters.payload_sent_bytes
        self.payload_received_bytes += counters.payload_received_bytes
        self.wire_sent_bytes += wire_sent
        self.wire_received_bytes += wire_received


class Figures:
    """Windows and totals of one edge. Every method takes the time, microseconds on the monotonic clock."""

    def __init__(self, *, has_camera: bool, draws: bool) -> None:
        self._has_camera = has_camera
        self._draws = draws
        self._pictures = Window()
        self._edge_ms = Window()
        self._age_ms = Window()
        self._render_ms = Window()
        self._landmarks_ms = Window()
        self._meters = {name: Meter() for name in ("payload_sent", "payload_received", "wire_sent", "wire_received")}
        self._each: dict[str, Window] = {}
        self._gone = Totals()
        self._overtaken = 0
        self.faces: int | None = None

    def tracked(self, tracked: Tracked, now_us: int) -> None:
        """A camera picture has been through the landmarks."""
        self.faces = int(tracked.face)
        self._landmarks_ms.add(now_us, tracked.took_us / 1000)

    def camera_lost(self) -> None:
        """There are no camera pictures any more, so nobody knows of faces."""
        self.faces = None

    def rendered(self, picture: Picture, now_us: int, page_ms: float = 0.0) -> None:
        """A picture of the first participant has been drawn; `page_ms` of its age had passed before it was decoded."""
        self._pictures.add(now_us)
        self._render_ms.add(now_us, picture.render_us / 1000)
        _add_age(self._edge_ms, picture, picture.rendered_us - round(page_ms * 1000), now_us)

    def drawn(self, participant: str, now_us: int) -> None:
        """A picture of any participant has been drawn."""
        self._each.setdefault(participant, Window()).add(now_us)

    def fps(self, participant: str, now_us: int) -> float | None:
        """Pictures a second of one participant."""
        window = self._each.get(participant)
        return rounded(window.rate(now_us)) if window is not None else None

    def shown(self, picture: Picture, now_us: int) -> None:
        """A picture has gone to a page's encoder or into the file."""
        _add_age(self._age_ms, picture, now_us, now_us)

    def left(self, peer: Peer, overtaken: int) -> None:
        """A participant has left: its counts stay."""
        self._gone.add(peer)
        self._each.pop(peer.id, None)
        self._overtaken += overtaken

    def totals(self, peers: Iterable[Peer]) -> Totals:
        """Counts since the edge started."""
        totals = Totals(**vars(self._gone))
        for peer in peers:
            totals.add(peer)
        return totals

    def sample(self, peers: Iterable[Peer], now_us: int) -> None:
        """Read the byte counters; call a few times a second."""
        totals = self.totals(peers)
        for name, meter in self._meters.items():
            meter.read(now_us, getattr(totals, f"{name}_bytes"))

    def snapshot(self, peers: Mapping[str, Peer], overtaken: int, now_us: int) -> dict[str, Any]:
        """The figures by name; None for what this edge cannot know."""
        totals = self.totals(peers.values())
        rate = {name: kbps(meter.rate(now_us)) for name, meter in self._meters.items()}
        way = "sent" if self._has_camera else "received"
        return {
            "fps": rounded(self._pictures.rate(now_us)) if self._draws else None,
            "camera_fps": rounded(self._landmarks_ms_rate(now_us)),
            "payload_kbps": rate[f"payload_{way}"],
            "wire_kbps": rate[f"wire_{way}"],
            **{f"{name}_kbps": value for name, value in rate.items()},
            **_percentiles("edge_ms", self._edge_ms, now_us),
            **_percentiles("age_ms", self._age_ms, now_us),
            **_percentiles("render_ms", self._render_ms, now_us),
            **_percentiles("landmarks_ms", self._landmarks_ms, now_us),
            "sent": totals.sent if self._has_camera else None,
            "skipped": totals.skipped if self._has_camera else None,
            "left_out": totals.left_out if self._has_camera else None,
            "dropped": totals.dropped + self._overtaken + overtaken if self._draws else None,
            "faces": self.faces,
            "violations": totals.violations,
            "rebuilds": totals.rebuilds,
            "rtt_ms": next((_rtt_ms(p) for p in peers.values() if p.state is State.CONNECTED), None),
        }

    def _landmarks_ms_rate(self, now_us: int) -> float | None:
        return self._landmarks_ms.count_rate(now_us) if self._has_camera else None


def participants(
    peers: Mapping[str, Peer],
    name: Callable[[str], str],
    fps: Callable[[str], float | None],
    size: Callable[[str], int | None],
) -> list[dict[str, Any]]:
    """The other participants, as the page shows them."""
    return [
        {
            "name": name(peer.id),
            "state": str(peer.state),
            "reason": peer.reason,
            "rtt_ms": _rtt_ms(peer),
            "schema": peer.schema,
            "avatar": rounded(peer.exchange.receiving, 2),
            "label": peer.proving.label,
            "fps": fps(peer.id),
            "size": size(peer.id),
        }
        for peer in peers.values()
    ]


def overall(peers: Iterable[Peer]) -> str:
    """The call in one word: `alone`, or the best of the participants' states."""
    states = {peer.state for peer in peers}
    order = (State.CONNECTED, State.CONNECTING, State.LOST, State.REFUSED)
    return next((str(state) for state in order if state in states), "alone")


def _rtt_ms(peer: Peer) -> float | None:
    return round(peer.clock.rtt_us / 1000, 2) if peer.clock.known else None


def _percentiles(name: str, window: Window, now_us: int) -> dict[str, float | None]:
    return {f"{name}_p{q}": rounded(window.percentile(now_us, q)) for q in (50, 95)}


def _add_age(window: Window, picture: Picture, at_us: int, now_us: int) -> None:
    if picture.capture_us is not None and AGE_RANGE_US[0] <= at_us - picture.capture_us <= AGE_RANGE_US[1]:
        window.add(now_us, (at_us - picture.capture_us) / 1000)
