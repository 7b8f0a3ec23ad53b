"""From stretches to the report, from two reports to what differs, and the page made of one."""

from __future__ import annotations

import copy
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from telepresence.bench import results
from telepresence.bench.call import Stretch
from telepresence.bench.compare import compare_text, compared, differences, load_report
from telepresence.bench.lag import Lag
from telepresence.bench.plots import over_time
from telepresence.bench.report import page
from telepresence.bench.results import FIGURES, SCHEMA, merged, noise, ratios
from telepresence.bench.run import Kept, call_text
from telepresence.bench.soak import summary
from telepresence.bench.stages import STEPS, WAYS
from telepresence.cli import main
from telepresence.errors import InputError

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "bench.md"
ABOUT = {
    "seconds": 10, "seed": 1, "clip": {"name": "<b>clip</b>"},
    "engine": {"engine": "live", "size": 256, "runtime": "r"},
    "clocks": {r: {"uncertain_ms": 0.2, "wall_ms": 1000.0 + i} for i, r in enumerate(("sender", "receiver"))},
    "problems": [], "page_problems": [], "browser": "1.2", "headless": True,
}  # fmt: skip


def stretch(path: str, display: float, group: str = "natural") -> Stretch:
    values = {name: [display, display + 2] for name in WAYS} | {name: [1.0, 2.0] for name in STEPS}
    if path != "avatar":
        values = {"display_ms": values["display_ms"]}
    figures: dict[str, Any] = {"fps": 30.0, "kbps": 35.0 if path == "avatar" else 1750.0, "payload_kbps": None}
    figures |= {"cpu_s": 60.0, "lag_ms_face": display} | results.stretch_figures(values, 10)
    cpu = {"sender's edge": 3.0, "benchmark and hub": 1.0}
    series = [[n / 30, display + n % 7] for n in range(300)]
    return Stretch(path, group, 10.0, figures, Lag(display, 0.9, 0.9), values, series, {}, cpu, {}, 1.5)


def report(display: float = 100.0, complete: bool = True) -> dict[str, Any]:
    stretches = [stretch("avatar", display), stretch("ordinary_direct", 30), stretch("avatar", display + 4)]
    stretches += [stretch("avatar", display + 50, "link"), stretch("ordinary_relayed", 40)]
    return results.report("call", 0.0, ABOUT, stretches, complete=complete)


def test_pictures_count_alike_and_stretches_make_the_noise() -> None:
    found = merged([stretch("avatar", 100), stretch("avatar", 104)])
    assert found is not None
    assert found["display_ms_p50"] == 103
    assert found["lag_ms_face"] == 102
    assert found["noise"]["lag_ms_face"] == pytest.approx(25.4, abs=0.1)  # 12.71 * 2.83 / sqrt(2)
    assert found["processes"]["sender's edge"]["cpu_s"] == 18.0
    assert merged([]) is None
    assert noise([1.0]) is None
    assert noise([None, 1.0, 1.0]) == 0
    assert noise([1.0, 2.0, 3.0]) == pytest.approx(4.30 / 3**0.5, abs=0.01)
    assert noise([1.0, 2.0] * 20) == pytest.approx(2.26 * 0.506 / 40**0.5, abs=0.01)


def test_ratios_are_of_the_avatar_to_the_ordinary_call() -> None:
    found = report()
    assert found["ratios"]["ordinary_direct"]["kbps_times_less"] == 50
    assert found["ratios"]["ordinary_direct"]["fps"] == 1
    assert ratios(None, found["avatar"]) is None


def test_every_name_in_the_report_is_documented() -> None:
    text = DOCUMENT.read_text()
    found = report()
    names = set(found) | set(FIGURES) | set(found["avatar"]) | set(found["segments"][0])
    names |= set(summary([])) | set(found["ratios"]["ordinary_direct"])
    assert {name for name in names if f"`{name}`" not in text} == set()
    assert f"`{SCHEMA}`" in text
    for name in STEPS:
        assert f"| {name} |" in text, name


