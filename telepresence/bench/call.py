"""`telepresence bench call`: a call as an avatar and as ordinary video, in turns, on one machine, in the same browsers.

One path at a time: connect, let it settle, measure for a stretch, disconnect. What is expensive (looking for faces in
the pictures that the pages kept) is done between stretches, when nothing is measured.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from telepresence.bench import lips, load, results
from telepresence.bench.camera import FRAME_US, CameraClip, find_source, prepare
from telepresence.bench.lag import Lag, follow, lag
from telepresence.bench.paths import SMALL_HEIGHT, Avatar, Direct, Reading, Relayed, Way
from telepresence.bench.rig import Rig, RigConfig, loads, started
from telepresence.bench.stages import Shown, ages_by_mark, joined
from telepresence.errors import TelepresenceError
from telepresence.rtc.link import LinkConditions
from telepresence.rtc.monotonic import now_us

SETTLE_S: Final = 4.0  # from the first picture: rates and encoders have found their level
SETTLE_LONG_S: Final = 8.0  # the same on a bad link, whose queue is full at first, and until lips go with their sound
STRETCH_S: Final = 10.0  # about as long as one path is measured before another has its turn
LEAST_STRETCH_S: Final = 5.0  # the faces' lag needs so much
SAMPLE_GAP_MS: Final = 90  # between pictures kept for the faces' lag
LINK_ROUNDS: Final = 2
LINK_PART: Final = 0.8  # of a stretch: settling takes long there
LEAST_SQUEEZE: Final = 30_000  # bits a second: browsers go no lower
PATHS: Final = ("avatar", "ordinary_direct", "ordinary_relayed", "squeezed", "link", "sound")
BAD_LINK: Final = LinkConditions(delay_us=30_000, loss=0.05, bits_per_s=256_000)
BAD_LINK_ENCODER: Final = 190_000  # bits a second of the relay's encoder there: leaves room for headers and repairs

Say = Callable[[str], None]
Keep = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class CallConfig:
    """What `telepresence bench call` was asked for."""

    seconds: float = 60.0
    """Each path, all its stretches together."""
    clip: Path | None = None
    clip_name: str = ""
    """What the report calls it; the file's own name if empty."""
    seed: int = 1
    paths: Sequence[str] = PATHS
    rig: RigConfig = field(default_factory=RigConfig)


@dataclass
class Stretch:
    """What was noted while one path was measured, made into numbers."""

    path: str
    group: str
    """`natural`, `squeezed`, `link` or `sound`."""
    seconds: float
    figures: dict[str, Any]
    lag: Lag | None
    values: dict[str, list[float]]
    """Milliseconds of every picture, by figure and step."""
    series: list[list[float]]
    """(seconds since the run began, milliseconds until shown) of every picture."""
    counts: dict[str, Any]
    cpu_s: dict[str, float]
    memory_mib: dict[str, float]
    busy_cores: float | None
    """Cores busy with anything at all; more than this path's own says what else ran."""
    lips: dict[str, Any] | None = None
    """With sound: how far lips and sound are apart."""


async def run_call(config: CallConfig, folder: Path, say: Say, keep: Keep) -> dict[str, Any]:
    """Measure; `keep` gets the report as far as it is there after every stretch.

    Raises:
        TelepresenceError: something cannot be used, or has failed before anything was measured.
    """
    before = results.machine()
    source, name = await asyncio.to_thread(find_source, config.clip, folder)
    name = config.clip_name or name
    say(f"camera: {name}")
    clip = await asyncio.to_thread(prepare, source, name, folder)
    async with started(config.rig, clip, say) as rig:
        run = _Run(rig, config, before, say, keep)
        await run.measure()
        return run.report(complete=True)


