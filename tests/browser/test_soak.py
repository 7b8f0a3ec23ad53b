"""Five minutes of a call, to see whether anything grows: `pytest -m soak -s tests/browser/test_soak.py`.

Left out of the ordinary run for its length only. TELEPRESENCE_SOAK_S sets another one.
"""

from __future__ import annotations

import os
import statistics
from typing import Any

import pytest

from tests.browser.conftest import Demo
from tests.browser.test_call import stats, wait_live

pytestmark = [pytest.mark.browser, pytest.mark.soak]

SECONDS = float(os.environ.get("TELEPRESENCE_SOAK_S", "300"))
SETTLE_S = 10.0
PARTS = 5  # the run is compared fifth by fifth
GROWTH_MS = 30  # a queue that fills grows by seconds; single late pictures on a shared machine stay below this
GROWTH_MIB = 60


def test_age_and_memory_do_not_grow(page: Any, demo: Demo, figures: dict[str, object]) -> None:
    page.goto(demo.url)
    wait_live(page, demo)
    page.wait_for_timeout(SETTLE_S * 1000)
    readings, memory = [], []
    for _ in range(int(SECONDS)):
        page.wait_for_timeout(1000)
        readings.append(stats(page))
        memory.append({role: resident_mib(demo.edge(role)) for role in ("sender", "receiver")})
    length = len(readings) // PARTS
    parts = [slice(i * length, (i + 1) * length) for i in range(PARTS)]
    for name in ("age_ms_p50", "age_ms_p95", "edge_ms_p50", "edge_ms_p95", "fps", "payload_kbps", "wire_kbps"):
        figures[f"{name}, fifths of {SECONDS:.0f} s"] = [median(readings[part], name) for part in parts]
    for role in ("sender", "receiver"):
        figures[f"{role}, MiB resident"] = [round(statistics.median(m[role] for m in memory[part])) for part in parts]
    figures["sent, skipped, dropped"] = [readings[-1][name] for name in ("sent", "skipped", "dropped")]

    first, last = median(readings[parts[0]], "age_ms_p50"), median(readings[parts[-1]], "age_ms_p50")
    assert last - first < GROWTH_MS, f"the age of pictures grew from {first} to {last} ms"
    for role in ("sender", "receiver"):
        grown = memory[-1][role] - statistics.median(m[role] for m in memory[parts[1]])
        assert grown < GROWTH_MIB, f"the {role}'s edge grew by {grown:.0f} MiB after the first two fifths"


def median(readings: list[dict[str, Any]], name: str) -> float:
    return round(statistics.median(r[name] for r in readings if r[name] is not None), 1)


def resident_mib(pid: int) -> float:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