def test_the_same_run_twice_agrees_and_a_slower_one_is_worse(tmp_path: Path) -> None:
    first, second = report(), report(101)
    assert {row["verdict"] for row in compared(first, first)} == {"same"}
    slower = {(r["path"], r["figure"]): r["verdict"] for r in compared(first, report(140))}
    assert slower["avatar", "display_ms_p50"] == "worse"
    assert slower["ordinary_direct", "display_ms_p50"] == "same"
    assert {row["verdict"] for row in compared(first, second) if row["path"] == "avatar"} == {"same"}
    assert "agree within noise" in compare_text(first, second)
    assert "machine cpu: other" in differences({**first, "machine": {"cpu": "other"}}, first)[0]

    for name, one in (("a", first), ("b", second)):
        (tmp_path / f"{name}.json").write_text(json.dumps(one))
    done = CliRunner().invoke(main, ["bench", "compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")])
    assert done.exit_code == 0, done.output
    assert "avatar, link" in done.output


def test_a_single_stretch_is_as_noisy_as_its_path_elsewhere() -> None:
    stretches = [stretch("avatar", 100), stretch("avatar", 104), stretch("avatar", 50, "link")]
    first = results.report("call", 0.0, ABOUT, stretches, complete=True)
    second = copy.deepcopy(first)
    second["link"]["avatar"]["lag_ms_face"] = 60.0

    def lag(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
        return next(r for r in compared(a, b) if (r["path"], r["figure"]) == ("avatar, link", "lag_ms_face"))

    found = lag(first, second)
    assert found["noise"] == pytest.approx(25.4 / 102 * (50**2 + 60**2) ** 0.5, abs=0.1)
    assert found["verdict"] == "same"
    for run in (first, second):
        run["avatar"]["noise"]["lag_ms_face"] = None
    found = lag(first, second)
    assert (found["noise"], found["verdict"]) == (pytest.approx(1.8), "worse")  # 3 % of it


def test_files_that_are_no_reports_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    with pytest.raises(InputError, match="read"):
        load_report(path)
    for text in ("{", "[]", '{"schema": "telepresence-bench/0"}'):
        path.write_text(text)
        with pytest.raises(InputError, match=r"x\.json"):
            load_report(path)


class Checker(HTMLParser):
    """Every tag is closed in order, and nothing is fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "img", "iframe")
        assert not {name for name, _ in attrs} & {"src", "href", "onload", "onclick"}
        if tag not in ("meta", "html"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if tag != "html":
            assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_else() -> None:
    text = page(report())
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert "url(" not in text
    assert "<b>clip" not in text
    assert text.count("<svg") >= 4
    assert "not complete" not in text
    assert "NaN" not in text
    assert re.search(r"1 / 50", text)


def test_pictures_that_are_seconds_late_do_not_flatten_the_others() -> None:
    def drawn(worst: float) -> str:
        series = [[n / 30, worst if n > 280 else 100.0 + n % 7] for n in range(300)]
        return over_time([{"path": "avatar", "group": "natural", "display_ms": series}])

    assert "upper edge" in drawn(5000)
    assert "upper edge" not in drawn(107)
    labels = [float(n) for n in re.findall(r">([\d.]+)</text>", drawn(5000))]
    assert max(labels) < 200


def test_a_run_that_was_interrupted_keeps_what_it_has_and_says_so(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "r.json", tmp_path / "r.html")
    kept(report(complete=False))
    with pytest.raises(KeyboardInterrupt), kept.marking():
        raise KeyboardInterrupt
    found = load_report(tmp_path / "r.json")
    assert (found["complete"], found["interrupted"]) == (False, "interrupted")
    assert found["avatar"]["display_ms_p50"] > 0
    assert "not complete (interrupted)" in (tmp_path / "r.html").read_text()


def test_a_run_without_an_avatar_or_without_anything_still_makes_a_page() -> None:
    empty = results.report("call", 0.0, ABOUT | {"problems": ["avatar: it failed"]}, [], complete=False)
    assert "avatar: it failed" in page(empty)
    assert "not measured: avatar: it failed" in call_text(empty)
    only = results.report("call", 0.0, ABOUT, [stretch("ordinary_direct", 30)], complete=True)
    Checker().feed(page(only))
    assert call_text(only).count("\n") == 1
