"""Make the codec's test vectors anew: `python -m tests.wire.make_vectors`. Only after a deliberate change of format.

`stream.json`: what one encoder is told and what it and one decoder answer, step by step, with losses, pairs, repeats, a
change of avatar, numbers that wrap and values at their bounds. `refused.json`: bytes that a fresh decoder refuses.
`received.json`: what one decoder makes of several senders' messages, up to the motion: leaps, and times at their end.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from telepresence.errors import MissingReferenceError, PacketError
from telepresence.face.motion import Motion, Pose
from telepresence.wire.codec import MotionDecoder, MotionEncoder, encode_ack, encode_ping
from telepresence.wire.codec import grids as held_grids
from telepresence.wire.packets import MAX_TIME_US, Ack, MotionPacket, Ping, Pong
from tests.wire.motions import PICTURE_US, moving

FOLDER = Path(__file__).with_name("vectors")
FIRST = 2**32 - 40  # so that the sequence wraps on the way
BEGIN_US = 2**40 + 123


def main() -> None:
    """Write all files."""
    FOLDER.mkdir(exist_ok=True)
    lines = ",\n".join(json.dumps(step) for step in stream())
    (FOLDER / "stream.json").write_text(f'{{"first_sequence": {FIRST}, "steps": [\n{lines}\n]}}\n')
    for name, cases in (("refused", refused()), ("received", received())):
        lines = ",\n".join(json.dumps(case) for case in cases)
        (FOLDER / f"{name}.json").write_text(f"[\n{lines}\n]\n")


def stream() -> list[dict[str, Any]]:
    """One conversation."""
    generator = np.random.default_rng(5)
    encoder, decoder = MotionEncoder(first_sequence=FIRST), MotionDecoder()
    steps: list[dict[str, Any]] = []
    motions, at = [*moving(70, 1), *_extremes(), *moving(40, 2, 0.1)], 0
    while at < len(motions) - 1:
        pair = 80 <= at < 100
        given = []
        for i in range(1 + pair):
            time = BEGIN_US + (at + i) * PICTURE_US + int(generator.integers(-3000, 3000)) + (at > 90) * 2_000_000
            given.append(_given(time, motions[at + i], epoch=int(at > 50), rest=at % 17 == 3, still=at % 13 == 5))
        at += len(given)
        message = encode(encoder, given)
        step: dict[str, Any] = {"given": given, "message": message.hex(), "repeating": encoder.repeating}
        if generator.random() > (0.3 if 20 < at < 60 else 0.05):
            packets = decoder.receive(message)
            assert isinstance(packets, tuple)
            step["packets"] = [described(p, held_grids(decoder)[p.sequence]) for p in packets]
            ack = decoder.ack()
            step["ack"] = encode_ack(ack).hex()
            step["ack_arrives"] = bool(generator.random() > 0.2)
            if step["ack_arrives"]:
                encoder.acknowledge(ack)
        steps.append(step)
    return steps


def encode(encoder: MotionEncoder, given: list[dict[str, Any]]) -> bytes:
    """One or two motions as they stand in a vector -> a message."""
    packets = [
        MotionPacket(0, g["capture_us"], motion_of(g["motion"]), g["epoch"], g["rest"], g["still"]) for g in given
    ]
    if len(packets) == 2:
        return encoder.encode_pair(*packets)
    (p,) = packets
    return encoder.encode(p.capture_us, p.motion, epoch=p.epoch, rest=p.rest, still=p.still)


def motion_of(fields: dict[str, Any]) -> Motion:
    """A motion as it stands in a vector."""
    f = {name: np.array(value, np.float32) for name, value in fields.items()}
    pose = Pose(f["rotation"], f["translation"], fields["scale"])
    return Motion(pose, f["expression"], f["gaze"].reshape(2, 2))


def described(packet: MotionPacket, grid: list[int]) -> dict[str, Any]:
    """A motion that was received, as it stands in a vector."""
    return {
        "sequence": packet.sequence, "capture_us": packet.capture_us, "epoch": packet.epoch, "rest": packet.rest,
        "still": packet.still, "grid": grid,
    }  # fmt: skip


def refused() -> list[dict[str, str]]:
    """Bytes and why a fresh decoder refuses them."""
    whole = MotionEncoder().encode(1, moving(1)[0])
    cases = {
        "nothing at all": b"",
        "version 2": bytes([0x24]) + whole[1:],
        "an unknown kind": bytes([0x1F]) + whole[1:],
        "a plain packet's kind": bytes([0x11]) + whole[1:],
        "an unknown schema": whole[:1] + b"\x02" + whole[2:],
        "half a head": whole[:9],
        "a byte beyond what is read": whole + bytes(8) + b"\x01",
        "zeros beyond what is read": whole + bytes(8),
        "longer than any packet": whole + bytes(1160),
        "a time beyond 2**53": whole[:6] + b"\xff" * 8 + whole[14:],
        "no such interval": whole[:15] + b"\xff" * 20,
        "an escaped number without an end": whole[:15] + b"\xef" * 200,
        "a ping cut short": encode_ping(Ping(1, 2))[:-1],
        "a pong of another time": encode_ping(Pong(1, 2, 2**60)),
        "an acknowledgement cut short": encode_ack(Ack(1, 2))[:-1],
        "half a head of a difference": bytes([0x15, 0, 0]),
    }
    out = [{"why": why, "message": data.hex(), "error": "packet"} for why, data in cases.items()]
    missing = {"a reference never seen": bytes([0x15, 7, 0x10, 66, 1, 2]), "an age of zero": bytes([0x15, 7, 0, 66, 1])}
    return out + [{"why": why, "message": data.hex(), "error": "missing"} for why, data in missing.items()]


def received() -> list[dict[str, Any]]:
    """Messages of senders that know nothing of each other -> what one decoder answers to each."""
    decoder = MotionDecoder()
    return [{"why": why, "message": data.hex(), **answered(decoder, data)} for why, data in _strangers()]


def answered(decoder: MotionDecoder, data: bytes) -> dict[str, Any]:
    """What a decoder makes of a message, and what it holds then."""
    try:
        packets = decoder.receive(data)
    except PacketError as error:
        missing = isinstance(error, MissingReferenceError)
        return {"error": "missing" if missing else "packet", "ack": encode_ack(decoder.ack()).hex()}
    assert isinstance(packets, tuple)
    held = held_grids(decoder)
    found = [described(p, held[p.sequence]) if p.sequence in held else {"sequence": p.sequence} for p in packets]
    for entry, packet in zip(found, packets, strict=True):
        entry["motion"] = _fields(packet.motion, 9)  # digits that tell one float32 from the next
    return {"packets": found, "ack": encode_ack(decoder.ack()).hex()}


def _strangers() -> list[tuple[str, bytes]]:
    motions, extreme = moving(8, 3), _extremes()
    first, out = MotionEncoder(first_sequence=100), []
    for n in range(3):
        out.append((f"motion {100 + n}", first.encode(n * PICTURE_US, motions[n])))
        first.acknowledge(Ack(100))
    leap = 102 + 2**31 - 1  # signed, it is older than 101, and 100 is newer
    other = MotionEncoder(first_sequence=leap)
    out.append(("a leap by 2^31 - 1", other.encode(5_000, extreme[0])))
    other.acknowledge(Ack(leap & 0xFFFF))
    out.append(("a reference from before the leap", first.encode(3 * PICTURE_US, motions[3])))
    late = MotionEncoder(first_sequence=leap - 2**31)
    out.append(("2^31 away: older, so handed on but not held", late.encode(0, motions[4])))
    out.append(("64 behind: the same", MotionEncoder(first_sequence=leap - 64).encode(0, motions[5])))
    out.append(("63 behind: held", MotionEncoder(first_sequence=leap - 63).encode(0, motions[5])))
    pair = [MotionPacket(0, 5_000 + n * PICTURE_US, extreme[n]) for n in (1, 2)]
    out.append(("a pair that goes on after the leap", other.encode_pair(*pair)))
    end = MotionEncoder(first_sequence=leap + 3)
    out.append(("the last moment", end.encode(MAX_TIME_US - 600, motions[6])))
    end.acknowledge(Ack(leap + 3 & 0xFFFF))
    out.append(("500 us later", end.encode(MAX_TIME_US - 100, motions[7])))
    out.append(("beyond the end of time", end.encode(MAX_TIME_US + 400, motions[7])))
    pair = [MotionPacket(0, MAX_TIME_US - 100 + n * 1_000, motions[n]) for n in (0, 1)]
    last = MotionEncoder(first_sequence=leap + 9)
    out.append(("a pair whose second is beyond", last.encode_pair(*pair)))
    return out


def _given(time: int, motion: Motion, **flags: Any) -> dict[str, Any]:
    return {"capture_us": time, **flags, "motion": _fields(motion, 4)}


def _fields(motion: Motion, digits: int) -> dict[str, Any]:
    pose = motion.pose
    parts = {
        "rotation": pose.rotation, "translation": pose.translation, "gaze": motion.gaze, "expression": motion.expression
    }  # fmt: skip
    rounded = {name: [float(f"{v:.{digits}g}") for v in part.reshape(-1)] for name, part in parts.items()}
    return {**rounded, "scale": float(f"{pose.scale:.{digits}g}")}


def _extremes() -> list[Motion]:
    one = moving(1)[0]
    far = np.full(48, 1e6, np.float32)
    gaze = np.array([[1, -1], [-1, 1]], np.float32)
    return [
        Motion(Pose(np.array([3, 0.5, -0.7], np.float32), np.array([9, -9], np.float32), 0.0), far, gaze),
        one,
        Motion(Pose(np.zeros(3, np.float32), np.array([2, 2], np.float32), 99.0), -far, -gaze),
        one,
    ]


if __name__ == "__main__":
    main()
