"""The command `telepresence`: one thin function per command. Heavy imports wait until a command needs them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

import click
from click.core import ParameterSource

from telepresence import __version__, cli_avatar
from telepresence.errors import InputError, TelepresenceError
from telepresence.native_logs import detach_stderr
from telepresence.runtime.info import DEFAULT_ENGINE
from telepresence.tuning import require_tuning, tune_with_bar

# numpy's OpenBLAS starts a thread per core even for matrices as small as ours, and they spin between two pictures: that
# took three quarters of a core in the kernel. It reads this once, when numpy is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

_PATH = click.Path(path_type=Path)
_SIZE = click.Choice(["128", "256", "512"])


class _Group(click.Group):
    """Shows our own errors as one line, without a traceback, and ends with status 2."""

    order: ClassVar[tuple[str, ...]] = (
        "demo", "enrol", "avatar", "render", "recording", "hub", "join", "doctor", "engines", "bench", "evaluate",
        "train",
    )  # fmt: skip

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in self.order if name in self.commands]

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TelepresenceError as error:
            click.echo(f"telepresence: {error}", err=True)
            sys.exit(2)
        except KeyboardInterrupt:
            sys.exit(130)


def _engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that draws pictures."""
    for option in (
        click.option("--runtime", help="auto (the fastest here), or a name that `engines list` shows."),
        click.option("--size", type=_SIZE, default="256", show_default=True, help="Picture side."),
        click.option("--engine", default=DEFAULT_ENGINE, show_default=True, help="A shipped name, or a folder."),
    ):
        command = option(command)
    return command


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="telepresence")
def main() -> None:
    """Be present as an avatar: only motion crosses the network, the receiver draws the picture."""
    detach_stderr()


main.add_command(cli_avatar.avatar)
main.add_command(cli_avatar.recording)


@main.command()
@click.option("--camera", default="browser", show_default=True, help="browser, sample (no camera), a FILE or a DEVICE.")
@click.option("--avatar", type=_PATH, help="The avatar to be shown as. Default: your own, or the sample.")
@click.option("--port", default=8080, show_default=True, help="Where the page is served, on this machine only.")
@click.option("--open/--no-open", "open_browser", default=True, help="Open the page in the browser.")
@_engine_options
def demo(
    camera: str, avatar: Path | None, port: int, open_browser: bool, engine: str, size: str, runtime: str | None
) -> None:
    """A whole call on this machine: your camera in, your avatar out as the far end sees it."""
    from telepresence.demo import DemoConfig, run_demo

    run_demo(DemoConfig(camera, avatar, port, open_browser, engine, int(size), runtime))


