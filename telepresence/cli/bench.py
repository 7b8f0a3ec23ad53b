"""`telepresence bench`: what the product does on this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from telepresence.cli.options import PATH, engine_options


@click.group()
def bench() -> None:
    """Measure the product on this machine."""


@bench.command("wire")
@click.argument("clips", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--json", "json_out", type=PATH, help="Write all figures to this file.")
@click.option("--plot", "plot_out", type=PATH, help="Draw rate against distortion, .png; needs matplotlib.")
@click.option("--cache", type=PATH, default=Path("out/landmarks"), show_default=True, help="Where landmarks are kept.")
def bench_wire(clips: tuple[Path, ...], json_out: Path | None, plot_out: Path | None, cache: Path) -> None:
    """What motion costs on the wire, and how true it stays. Of a folder, all its .mp4 are taken."""
    from telepresence.bench.link import clip_files
    from telepresence.bench.wire import run_bench
    from telepresence.paths import refuse_overwriting

    files = clip_files(clips)
    refuse_overwriting({"--json": json_out, "--plot": plot_out}, files)
    click.echo(run_bench(files, cache, json_out, plot_out))


@bench.command("link")
@click.argument("clips", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--real", is_flag=True, help="A real call over UDP sockets, in real time, instead of a simulation.")
@click.option("--runs", type=click.IntRange(min=1), default=3, show_default=True, help="Of each clip and link.")
@click.option("--json", "json_out", type=PATH, help="Write all figures to this file.")
@click.option("--cache", type=PATH, default=Path("out/landmarks"), show_default=True, help="Where landmarks are kept.")
def bench_link(clips: tuple[Path, ...], real: bool, runs: int, json_out: Path | None, cache: Path) -> None:
    """What loss, jitter and outages do to the motion shown. Without CLIPS: the sample motion."""
    from telepresence.bench.link import clip_files, run_link
    from telepresence.paths import refuse_overwriting

    files = clip_files(clips)
    refuse_overwriting({"--json": json_out}, files)
    click.echo(run_link(files, cache, runs, real=real, json_out=json_out))


def _live_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of benchmarks that run a call with real browsers."""
    for option in (
        click.option("--headless/--headed", default=None, help="Browsers without windows. Default: if no display."),
        click.option("--port", default=0, help="Of the hub and the pages; 0 finds a free one."),
        click.option("--avatar", type=PATH, help="Who the sender is shown as. Default: the sample avatar."),
        click.option("--clip", type=PATH, help="What the camera sees. Default: a real face, or the sample avatar."),
        engine_options,
    ):
        command = option(command)
    return command


def _rig(options: dict[str, Any]) -> Any:
    """Take the options of what is to be started out of a command's."""
    from telepresence.bench.browser import has_display
    from telepresence.bench.rig import RigConfig

    headless = options.pop("headless")
    taken = {name: options.pop(name) for name in ("avatar", "engine", "runtime", "port")}
    taken["headless"] = not has_display() if headless is None else headless
    return RigConfig(size=int(options.pop("size")), **taken)


def _say(line: str) -> None:
    click.echo(line, err=True)


@bench.command("call")
@click.option("--seconds", type=click.FloatRange(5), default=60, show_default=True, help="Each path, all its turns.")
@click.option(
    "--path", "paths", multiple=True,
    type=click.Choice(["avatar", "ordinary_direct", "ordinary_relayed", "squeezed", "link", "sound"]),
    help="Measure only this. May be repeated. Default: all.",
)  # fmt: skip
@click.option("--seed", type=int, default=1, show_default=True, help="Of the order of paths, and of emulated loss.")
@click.option("--json", "json_out", type=PATH, help="Write all figures to this file.")
@click.option("--html", "html_out", type=PATH, help="Write the report to this file.")
@_live_options
def bench_call(json_out: Path | None, html_out: Path | None, paths: tuple[str, ...], **options: Any) -> None:
    """A call in two real browsers: the avatar, and ordinary video beside it. docs/bench.md."""
    from telepresence.bench.call import PATHS, CallConfig
    from telepresence.bench.run import call
    from telepresence.paths import refuse_overwriting

    refuse_overwriting({"--json": json_out, "--html": html_out}, (options["clip"], options["avatar"]))
    click.echo(call(CallConfig(rig=_rig(options), paths=paths or PATHS, **options), json_out, html_out, _say))


@bench.command("soak")
@click.option("--minutes", type=float, default=30, show_default=True, help="How long.")
@click.option("--json", "json_out", type=PATH, help="Write all figures to this file.")
@click.option("--html", "html_out", type=PATH, help="Write the report to this file.")
@_live_options
def bench_soak(json_out: Path | None, html_out: Path | None, **options: Any) -> None:
    """A long call: whether the age of pictures, memory, threads or open files grow."""
    from telepresence.bench.run import soak
    from telepresence.bench.soak import SoakConfig
    from telepresence.paths import refuse_overwriting

    refuse_overwriting({"--json": json_out, "--html": html_out}, (options["clip"], options["avatar"]))
    click.echo(soak(SoakConfig(rig=_rig(options), **options), json_out, html_out, _say))


@bench.command("all")
@click.option("--seconds", type=click.FloatRange(5), default=40, show_default=True, help="Each path, all its turns.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the order of paths, and of emulated loss.")
@click.option("--out", type=PATH, default=Path("out/bench"), show_default=True, help="Folder of the report.")
@_live_options
def bench_all(out: Path, **options: Any) -> None:
    """Everything in under ten minutes: the call, rate and distortion, links, engines; a report to look at."""
    from telepresence.bench.call import CallConfig
    from telepresence.bench.run import everything

    click.echo(everything(CallConfig(rig=_rig(options), **options), out, _say))


@bench.command("headset")
@click.option("--seconds", type=click.FloatRange(2), default=10, show_default=True, help="Each part.")
@click.option("--page/--no-page", default=True, help="Also the page, in a browser with an emulated headset.")
@click.option("--json", "json_out", type=PATH, help="Write all figures to this file.")
@engine_options
def bench_headset(json_out: Path | None, size: str, **options: Any) -> None:
    """Both eyes' pictures, their disparity, the stream, the headset's page. docs/headset.md."""
    from telepresence.bench.headset import HeadsetConfig, run_headset, write
    from telepresence.bench.headsettext import headset_text

    report = run_headset(HeadsetConfig(size=int(size), **options), _say)
    if json_out:
        write(report, json_out)
    click.echo(headset_text(report))


@bench.command("compare")
@click.argument("first", type=PATH)
@click.argument("second", type=PATH)
def bench_compare(first: Path, second: Path) -> None:
    """What differs between two runs beyond their noise: FIRST.json SECOND.json."""
    from telepresence.bench.compare import compare_text, load_report

    click.echo(compare_text(load_report(first), load_report(second)))
