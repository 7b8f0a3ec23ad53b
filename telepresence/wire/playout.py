"""Which motion is shown, moment by moment. Sans-I/O: time comes in as an argument.

Newest wins. The time shown is the receiver's clock less the delay measured, so that a packet that comes when it is
expected is shown at once, one that comes early waits for its moment, and until one that is late the head goes on by its
own momentum. Whatever happens, what is shown moves no faster than a face can: there are no jumps.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Final

from telepresence.face.motion import Motion, Pose
from telepresence.face.tween import Doubles, Step, Still
from telepresence.wire.arrival import Arrivals, Counts, Newest
from telepresence.wire.packets import MotionPacket

__all__ = ["Newest", "Playout", "PlayoutState"]

GONE_US: Final = 500_000  # without a packet: the link or the sender is gone
STILL_GONE_US: Final = 1_500_000  # the same when the last packet said that the next may be late
PREDICT_US: Final = 100_000  # no further, for a head
LATE_US: Final = 50_000  # beyond the newest packet: more than a frame of 24 a second, so at least one is missing
VELOCITY_GAP_US: Final = 120_000  # between two packets: further apart they do not tell a velocity
# What predicts well on face clips (fitted by least squares over one to six pictures, on people not held out): a head
# has momentum, that of a face is gone within a syllable, and every expression returns to its mean.
TURN_TAU_S, TURN_GAIN = 0.066, 0.72
SHIFT_TAU_S, SHIFT_GAIN = 0.1, 0.92
FACE_TAU_S, JAW_GAIN, FACE_GAIN = 0.05, 0.7, 0.3
JAW: Final = 6  # first coefficients, which move the jaw and the lips most
MEAN_TAU_S, MEAN_SHARE = 0.1, 0.4
FORGET_US: Final = 1_000_000  # of rest: somebody else may sit there now, or sit elsewhere
EASE_US: Final = 250_000  # time constant of the way to rest
SPLICE_US: Final = (5_000, 120_000)  # time constants for the correction of a prediction: least, and after rest
PICTURE_US: Final = 33_333  # of a camera: a head that kept still did so until that long before the motion that ends it
SPLICE_SHARE: Final = 0.15  # of the time predicted: less jumps more, more lags more
CALM_US: Final = 5_000_000  # time constant of the mean motion
SETTLED: Final = 0.002  # radians, square half-widths, deviations: nobody sees it
SLEW: Final = 0.1  # how much faster or slower than time the shown time may run while the delay changes
SNAP_US: Final = 150_000  # a change of delay that would take too long to slew


class PlayoutState(enum.StrEnum):
    """What is shown."""

    WAITING = "waiting"
    """Nothing has come yet."""
    LIVE = "live"
    PREDICTING = "predicting"
    """At least one packet is missing; shown is the last motion, carried on."""
    RESTING = "resting"
    """Without a face or a link: at rest, or on the way there."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """The two newest motions, and what follows from them."""

    before: Still
    before_us: int
    newest: Still
    newest_us: int
    velocity: Step
    """Per second."""
    mean: Doubles
    """(E + 4,) what the face returns to."""
    woke: bool = False
    """Whether the head kept still until `before_us`: nothing was predicted until then."""

    def at(self, shown_us: int) -> Still:
        """The motion at a time on the sender's clock."""
        if shown_us >= self.newest_us:
            return self.newest.moved(self._ahead((shown_us - self.newest_us) / 1e6))
        span_us = self.newest_us - self.before_us
        part = max(0.0, (shown_us - self.before_us) / span_us) if span_us > 0 else 1.0
        return self.before.moved(self.before.to(self.newest).scaled(part, part))

    def _ahead(self, seconds: float) -> Step:
        """The way from the newest motion to where it will be."""
        head = min(seconds, PREDICT_US / 1e6)
        turn = self.velocity.turn * (TURN_GAIN * TURN_TAU_S * (1 - math.exp(-head / TURN_TAU_S)))
        place = self.velocity.place * (SHIFT_GAIN * SHIFT_TAU_S * (1 - math.exp(-head / SHIFT_TAU_S)))
        place[2] = 0.0  # the size of a head has no momentum
        momentum = self.velocity.face * (seconds * math.exp(-seconds / FACE_TAU_S))
        momentum[:JAW] *= JAW_GAIN
        momentum[JAW:] *= FACE_GAIN
        back = (self.mean - self.newest.face) * (MEAN_SHARE * (1 - math.exp(-seconds / MEAN_TAU_S)))
        return Step(turn, place, momentum + back)