@main.command()
@click.argument("sources", nargs=-1, required=True, type=_PATH, metavar="PHOTO... | VIDEO")
@click.option("--out", type=_PATH, required=True, help="Where to write the avatar, NAME.avatar.")
@click.option("--name", help="What the avatar is called. Default: the name of OUT.")
@click.option("--engine", help="Engine that the avatar is meant for, and fine-tuned for. Default: any; live.")
@click.option(
    "--references", type=click.IntRange(1, 32), default=8, show_default=True,
    help="Pictures to keep at most. More of a lively video look better, and make the file larger.",
)  # fmt: skip
@click.option(
    "--fine-tune", "minutes", type=click.FloatRange(min=0, min_open=True), metavar="MINUTES",
    help="Learn what is this person's own, for so long at most. Needs torch: make setup-train. "
    "live learns from a VIDEO, fewshot from PHOTOs too.",
)  # fmt: skip
@click.option(
    "--whole", type=_PATH, metavar="DIR",
    help="With --fine-tune and fewshot: the generator's weights too; writes an engine of this person's own.",
)  # fmt: skip
def enrol(
    sources: tuple[Path, ...],
    out: Path,
    name: str | None,
    engine: str | None,
    references: int,
    minutes: float | None,
    whole: Path | None,
) -> None:
    """Make an avatar from photos of a person, or from one video."""
    from telepresence.avatar.enrol import all_photos, enrol_with_footage
    from telepresence.avatar.owner import own_key, save_signed
    from telepresence.paths import refuse_overwriting, require_suffix
    from telepresence.runtime.info import find_engine

    require_suffix("--out", out, ".avatar")
    refuse_overwriting({"--out": out}, sources)
    if engine is not None:
        find_engine(engine)
    if whole is not None and minutes is None:
        raise InputError("--whole says what --fine-tune MINUTES learns; give that too")
    if minutes is not None:
        photos = len(sources) if all_photos(sources) else None
        given = click.get_current_context().get_parameter_source("references") is ParameterSource.COMMANDLINE
        asked = references if given else 1
        require_tuning(engine or DEFAULT_ENGINE, photos=photos, references=asked, whole=whole)
    key, made = own_key(), "photos" if all_photos(sources) else "video"  # a damaged key is told before the work
    avatar, footage = enrol_with_footage(
        sources,
        name=name or out.stem,
        engine=engine,
        references=references,
        progress=lambda line: click.echo(line, err=True),
    )
    written = save_signed(avatar, out, key, made)  # already now: a call that shows it can begin, and changes over later
    click.echo(f"{out}: {len(avatar.references)} reference(s), {written / 1024:.0f} KiB")
    if minutes is not None:
        tuned = tune_with_bar(avatar, footage, engine or DEFAULT_ENGINE, minutes, whole)
        if tuned is avatar:
            click.echo(f"{out}: fine-tuning did not help this avatar, which stays as it is")
        else:
            click.echo(f"{out}: fine-tuned, {save_signed(tuned, out, key, made) / 1024:.0f} KiB")
            if whole is not None:
                click.echo(f"{whole}: an engine of this person's own; draw with: --avatar {out} --engine {whole}")


@main.command()
@click.option("--avatar", type=_PATH, help="Default: the sample avatar.")
@click.option("--drive", type=_PATH, help="A clip of a face, or a .motion track. Default: the recorded motion.")
@click.option("--out", type=_PATH, required=True, help="The video to write, .mp4.")
@click.option(
    "--framing",
    type=click.Choice(["relative", "absolute"]),
    default="relative",
    show_default=True,
    help="relative keeps the avatar framed as enrolled; absolute puts the head where the driver's is.",
)
@click.option("--json", "json_out", type=_PATH, help="Write a report to this file.")
@click.option("--label/--no-label", default=True, help="Mark the pictures as an avatar's. Default: they are.")
@_engine_options
def render(
    avatar: Path | None, drive: Path | None, out: Path, framing: Literal["relative", "absolute"], json_out: Path | None,
    label: bool, engine: str, size: str, runtime: str | None,
) -> None:  # fmt: skip
    """Drive an avatar with a clip: the call's own modules in a row, without a network."""
    from telepresence.render import render_files

    report = render_files(
        avatar, drive, out, engine=engine, size=int(size), framing=framing, runtime=runtime, json_out=json_out,
        label=cli_avatar.own_avatar_label(avatar) if label else None,
    )  # fmt: skip
    for warning in report.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"{out}: {report.text()}")


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for everybody.")
@click.option("--port", default=8081, show_default=True)
@click.option("--room", help="Room to print a link for. Default: a new random name.")
@click.option("--origin", "origins", multiple=True, help="Further origin that pages may come from. May be repeated.")
@click.option("--public-url", metavar="URL", help="Where others reach the hub: https://hub.example.org.")
@click.option("--certificate", "certificate_file", type=_PATH, metavar="FILE", help="For HTTPS: chain, PEM.")
@click.option("--key", "key_file", type=_PATH, metavar="FILE", help="For HTTPS: private key, PEM.")
@click.option("--behind-proxy", "proxies", multiple=True, metavar="ADDRESS", help="Believe this proxy's X-Forwarded-*.")
@click.option("--stun", multiple=True, metavar="URL", help="STUN server for participants. May be repeated.")
@click.option("--turn", multiple=True, metavar="URL", help="TURN server for participants. May be repeated.")
@click.option("--turn-secret-file", type=_PATH, metavar="FILE", help="The TURN server's static-auth-secret.")
@click.option("--relay-only", is_flag=True, help="Participants connect through TURN only: nobody sees an address.")
def hub(
    host: str,
    port: int,
    room: str | None,
    origins: tuple[str, ...],
    public_url: str | None,
    certificate_file: Path | None,
    key_file: Path | None,
    proxies: tuple[str, ...],
    stun: tuple[str, ...],
    turn: tuple[str, ...],
    turn_secret_file: Path | None,
    relay_only: bool,
) -> None:
    """Run a hub: rooms, tokens, signalling, the page for browsers. It never sees a camera picture."""
    from telepresence.hub.ice import ice_config
    from telepresence.hub.serve import config_from_environment, run_hub
    from telepresence.hub.tls import certificate

    config = config_from_environment(origins, ice=ice_config(stun, turn, turn_secret_file, relay_only=relay_only))
    tls = certificate(certificate_file, key_file)
    run_hub(host, port, config, room=room, public_url=public_url, certificate=tls, proxies=proxies)


