"""What ownership costs: checking a file and a proof, once each, and the label, at every picture. docs/ownership.md.

Run: python scripts/ownership_cost.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from telepresence.avatar.file import pack
from telepresence.avatar.owner import public_bytes, sign, verify
from telepresence.avatar.presence import Moment, binding, new_challenge, prove, proves
from telepresence.avatar.samples import sample_avatar
from telepresence.sinks.label import LABELS, label

RUNS = 500
WARM_UP = 50


def measure(what: str, work: Callable[[], object]) -> None:
    """Print the median and the 95th percentile, microseconds."""
    took = []
    for run in range(WARM_UP + RUNS):
        begun = time.perf_counter_ns()
        work()
        if run >= WARM_UP:
            took.append((time.perf_counter_ns() - begun) / 1000)
    print(f"{what:58} {statistics.median(took):8.0f} us, p95 {sorted(took)[RUNS * 95 // 100]:6.0f}")


def main() -> None:
    """Measure everything."""
    key = Ed25519PrivateKey.generate()
    small = replace(sample_avatar(), free_for_all=False)
    data = sign(pack(replace(small, personal={"0" * 64: bytes(8_000_000)})), key, "live")
    moment = Moment(new_challenge(), bytes(32), "alice", "bob", 1, binding(bytes(32), bytes(32)))
    proof, owner = prove(moment, key), public_bytes(key)
    measure(f"once a file: whose it is ({len(data) / 1e6:.1f} MB)", lambda: verify(data))
    measure("once a connection: the challenge and the check of its proof", lambda: proves(moment, owner, proof))
    measure("once a connection, at the sender: the proof", lambda: prove(moment, key))
    for side in (256, 512):
        picture = np.zeros((side, side, 3), np.uint8)
        for text in LABELS:
            patch = label(text, side)
            measure(f"each picture, {side}x{side}: '{text}'", lambda patch=patch, picture=picture: patch.draw(picture))


if __name__ == "__main__":
    main()