class Playout:
    """One sender's motion, on a sink's clock of any rate.

    Capture times may be on any clock, the sender's own is best: only their differences and the delay of each packet
    relative to the others count.

    Args:
        forget: who comes after a long rest begins at rest in a place of their own, instead of on the way from that of
            the last one: for a sink that learns their rest pose anew with each `begun`.
    """

    def __init__(self, *, forget: bool = False) -> None:
        self.state = PlayoutState.WAITING
        self.rest_pose: Pose | None = None
        """Where the head comes to rest; without it, where it was on average."""
        self.begun = 0
        """Up by one with each live packet that comes after a long rest, the first one included."""
        self._forget = forget
        self._arrivals = Arrivals()
        self._plan: _Plan | None = None
        self._shown_plan: _Plan | None = None  # the one that the last sample was made from
        self._epoch = 0
        self._heard_us = 0
        self._lived_us = 0
        self._rest = False
        self._still = False
        self._calm: Still | None = None
        self._calm_packets = 0
        self._place: Still | None = None  # where it comes to rest; made when it is needed
        self._shown: Still | None = None
        self._offset: Step | None = None  # what was shown less what was planned; fades
        self._offset_tau_us = SPLICE_US[0]
        self._now_us = 0
        self._delay_us = 0
        self._shown_us = 0  # on the sender's clock

    @property
    def counts(self) -> Counts:
        """What was kept back, and why."""
        return self._arrivals.counts

    @property
    def dropped(self) -> int:
        """Packets that came too late, out of all reason, or never."""
        return self._arrivals.counts.dropped

    @property
    def depth_us(self) -> int:
        """How long motion is held back to even out jitter, microseconds."""
        return max(0, self._delay_us - self._arrivals.fastest_us) if self._plan else 0

    @property
    def still(self) -> bool:
        """Whether the newest packet said that the next may be late, since nothing moves."""
        return self._still

    @property
    def settled(self) -> bool:
        """Whether nothing moves until the next packet."""
        if self._shown is None:
            return True
        return self.state is PlayoutState.RESTING and self._shown is self._resting_place()

    @property
    def shown_capture_us(self) -> int | None:
        """When what is shown was captured, on the packets' clock: never later than the newest packet.

        None at rest, and while a head keeps still beyond the newest packet: its sender has said that it captures the
        same again and again, and what is not sent has no time.
        """
        if self._shown_plan is None or self.state in (PlayoutState.WAITING, PlayoutState.RESTING):
            return None
        if self._still and self._shown_us > self._shown_plan.newest_us:
            return None
        return min(self._shown_us, self._shown_plan.newest_us)

    def receive(self, packet: MotionPacket, now_us: int) -> bool:
        """Take a packet in; False if it is not the newest, or nonsense, which is counted and changes nothing.

        Args:
            packet: as decoded.
            now_us: when it arrived, the receiver's monotonic clock.
        """
        if not self._arrivals.accept(packet, now_us):
            return False
        if not packet.rest:
            if self._plan is None or now_us - self._lived_us > FORGET_US + self._patience_us:
                self._begin()
            self._lived_us = now_us
        self._heard_us = now_us
        if packet.epoch != self._epoch and self._plan is not None:
            self.counts.epochs += 1
        fresh = self._rest or packet.epoch != self._epoch or self._arrivals.restarted or self._gone(now_us)
        woke = self._still and not packet.still
        self._epoch, self._rest, self._still = packet.epoch, packet.rest, packet.still
        if self._arrivals.restarted:
            self._delay_us, self._shown_us = now_us - packet.capture_us, packet.capture_us
        if packet.rest and self._plan is not None:
            return True
        newest = Still.of(packet.motion)
        before = None if fresh else self._plan
        self._learn_calm(newest, packet.capture_us)
        mean = newest.face if packet.still or self._calm is None else self._calm.face
        self._plan = _plan(before, newest, packet.capture_us, mean, woke=woke)
        return True

    def _begin(self) -> None:
        self.begun += 1
        if self._forget:
            self._shown = self._calm = self.rest_pose = None

    def link_lost(self) -> None:
        """Come to rest now. The next packet begins a stream of its own: other numbers, another clock."""
        self._arrivals = Arrivals(self._arrivals.counts)
        self._rest = True

    def sample(self, now_us: int) -> Motion | None:
        """What to show at a moment of the sink's clock; None if nothing has come yet."""
        if self._plan is None:
            return None
        if self._shown is None or not self._shown.like(self._plan.newest):
            self._shown, self._offset = self._resting_place(), None
            self._shown_plan, self._now_us = None, now_us - SPLICE_US[0]
        elapsed_us = max(0, now_us - self._now_us)
        self._now_us += elapsed_us
        self._advance(elapsed_us)
        if self._rest or self._gone(now_us):
            self._ease(elapsed_us)
        else:
            self._follow(elapsed_us)
        return self._shown.motion()

    @property
    def _patience_us(self) -> int:
        return STILL_GONE_US if self._still else GONE_US

    def _gone(self, now_us: int) -> bool:
        return now_us - self._heard_us > self._patience_us

    def _advance(self, elapsed_us: int) -> None:
        """Move the time shown on by as much, more or less, as time has passed."""
        towards_us = self._arrivals.usual_us - self._delay_us
        if abs(towards_us) > SNAP_US:
            self._delay_us += towards_us
        else:
            most_us = round(SLEW * elapsed_us)
            self._delay_us += max(-most_us, min(most_us, towards_us))
        self._shown_us = max(self._shown_us, self._now_us - self._delay_us)

    def _follow(self, elapsed_us: int) -> None:
        plan, shown = self._plan, self._shown
        if plan is None or shown is None:
            return
        target = plan.at(self._shown_us)
        if plan is not self._shown_plan:
            self._splice(plan, target)
        if self._offset is not None:
            keep = math.exp(-elapsed_us / self._offset_tau_us)
            self._offset = self._offset.scaled(keep, keep)
            target = target.moved(self._offset)
        self._shown = shown.moved(shown.to(target).limited(elapsed_us / 1e6))
        late = self._shown_us - plan.newest_us > LATE_US and not self._still
        self.state = PlayoutState.PREDICTING if late else PlayoutState.LIVE

    def _splice(self, plan: _Plan, target: Still) -> None:
        """Lead over from what would have been shown now to a new plan."""
        old, shown = self._shown_plan, self._shown
        least_us, most_us = SPLICE_US
        if old is None or shown is None or self.state is PlayoutState.RESTING:
            tau_us, expected = most_us, shown
        else:
            tau_us = round(SPLICE_SHARE * max(0, self._shown_us - (plan.before_us if plan.woke else old.newest_us)))
            expected = old.at(self._shown_us) if old.newest.like(target) else shown
            if self._offset is not None:
                expected = expected.moved(self._offset)
        self._offset = target.to(expected) if expected is not None else None
        # A correction under way is not hurried by the next packet, but fades on: its time constant shortens with it.
        under_way_us = 0 if plan.woke else round(0.7 * self._offset_tau_us)
        self._offset_tau_us = max(least_us, min(most_us, max(tau_us, under_way_us)))
        self._shown_plan = plan

    def _ease(self, elapsed_us: int) -> None:
        rest, shown = self._resting_place(), self._shown
        self.state, self._offset, self._shown_plan = PlayoutState.RESTING, None, None
        if shown is None or shown is rest:
            return
        part = 1 - math.exp(-elapsed_us / EASE_US)
        way = shown.to(rest)
        self._shown = shown.moved(way.scaled(part, part).limited(elapsed_us / 1e6))
        if max(abs(way.turn).max(), abs(way.place).max(), abs(way.face).max()) < SETTLED:
            self._shown = rest

    def _resting_place(self) -> Still:
        if self._place is None:
            calm = self._calm
            if calm is None:
                raise RuntimeError("no packet, no place to rest")
            self._place = calm.at_rest(self.rest_pose)
        return self._place

    def _learn_calm(self, newest: Still, capture_us: int) -> None:
        """The motion on average: head and face go back there when the sender falls silent."""
        self._place = None
        if self._calm is None or self._plan is None or not self._calm.like(newest):
            self._calm, self._calm_packets = newest, 1
            return
        self._calm_packets += 1  # at first a plain average
        part = max(1 / self._calm_packets, min(1.0, max(0, capture_us - self._plan.newest_us) / CALM_US))
        self._calm = self._calm.moved(self._calm.to(newest).scaled(part, part))


def _plan(before: _Plan | None, newest: Still, newest_us: int, mean: Doubles, *, woke: bool) -> _Plan:
    """The next plan; without one before, or after a gap, nothing is known of the velocity.

    Args:
        woke: whether the motion before was said to last, as far as it can be seen, until there is another.
    """
    still = newest.to(newest)
    if before is None or not before.newest.like(newest):
        return _Plan(newest, newest_us, newest, newest_us, still, mean)
    before_us = max(before.newest_us, newest_us - PICTURE_US) if woke else before.newest_us
    span_us = newest_us - before_us
    known = 0 < span_us <= VELOCITY_GAP_US
    part = 1e6 / span_us if known else 0.0
    velocity = before.newest.to(newest).limited(max(span_us, 0) / 1e6).scaled(part, part) if known else still
    return _Plan(before.newest, before_us, newest, newest_us, velocity, mean, woke)
