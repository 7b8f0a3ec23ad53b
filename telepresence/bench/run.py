"""Running the live benchmarks from the command line: temporary files, partial results, interruption, the text."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from telepresence.bench import browser
from telepresence.bench.call import CallConfig, run_call
from telepresence.bench.plots import TITLES
from telepresence.bench.report import write_report
from telepresence.bench.soak import SoakConfig, run_soak, soak_text
from telepresence.errors import TelepresenceError

Report = dict[str, Any]
Say = Callable[[str], None]
Keep = Callable[[Report], None]

ENGINE_SIZE: Final = 256
COLUMNS: Final = (
    ("display_ms_p50", "display"), ("display_ms_p95", "p95"), ("age_ms_p50", "age"), ("age_ms_p95", "p95"),
    ("edge_ms_p50", "edge"), ("edge_ms_p95", "p95"), ("lag_ms_face", "lag"), ("kbps", "kbit/s"), ("fps", "1/s"),
    ("cpu_s", "CPU s"),
)  # fmt: skip


class Kept:
    """What has been measured so far, on disk after every step: an interrupted run leaves it behind, marked."""

    def __init__(self, json_out: Path | None, html_out: Path | None) -> None:
        self._json = json_out
        self._html = html_out
        self.report: Report | None = None

    def __call__(self, report: Report) -> None:
        """Take the report as far as it is there."""
        self.report = report
        if self._json is not None:
            self._json.parent.mkdir(parents=True, exist_ok=True)
            unfinished = self._json.with_name(self._json.name + ".part")
            unfinished.write_text(json.dumps(report, indent=1) + "\n")
            unfinished.replace(self._json)
        if self._html is not None:
            write_report(report, self._html)

    @contextlib.contextmanager
    def marking(self) -> Iterator[None]:
        """Mark what is kept if the run ends early, for whatever reason."""
        try:
            yield
        except KeyboardInterrupt:
            self._mark("interrupted")
            raise
        except TelepresenceError as error:
            self._mark(str(error))
            raise

    def _mark(self, why: str) -> None:
        if self.report is not None:
            self({**self.report, "complete": False, "interrupted": why})


def call(config: CallConfig, json_out: Path | None, html_out: Path | None, say: Say) -> str:
    """`bench call`. Returns the text to print.

    Raises:
        TelepresenceError: see `run_call`.
    """
    report = _live(lambda folder, keep: run_call(config, folder, say, keep), Kept(json_out, html_out))
    return call_text(report)


def soak(config: SoakConfig, json_out: Path | None, html_out: Path | None, say: Say) -> str:
    """`bench soak`. Returns the text to print.

    Raises:
        TelepresenceError: see `run_soak`.
    """
    report = _live(lambda folder, keep: run_soak(config, folder, say, keep), Kept(json_out, html_out))
    return soak_text(report["soak"])


def everything(config: CallConfig, folder: Path, say: Say) -> str:
    """`bench all`: the call, rate and distortion, links, engines, the wire. Returns the text to print.

    Raises:
        TelepresenceError: the call could not be measured; of the others a failure is noted in the report.
    """
    browser.require()
    kept = Kept(folder / "bench.json", folder / "report.html")
    with tempfile.TemporaryDirectory(prefix="telepresence-bench-") as temporary:
        config = _with_clip(config, Path(temporary))
        report = _live(lambda inner, keep: run_call(config, inner, say, keep), kept)
        with kept.marking():
            for title, part in _parts(config, folder, say).items():
                say(title)
                try:
                    report |= part()
                except TelepresenceError as error:
                    report["problems"] = [*report["problems"], f"{title}: {error}"]
                kept({**report, "complete": False})
    kept({**report, "what": "all", "complete": True})
    return f"{call_text(report)}\n\n{folder / 'report.html'}\n{folder / 'bench.json'}"


def _with_clip(config: CallConfig, folder: Path) -> CallConfig:
    """The clip is found, or drawn, once for all parts."""
    from telepresence.bench.camera import find_source

    source, name = find_source(config.clip, folder)
    return replace(config, clip=source, clip_name=name)


def _parts(config: CallConfig, folder: Path, say: Say) -> dict[str, Callable[[], Report]]:
    """What follows the call, by title."""
    rig, clip = config.rig, config.clip

    def quality() -> Report:
        from telepresence.bench.quality import rate_distortion

        if clip is None:
            return {}
        return {"rate_distortion": rate_distortion(clip, engine=rig.engine, runtime=rig.runtime, say=say)}

    def links() -> Report:
        from telepresence.bench.link import WAYS, simulated

        tables = simulated([], folder / "landmarks", 1, WAYS[-1:])  # as a call sends
        return {"links": {title: [asdict(row) for row in rows] for title, rows in tables}}

    def engines() -> Report:
        from telepresence.runtime.bench import bench

        return {"engines": bench([rig.engine], [rig.size])}

    def wire() -> Report:
        from telepresence.bench.wire import report

        return {} if clip is None else {"wire": report([clip], folder / "landmarks")["summary"]}

    return {"rate and distortion": quality, "links, simulated": links, "engines": engines, "wire": wire}


def call_text(report: Report) -> str:
    """The call's figures as a table for a terminal."""
    lines = [f"{'ms, from capture in the page':34}" + "".join(f"{title:>9}" for _, title in COLUMNS)]
    for group in ("", "squeezed", "link"):
        found = (report if not group else report[group]) or {}
        for name, title in TITLES.items():
            if found.get(name):
                said = title + {"": "", "squeezed": ", squeezed", "link": ", bad link"}[group]
                lines.append(f"{said:34}" + "".join(_cell(found[name][key]) for key, _ in COLUMNS))
    if found := report.get("lips"):
        late = [_cell(found[f"skew_ms_{q}"]).strip() for q in ("p5", "p50", "p95", "abs_p95")]
        lines.append("lips later than their sound: p5 {}, p50 {}, p95 {} ms; apart by at most {} (p95)".format(*late))
    lines += [f"not measured: {problem}" for problem in report["problems"]]
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    return f"{'-':>9}" if value is None else f"{value:9.1f}"


def _live(measure: Callable[[Path, Keep], Coroutine[Any, Any, Report]], kept: Kept) -> Report:
    browser.require()
    # A run that is ended keeps what it has: asyncio knows how to end by a Ctrl-C, and so by what is made one. Not by
    # one that is ignored, though, as it is in what a script has started with "&".
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    with tempfile.TemporaryDirectory(prefix="telepresence-bench-") as folder, kept.marking():
        report = asyncio.run(measure(Path(folder), kept))
        kept(report)
    return report
