"""Coverage-guided fuzzing of the motion channel's decoder: `python -m tests.wire.fuzz --seconds 60`.

An input is a conversation: messages, each with its length (one byte) before it, fed to one decoder. Inputs that reach a
new pair of successive lines in `telepresence/wire` are added to `corpus.txt`, in hex, one a line, which loses none;
`test_corpus.py` replays them. Anything but a motion within bounds or a PacketError ends the run with the input printed.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from telepresence.errors import PacketError
from telepresence.face.motion import MAX_TRANSLATION, SCALE_RANGE, Motion
from telepresence.wire.codec import HELD, MotionDecoder, MotionEncoder, encode_ack, encode_ping, grids
from telepresence.wire.packets import Ack, MotionPacket, Ping, Pong
from telepresence.wire.plain import decode, encode
from tests.wire.motions import PICTURE_US, moving

CORPUS = Path(__file__).with_name("corpus.txt")
Edge = tuple[str, int, int]


def split(data: bytes) -> list[bytes]:
    """An input -> its messages."""
    out, at = [], 0
    while at < len(data):
        out.append(data[at + 1 : at + 1 + data[at]])
        at += 1 + data[at]
    return out


def join(messages: list[bytes]) -> bytes:
    """Messages -> an input."""
    return b"".join(bytes([len(m[:255])]) + m[:255] for m in messages)


def feed(data: bytes) -> None:
    """Give an input to a decoder, and its messages to the plain one; AssertionError if the face leaves its bounds."""
    decoder = MotionDecoder()
    for message in split(data):
        try:
            received = decoder.receive(message)
        except PacketError:
            continue
        for packet in received if isinstance(received, tuple) else ():
            check(packet.motion)
        assert len(grids(decoder)) <= HELD
    for message in split(data)[:3]:
        try:
            found = decode(message)
        except PacketError:
            continue
        if isinstance(found, MotionPacket):
            check(found.motion)
    encoder = MotionEncoder()
    encoder.encode(0, _MOTION)
    encoder.acknowledge(decoder.ack())


def check(motion: Motion) -> None:
    """A motion must be one that a face can make."""
    pose = motion.pose
    values = np.concatenate([pose.rotation, pose.translation, [pose.scale], motion.gaze.reshape(-1), motion.expression])
    assert np.isfinite(values).all()
    assert np.linalg.norm(pose.rotation) <= 3.1417
    assert np.abs(pose.translation).max() <= MAX_TRANSLATION
    assert SCALE_RANGE[0] <= pose.scale <= SCALE_RANGE[1]
    assert np.abs(motion.expression).max() <= 6
    assert np.abs(motion.gaze).max() <= 0.1201


def seeds() -> list[bytes]:
    """One ordinary conversation of each sort."""
    encoder, decoder, messages = MotionEncoder(), MotionDecoder(), []
    for i, motion in enumerate(moving(6)):
        messages.append(encoder.encode(i * PICTURE_US, motion))
        decoder.receive(messages[-1])
        if i < 3:
            encoder.acknowledge(decoder.ack())
    others = [encode_ping(Ping(1, 2)), encode_ping(Pong(1, 2, 3)), encode_ack(Ack(7, 5)), encode_ack(Ack(None))]
    pair = encoder.encode_pair(MotionPacket(0, 10**6, _MOTION), MotionPacket(0, 10**6 + PICTURE_US, moving(9)[8]))
    return [join(messages), join(others), join([encode(MotionPacket(1, 2, _MOTION))]), join([*messages[:3], pair])]


def mutate(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """One input -> another like it."""
    messages = split(data) or [b""]
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(messages))
        message = bytearray(messages[at])
        choice = rng.randrange(6)
        if choice == 0 and message:
            message[rng.randrange(len(message))] = rng.randrange(256)
        elif choice == 1 and message:
            message[rng.randrange(len(message))] ^= 1 << rng.randrange(8)
        elif choice == 2:
            del message[rng.randrange(len(message) + 1) :]
        elif choice == 3:
            message += rng.choice([b"\0", b"\xff", rng.randbytes(4)]) * rng.randint(1, 12)
        elif choice == 4:
            messages.insert(at, rng.choice(split(rng.choice(others)) or [b""]))
            continue
        elif len(messages) > 1:
            del messages[at]
            continue
        messages[at] = bytes(message)
    return join(messages[:8])


def covered(run: Callable[[], None]) -> set[Edge]:
    """Pairs of successive lines that a call runs through in the wire package."""
    edges: set[Edge] = set()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        name = frame.f_code.co_filename
        if "telepresence/wire" not in name:
            return None
        before = 0

        def line(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal before
            if event == "line":
                edges.add((name, before, frame.f_lineno))
                before = frame.f_lineno
            return line

        return line

    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(None)
    return edges


def main() -> None:
    """Fuzz for a while and add to the corpus."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, known, corpus = random.Random(options.seed), set[Edge](), read_corpus()
    tried, end = 0, time.monotonic() + options.seconds
    queue = seeds() + corpus
    while queue or time.monotonic() < end:
        data = queue.pop() if queue else mutate(rng.choice(corpus), corpus, rng)
        tried += 1
        try:
            new = covered(lambda data=data: feed(data)) - known  # type: ignore[misc]
        except Exception:
            print(data.hex())
            raise
        if new:
            known |= new
            corpus.append(data)
    corpus = sorted(set(corpus))
    CORPUS.write_text("".join(f"{data.hex()}\n" for data in corpus))
    print(f"{tried} inputs, {len(known)} pairs of lines, {len(corpus)} kept: {CORPUS}")


def read_corpus() -> list[bytes]:
    """What earlier runs kept."""
    return [bytes.fromhex(line) for line in CORPUS.read_text().split()] if CORPUS.exists() else []


_MOTION = moving(1)[0]

if __name__ == "__main__":
    main()