class _Run:
    def __init__(self, rig: Rig, config: CallConfig, before: dict[str, Any], say: Say, keep: Keep) -> None:
        self._rig = rig
        self._before = before
        self._config = config
        self._say = say
        self._keep = keep
        self._began_us = now_us()
        self._began = time.time()
        self._stretches: list[Stretch] = []
        self._problems: list[str] = []
        self._random = random.Random(config.seed)
        self._clocks: dict[str, Any] = {}
        self._stats: dict[str, Any] = {}

    async def measure(self) -> None:
        """Every path in its turns."""
        for role, page in (("sender", self._rig.sender), ("receiver", self._rig.receiver)):
            self._clocks[role] = await page.call("clock")
        self._stats = await self._rig.ask("receiver", "/api/stats")
        for group, ways, seconds in self._plan():
            for way in ways() if callable(ways) else ways:
                await self._try(group, way, seconds)

    def _plan(self) -> list[tuple[str, Any, float]]:
        """Groups of paths in the order of measurement; the order within a round is drawn, so that none is favoured."""
        chosen, seconds = self._config.paths, self._config.seconds
        rounds = max(1, round(seconds / STRETCH_S))
        stretch = max(LEAST_STRETCH_S, seconds / rounds)
        made: dict[str, Callable[[], Way]] = {
            "avatar": Avatar, "ordinary_direct": Direct, "ordinary_relayed": Relayed,
        }  # fmt: skip
        plan: list[tuple[str, Any, float]] = []
        for _ in range(rounds):
            names = [name for name in made if name in chosen]
            self._random.shuffle(names)
            plan.append(("natural", [made[name]() for name in names], stretch))
        if "squeezed" in chosen:
            plan.append(("squeezed", self._squeezed, stretch))
        if "link" in chosen:
            seeds = range(self._config.seed, self._config.seed + LINK_ROUNDS)
            plan += [("link", self._bad(seed), max(LEAST_STRETCH_S, LINK_PART * stretch)) for seed in seeds]
        if "sound" in chosen:
            plan.append(("sound", [Avatar(sound=True)], stretch))
        return plan

    def _bad(self, seed: int) -> list[Way]:
        """All three on a bad link."""
        ways: list[Way] = [
            Avatar(link=BAD_LINK, seed=seed),
            Direct(link=BAD_LINK, seed=seed),
            Relayed(link=BAD_LINK, seed=seed, bitrate=BAD_LINK_ENCODER, height=SMALL_HEIGHT),
        ]
        self._random.shuffle(ways)
        return ways

    def _squeezed(self) -> list[Way]:
        """Ordinary calls at the rate that the avatar took, pictures as tall as its."""
        ours = [s.figures["kbps"] for s in self._stretches if s.path == "avatar" and s.group == "natural"]
        bits = max(LEAST_SQUEEZE, round(1000 * (sum(ours) / len(ours) if ours else 36)))
        return [
            Direct(bitrate=bits, shrink=480 / SMALL_HEIGHT),
            Relayed(bitrate=bits, height=SMALL_HEIGHT),
        ]

    async def _try(self, group: str, way: Way, seconds: float) -> None:
        """Measure one path; one that fails is noted, and the others are measured all the same."""
        title = way.name if group == "natural" else f"{way.name}, {group}"
        try:
            stretch = await self._stretch(group, way, seconds)
        except (TelepresenceError, TimeoutError) as error:
            self._problems.append(f"{title}: {str(error) or type(error).__name__}")
            self._say(f"{title}: FAILED, {str(error) or type(error).__name__}")
        else:
            self._stretches.append(stretch)
            self._say(f"{title}: {results.line(stretch.figures)}")
        self._keep(self.report(complete=False))

    async def _stretch(self, group: str, way: Way, seconds: float) -> Stretch:
        rig = self._rig
        try:
            await way.connect(rig)
            await asyncio.sleep(SETTLE_LONG_S if group in ("link", "sound") else SETTLE_S)
            before = await way.read(rig)
            if isinstance(way, Avatar):
                way.notes.clear()
            begun_us, cost_before, busy_before = now_us(), loads(rig), load.busy_s()
            for page in (rig.sender, rig.receiver):
                await page.call("begin", {"gap_ms": SAMPLE_GAP_MS})
            await asyncio.sleep(seconds)
            after = await way.read(rig)
            ended_us, busy_after, cost_after = now_us(), load.busy_s(), loads(rig, memory=True)
            noted = [
                await page.call("end", {"upload": f"samples/{role}"})
                for role, page in (("sender", rig.sender), ("receiver", rig.receiver))
            ]
        finally:
            await way.disconnect(rig)
        took_s = (ended_us - begun_us) / 1e6
        sent, shown = ([Shown.of(row) for row in one["pictures"] if row[0] <= ended_us] for one in noted)
        stretch = Stretch(
            way.name, group, took_s, {}, None, {}, [], {},
            {name: round(s, 2) for name, s in load.spent(cost_before, cost_after).items()},
            {name: round(one.memory_mib, 1) for name, one in cost_after.items()},
            _cores(busy_before, busy_after, took_s),
        )  # fmt: skip
        stretch.counts["gone on meanwhile"] = [one["other"] for one in noted]
        notes = way.notes if isinstance(way, Avatar) else []
        self._fill(stretch, sent, shown, notes, (before, after), (begun_us, ended_us))
        await asyncio.to_thread(self._look, stretch)
        if way.name == "avatar" and group == "sound":
            ages = [(1e6 * at + self._began_us, ms) for at, ms in stretch.series]
            spoken, heard = (one["sound"] for one in noted)
            visible = stretch.values["to visible"]
            visible_ms = statistics.median(visible) if visible else None
            stretch.lips = lips.summary(spoken, heard, ages, _seen_later_ms(stretch, sent), visible_ms)
        return stretch

    def _fill(
        self,
        stretch: Stretch,
        sent: Sequence[Shown],
        shown: Sequence[Shown],
        notes: Sequence[Sequence[Any]],
        readings: tuple[Reading, Reading],
        span_us: tuple[int, int],
    ) -> None:
        before, after = readings
        if notes:
            pictures = joined(notes, shown, *span_us)
            stretch.values = {**pictures.steps(), **{name: pictures.way(name) for name in results.WAY_NAMES}}
            ages = [[row["shown"], (row["shown"] - row["captured"]) / 1000] for row in pictures.rows if "shown" in row]
            if not pictures.from_page:
                stretch.values["age_ms"] = stretch.values["display_ms"] = []
            stretch.counts |= {name: pictures.passed(name) for name in results.MOMENTS}
        else:
            ages = ages_by_mark(sent, shown, self._rig.clip.frames)
            stretch.values = {"display_ms": [age for _, age in ages]}
            stretch.counts["numbers read"] = sum(one.number is not None for one in shown)
        stretch.values["to visible"] = [(s.visible_us - s.shown_us) / 1000 for s in shown if s.visible_us is not None]
        stretch.counts |= {"camera pictures": len(sent), "pictures presented": len(shown)}
        stretch.counts |= {"before": before.extra, "after": after.extra}
        stretch.series = [[round((at - self._began_us) / 1e6, 3), round(age, 1)] for at, age in ages]
        stretch.figures = results.stretch_figures(stretch.values, stretch.seconds) | {
            "fps": round(len(shown) / stretch.seconds, 1),
            "kbps": round((after.wire_bytes - before.wire_bytes) * 8 / 1000 / stretch.seconds, 1),
            "payload_kbps": None
            if after.payload_bytes is None or before.payload_bytes is None
            else round((after.payload_bytes - before.payload_bytes) * 8 / 1000 / stretch.seconds, 1),
            "cpu_s": results.cpu_a_minute(stretch.cpu_s, stretch.seconds),
        }

    def _look(self, stretch: Stretch) -> None:
        """Find the faces in what the pages kept, and how far one is behind the other."""
        samples = self._rig.pages.samples
        camera, screen = samples.pop("sender", []), samples.pop("receiver", [])
        moves = follow(camera), follow(screen)
        stretch.lag = lag(*moves)
        stretch.figures |= results.lag_figures(stretch.lag)
        stretch.counts |= {
            "pictures looked at": [len(camera), len(screen)],
            "without a face": [move.missed for move in moves],
        }

    def report(self, *, complete: bool) -> dict[str, Any]:
        """The report so far."""
        rig, config = self._rig, self._config
        about = {
            "machine": self._before,
            "seconds": config.seconds,
            "seed": config.seed,
            "clip": _clip(rig.clip),
            "browser": rig.sender.version,
            "headless": rig.config.headless,
            "engine": {name: self._stats.get(name) for name in ("engine", "size", "runtime")},
            "clocks": self._clocks,
            "page_problems": [*rig.sender.problems, *rig.receiver.problems],
            "problems": list(self._problems),
        }
        return results.report("call", self._began, about, self._stretches, complete=complete)


def _clip(clip: CameraClip) -> dict[str, Any]:
    return {"name": clip.name, "pictures": clip.frames, "seconds": round(clip.frames * FRAME_US / 1e6, 2)}


def _cores(before: float | None, after: float | None, seconds: float) -> float | None:
    return None if before is None or after is None else round((after - before) / seconds, 2)


def _seen_later_ms(stretch: Stretch, sent: Sequence[Shown]) -> float | None:
    """By how much the face on the screen is later than its pictures' capture times say: motion is smoothed.

    The faces' lag begins when the sender's page shows the picture; how long that takes is known of its own camera.
    """
    previews = [(one.shown_us - one.captured_us) / 1000 for one in sent if one.captured_us is not None]
    lag_ms, display_ms = stretch.figures["lag_ms_face"], stretch.figures["display_ms_p50"]
    if lag_ms is None or display_ms is None or not previews:
        return None
    return float(lag_ms + statistics.median(previews) - display_ms)