def _url_from_environment() -> str:
    from telepresence.hub.urls import URL_VARIABLE

    if url := os.environ.pop(URL_VARIABLE, ""):  # not for this process's own children
        return url
    raise InputError(f"with - in place of the URL, put the link that the hub printed into {URL_VARIABLE}")


def _trust(_context: click.Context, _option: click.Parameter, path: Path | None) -> None:
    if path is not None:
        from telepresence.hub.tls import CA_VARIABLE, client_context

        os.environ[CA_VARIABLE] = str(path)
        client_context()  # says if the file is no good


_ca_option = click.option(
    "--ca",
    type=_PATH,
    metavar="FILE",
    expose_value=False,
    callback=_trust,
    help="Trust the hub by this certificate only, PEM. Also: TELEPRESENCE_CA.",
)


@main.command()
@click.argument("url")
@click.option("--camera", default="browser", show_default=True, help="browser, sample, none, a FILE or a DEVICE.")
@click.option("--avatar", type=_PATH, help="The avatar to be shown as. Default: your own, or the sample.")
@click.option(
    "--sink", multiple=True, default=["browser"], show_default=True, metavar="SINK",
    help="browser, a FILE.mp4, camera[:DEVICE] (a virtual camera), headset[:PORT] or null. The first three may be "
    "combined: repeat the option.",
)  # fmt: skip
@click.option("--name", default="", help="What the others see as your name.")
@click.option("--page-port", default=0, help="Port of your own page; 0 finds a free one.")
@click.option("--page-origin", "page_origins", multiple=True, help="Further origin that may use the page's API.")
@click.option(
    "--thrifty", is_flag=True, help="Send less: nothing while you keep still, else two motions a message, 33 ms later."
)
@click.option("--relay-only", is_flag=True, help="Connect by TURN only: nobody sees your address.")
@click.option("--json-ready", is_flag=True, help="Print one JSON line on standard output when ready.")
@_ca_option
@_engine_options
def join(url: str, **options: Any) -> None:
    """Join a room: camera in, motion out; motion in, pictures out.

    URL is the link that the hub printed; with - it is taken from the environment variable TELEPRESENCE_URL, so that
    other users of this machine cannot read it in the list of processes.
    """
    if url == "-":
        url = _url_from_environment()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # its products are tiny, and idle threads of it spin
    from telepresence.paths import refuse_overwriting
    from telepresence.rtc.edge import EdgeConfig, run_edge

    options["size"] = int(options["size"])
    config = EdgeConfig(url=url, **options)
    refuse_overwriting({"--sink": config.file()}, (Path(options["camera"]), options["avatar"]))
    run_edge(config)


@main.command()
@click.option("--json", "print_json", is_flag=True, help="Print the findings as JSON.")
@click.option("--hub", "hub_url", metavar="URL", help="Examine the way to this hub instead: the link to a room, best.")
@_ca_option
def doctor(print_json: bool, hub_url: str | None) -> None:
    """Examine this machine: what a call needs, what is missing, and how to get it.

    With --hub, enters the room for a moment: the others see somebody come and go.
    """
    from telepresence.doctor import run_doctor

    if hub_url is not None:
        from telepresence.doctor_hub import run_hub_doctor

        sys.exit(run_hub_doctor(_url_from_environment() if hub_url == "-" else hub_url, print_json=print_json))
    sys.exit(run_doctor(print_json=print_json))


