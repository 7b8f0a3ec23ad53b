"""What this machine can do at best, measured in a second: a floor for what a picture takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np

SIDE: Final = 768  # of the matrices; three of them fit no first cache, and every second one
COPIED_BYTES: Final = 64 * 1024 * 1024  # more than caches hold
ROUNDS: Final = 6
CHILD_S: Final = 60.0  # longest wait
# numpy's library for products of matrices has threads of its own, whose number it reads when it is loaded
ONE_THREAD: Final = dict.fromkeys(
    ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)


@dataclass(frozen=True, slots=True)
class Speed:
    """Measured with the threads that a picture gets."""

    gflops: float
    """1e9 float32 additions and multiplications a second (a multiply-add is two), products of matrices."""
    gbytes: float
    """1e9 bytes a second, read plus written."""

    def floor_ms(self, macs: int, moved_bytes: int) -> float:
        """The least time for so much work: arithmetic or memory, whichever takes longer."""
        return max(2e-6 * macs / self.gflops, 1e-6 * moved_bytes / self.gbytes)


def cpu_speed(threads: int) -> Speed:
    """Measure the CPU with `threads` threads at once: in a process of its own, where numpy adds none to them."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "telepresence.runtime.speed", str(threads)],
            env=os.environ | ONE_THREAD, capture_output=True, timeout=CHILD_S, check=True,
        )  # fmt: skip
        return Speed(**json.loads(done.stdout))
    except (OSError, subprocess.SubprocessError, ValueError, TypeError):
        return measure(threads)


def measure(threads: int) -> Speed:
    """The same in this process; too much is at work if numpy's own threads are not kept to one."""
    rng = np.random.default_rng(0)
    pairs = [rng.random((2, SIDE, SIDE), np.float32) for _ in range(threads)]
    results = [np.empty((SIDE, SIDE), np.float32) for _ in range(threads)]
    part = COPIED_BYTES // 4 // threads
    sources = [np.ones(part, np.float32) for _ in range(threads)]
    targets = [np.zeros(part, np.float32) for _ in range(threads)]

    def multiply(i: int) -> None:
        np.matmul(pairs[i][0], pairs[i][1], out=results[i])

    def copy(i: int) -> None:
        np.copyto(targets[i], sources[i])

    with ThreadPoolExecutor(threads) as pool:
        flops = threads * 2 * SIDE**3 / _best(pool, multiply, threads)
        moved = threads * 2 * 4 * part / _best(pool, copy, threads)
    return Speed(round(flops / 1e9, 1), round(moved / 1e9, 2))


def _best(pool: ThreadPoolExecutor, work: Callable[[int], None], threads: int) -> float:
    """Seconds of the fastest round of all threads together."""
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        list(pool.map(work, range(threads)))
        times.append(time.perf_counter() - begin)
    return min(times)


if __name__ == "__main__":
    print(json.dumps(asdict(measure(int(sys.argv[1])))))
