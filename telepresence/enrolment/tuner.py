"""`python -m telepresence.enrolment.tuner`: fine-tuning as a process of its own, at the lowest priority.

What it learns from comes through standard input and what it has learned goes out by standard output, so that nothing
of it touches the disk. It ends when standard input does: whoever started it is gone.

Input: a line of JSON (`Task`), then the avatar's file, the landmarks, the times from references, and the JPEGs.
Output: lines of JSON, `{"share", "line"}` while it works; at the end `{"bytes": N}` and N bytes of the avatar's file
(0: nothing is better than before), or `{"failed": "..."}`.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.avatar.file import pack, unpack
from telepresence.errors import TelepresenceError
from telepresence.face.topology import N_LANDMARKS

if TYPE_CHECKING:
    from telepresence.enrolment.gathering import Material

NICE: Final = 19
_POINTS_BYTES: Final = N_LANDMARKS * 3 * 4


@dataclass(frozen=True, slots=True)
class Task:
    """What follows in the input, and what to do with it."""

    engine: str
    minutes: float
    avatar_bytes: int
    references: int
    square: tuple[int, int, int]
    side: int
    jpegs: tuple[int, ...]
    """Bytes of each."""


def written(avatar: bytes, material: Material, engine: str, minutes: float) -> bytes:
    """The input."""
    square = material.square
    task = Task(
        engine, minutes, len(avatar), material.from_reference_s.shape[1], (square.left, square.top, square.side),
        material.side, tuple(len(jpeg) for jpeg in material.jpegs),
    )  # fmt: skip
    landmarks = np.stack(material.landmarks).astype("<f4").tobytes()
    apart = material.from_reference_s.astype("<f4").tobytes()
    return b"".join([json.dumps(asdict(task)).encode(), b"\n", avatar, landmarks, apart, *material.jpegs])


def read(source: BinaryIO) -> tuple[Task, bytes, list[NDArray[np.float32]], NDArray[np.float32], list[bytes]]:
    """What `written` has made."""
    fields: dict[str, Any] = json.loads(source.readline())
    task = Task(**fields)
    avatar, count = source.read(task.avatar_bytes), len(task.jpegs)
    points = np.frombuffer(source.read(count * _POINTS_BYTES), "<f4").reshape(count, N_LANDMARKS, 3).astype(np.float32)
    apart = np.frombuffer(source.read(count * task.references * 4), "<f4").reshape(count, task.references)
    return task, avatar, list(points), apart.astype(np.float32), [source.read(length) for length in task.jpegs]


def main() -> None:
    """Read, learn, write."""
    os.nice(NICE)
    out = sys.stdout.buffer
    sys.stdout = sys.stderr  # whatever a library prints must not get between the lines

    def say(fields: dict[str, Any]) -> None:
        out.write(json.dumps(fields).encode() + b"\n")
        out.flush()

    try:
        tuned = _tune(sys.stdin.buffer, say)
    except TelepresenceError as error:
        say({"failed": str(error)})
        return
    except MemoryError:
        say({"failed": "there is not enough memory; close other programs and try again"})
        return
    say({"bytes": len(tuned)})
    out.write(tuned)
    out.flush()


def _tune(source: BinaryIO, say: Any) -> bytes:
    from telepresence.avatar.framing import Square
    from telepresence.enrolment.looking import decoded

    task, data, landmarks, apart, jpegs = read(source)
    threading.Thread(target=_watch, daemon=True, name="leash").start()
    from telepresence.generator.finetune import fine_tune
    from telepresence.generator.start import settle

    settle()
    square = Square(*task.square)
    pictures = [square.cut(decoded(jpeg), task.side) for jpeg in jpegs]
    avatar = unpack(data)
    tuned = fine_tune(
        avatar,
        pictures,
        landmarks,
        engine=task.engine,
        minutes=task.minutes,
        progress=lambda share, line: say({"share": round(share, 3), "line": line}),
        from_reference_s=apart,
    )
    return b"" if tuned is avatar else pack(tuned)


def _watch() -> None:
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