@main.group()
def engines() -> None:
    """List, compile, check and measure engines."""


_NAMES = click.argument("names", nargs=-1, metavar="[ENGINE]...")
_SIZES = click.option("--size", "sizes", type=_SIZE, multiple=True, help="Picture side; default: all that it has.")


@engines.command("list")
def engines_list() -> None:
    """Show the engines and the runtimes that can execute them here."""
    from telepresence.runtime.report import list_engines_text

    click.echo(list_engines_text())


@engines.command("build")
@_NAMES
@_SIZES
@click.option(
    "--compatible", type=click.Choice(["none", "version", "capability", "ampere"]), default="none", show_default=True,
    help="What else plans may run on: later versions of TensorRT, GPUs of the same compute capability, or all since "
    "Ampere; slower.",
)  # fmt: skip
def engines_build(names: tuple[str, ...], sizes: tuple[str, ...], compatible: str) -> None:
    """Compile engines for this machine's GPU now, and not at the first call. Without ENGINE: all shipped ones."""
    from telepresence.runtime.commands import build_plans

    for line in build_plans(names, [int(size) for size in sizes], compatible):
        click.echo(line)


@engines.command("verify")
@_NAMES
@_SIZES
@click.option("--runtime", "runtimes", multiple=True, help="Only this one. May be repeated.")
@click.option("--json", "json_out", type=_PATH, help="Write the findings to this file too.")
def engines_verify(
    names: tuple[str, ...], sizes: tuple[str, ...], runtimes: tuple[str, ...], json_out: Path | None
) -> None:
    """Compare runtimes with the reference; status 1 if one draws something else. Without ENGINE: all shipped ones."""
    from telepresence.paths import refuse_overwriting
    from telepresence.runtime.commands import verify_engines
    from telepresence.runtime.info import find_engine

    refuse_overwriting({"--json": json_out}, [path for name in names for path in find_engine(name).paths])
    text, fine = verify_engines(names, [int(size) for size in sizes], runtimes, json_out)
    click.echo(text)
    sys.exit(0 if fine else 1)


@engines.command("bench")
@_NAMES
@_SIZES
@click.option(
    "--runtime", "runtimes", multiple=True, help="Only this one. May be repeated. Default: all but torch-cpu."
)
@click.option("--threads", type=click.IntRange(1, 64), multiple=True, help="CPU threads; default: what a call uses.")
@click.option("--json", "json_out", type=_PATH, help="Write the figures to this file too.")
def engines_bench(
    names: tuple[str, ...],
    sizes: tuple[str, ...],
    runtimes: tuple[str, ...],
    threads: tuple[int, ...],
    json_out: Path | None,
) -> None:
    """Measure engines in every runtime that is installed. Without ENGINE: all shipped ones."""
    from telepresence.paths import refuse_overwriting
    from telepresence.runtime.bench import bench
    from telepresence.runtime.info import find_engine
    from telepresence.runtime.report import bench_text, write_bench

    refuse_overwriting({"--json": json_out}, [path for name in names for path in find_engine(name).paths])
    chosen = [int(size) for size in sizes] or None
    figures = bench(names, chosen, threads=threads, only=runtimes, say=lambda line: click.echo(line, err=True))
    click.echo(bench_text(figures))
    if json_out:
        write_bench(figures, json_out)


@main.group()
def bench() -> None:
    """Measure the product on this machine."""


