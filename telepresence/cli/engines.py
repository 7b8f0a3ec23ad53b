"""`telepresence engines`: list, compile, check and measure them."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from telepresence.cli.options import PATH, SIZE


@click.group()
def engines() -> None:
    """List, compile, check and measure engines."""


_NAMES = click.argument("names", nargs=-1, metavar="[ENGINE]...")
_SIZES = click.option("--size", "sizes", type=SIZE, multiple=True, help="Picture side; default: all that it has.")


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
@click.option("--json", "json_out", type=PATH, help="Write the findings to this file too.")
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
@click.option("--json", "json_out", type=PATH, help="Write the figures to this file too.")
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