@bench.command("wire")
@click.argument("clips", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--json", "json_out", type=_PATH, help="Write all figures to this file.")
@click.option("--plot", "plot_out", type=_PATH, help="Draw rate against distortion, .png; needs matplotlib.")
@click.option("--cache", type=_PATH, default=Path("out/landmarks"), show_default=True, help="Where landmarks are kept.")
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
@click.option("--json", "json_out", type=_PATH, help="Write all figures to this file.")
@click.option("--cache", type=_PATH, default=Path("out/landmarks"), show_default=True, help="Where landmarks are kept.")
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
        click.option("--avatar", type=_PATH, help="Who the sender is shown as. Default: the sample avatar."),
        click.option("--clip", type=_PATH, help="What the camera sees. Default: a real face, or the sample avatar."),
        _engine_options,
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
@click.option("--json", "json_out", type=_PATH, help="Write all figures to this file.")
@click.option("--html", "html_out", type=_PATH, help="Write the report to this file.")
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
@click.option("--json", "json_out", type=_PATH, help="Write all figures to this file.")
@click.option("--html", "html_out", type=_PATH, help="Write the report to this file.")
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
@click.option("--out", type=_PATH, default=Path("out/bench"), show_default=True, help="Folder of the report.")
@_live_options
def bench_all(out: Path, **options: Any) -> None:
    """Everything in under ten minutes: the call, rate and distortion, links, engines; a report to look at."""
    from telepresence.bench.call import CallConfig
    from telepresence.bench.run import everything

    click.echo(everything(CallConfig(rig=_rig(options), **options), out, _say))


@bench.command("headset")
@click.option("--seconds", type=click.FloatRange(2), default=10, show_default=True, help="Each part.")
@click.option("--page/--no-page", default=True, help="Also the page, in a browser with an emulated headset.")
@click.option("--json", "json_out", type=_PATH, help="Write all figures to this file.")
@_engine_options
def bench_headset(json_out: Path | None, size: str, **options: Any) -> None:
    """Both eyes' pictures, their disparity, the stream, the headset's page. docs/headset.md."""
    from telepresence.bench.headset import HeadsetConfig, run_headset, write
    from telepresence.bench.headsettext import headset_text

    report = run_headset(HeadsetConfig(size=int(size), **options), _say)
    if json_out:
        write(report, json_out)
    click.echo(headset_text(report))


@bench.command("compare")
@click.argument("first", type=_PATH)
@click.argument("second", type=_PATH)
def bench_compare(first: Path, second: Path) -> None:
    """What differs between two runs beyond their noise: FIRST.json SECOND.json."""
    from telepresence.bench.compare import compare_text, load_report

    click.echo(compare_text(load_report(first), load_report(second)))


@main.command()
@click.option("--clips", type=_PATH, required=True, help="A folder of videos, with a MANIFEST.json or without.")
@click.option("--shots", default="1,8,32", show_default=True, help="Numbers of references; 8@60: from the first 60 %.")
@click.option("--fine-tune", is_flag=True, help="Also 8+ft: learn on the first 60 %, be judged on the last 40 %.")
@click.option("--whole", is_flag=True, help="With fewshot also 8+whole: the generator's weights are fine-tuned too.")
@click.option("--minutes", default=5.0, show_default=True, help="Fine-tuning at most, a clip.")
@click.option("--frames", default=60, show_default=True, help="Frames of a clip to be judged on, about.")
@click.option("--everyone", is_flag=True, help="Also people whom training may have seen.")
@click.option("--only", default="", metavar="NAME,NAME", help="These people or clips only.")
@click.option("--pairs", default=6, show_default=True, help="How many avatars to drive by somebody else.")
@click.option("--through-motion", is_flag=True, help="Drive through motion, as in a call, not by landmarks themselves.")
@click.option("--landmarks", type=_PATH, default=Path("out/landmarks"), show_default=True, help="Where they are kept.")
@click.option("--weights", type=_PATH, help="Folder with networks for LPIPS, CSIM and FID: docs/evaluate.md.")
@click.option("--json", type=_PATH, help="Write all figures to this file.")
@click.option("--sheet", type=_PATH, help="Draw reference, real and drawn frames, .png; one for each kind of shots.")
@click.option("--blind", type=_PATH, help="Write pairs for a blind look to this new folder.")
@_engine_options
def evaluate(only: str, size: str, **options: Any) -> None:
    """Judge an engine's pictures on real clips that training never saw."""
    from telepresence.evaluate.options import Options
    from telepresence.evaluate.run import evaluate as judge

    names = tuple(name.strip() for name in only.split(",") if name.strip())
    report = judge(Options(only=names, size=int(size), **options), lambda line: click.echo(line, err=True))
    click.echo(report.text())


@main.group()
def train() -> None:
    """Make generators from face clips. Needs the extra `train`: make setup-train."""
    from importlib.util import find_spec

    if find_spec("torch") is None:
        raise InputError("training needs torch, which is not installed; run: make setup-train")


def _train_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that trains."""
    folder = "The run's folder. A run in it is gone on with."
    only = "Only clips that this folder's MANIFEST.json lists."
    for option in (
        click.option("--device", help="cpu, cuda or cuda:N. Default: a GPU if there is one."),
        click.option("--workers", type=click.IntRange(0, 256), help="Processes that draw samples, each process: 1."),
        click.option("--seed", type=click.IntRange(min=0), help="Of weights and data. Default: 0."),
        click.option("--perceptual", type=_PATH, metavar="FILE", help="Also compare by this TorchScript's features."),
        click.option("--adversarial-after", type=click.IntRange(min=0), help="Samples before the discriminator joins."),
        click.option(
            "--cool-down", type=click.IntRange(min=0), default=0, help="Let the rate fall over so many, stop."
        ),
        click.option("--samples", type=click.IntRange(min=1), help="Stop when so many were seen. Default: never."),
        click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Stop after so long."),
        click.option("--out", type=_PATH, required=True, metavar="DIR", help=folder),
        click.option("--research", is_flag=True, help="Also clips for research only: such weights cannot be shipped."),
        click.option("--train-all", is_flag=True, help="Also people held out: nobody is left to judge the weights by."),
        click.option("--data", type=_PATH, metavar="CLIPS_DIR", help=only),
        click.option("--clips", type=_PATH, required=True, metavar="PREPARED_DIR", help="Prepared: docs/training.md."),
    ):
        command = option(command)
    return command


@train.command("live")
@_train_options
@click.option("--batch", type=click.IntRange(1, 4096), help="Samples a step and process. Default: 5.")
@click.option("--start", type=_PATH, metavar="ENGINE|FILE", help="Begin with an engine's weights or a weights.pt.")
def train_live(
    batch: int | None, adversarial_after: int | None, seed: int | None, workers: int | None, **options: Any
) -> None:
    """Train the live engine; Ctrl-C or SIGTERM saves and ends, the same command goes on."""
    from telepresence.generator.start import LiveOptions
    from telepresence.generator.start import train_live as begin

    _refuse_two_splits(options)
    chosen = {"batch": batch, "adversarial_after": adversarial_after, "seed": seed, "workers": workers}
    begin(LiveOptions(**options), {name: value for name, value in chosen.items() if value is not None})


@train.command("fewshot")
@click.option("--config", default="small", show_default=True, metavar="small|paper|FILE", help="Networks, schedule.")
@_train_options
@click.option("--people", type=click.IntRange(1, 1024), help="Clips a step and process. Default: the configuration's.")
def train_fewshot(
    config: str,
    adversarial_after: int | None,
    seed: int | None,
    workers: int | None,
    people: int | None,
    **options: Any,
) -> None:
    """Train the few-shot adversarial networks (2019); Ctrl-C or SIGTERM saves and ends, the same command goes on."""
    from telepresence.generator.fewshot.start import train_few_shot
    from telepresence.generator.start import LiveOptions

    _refuse_two_splits(options)
    chosen = {"people": people, "adversarial_after": adversarial_after, "seed": seed, "workers": workers}
    train_few_shot(config, LiveOptions(**options), {name: value for name, value in chosen.items() if value is not None})


def _refuse_two_splits(options: dict[str, Any]) -> None:
    if options["data"] and options["train_all"]:
        raise InputError("--data says who is held out, --train-all that nobody is; give one of them")


if __name__ == "__main__":
    main()
