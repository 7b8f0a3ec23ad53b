"""The commands that make an avatar and draw it without a call: `enrol` and `render`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click
from click.core import ParameterSource

from telepresence.cli.avatar import own_avatar_label
from telepresence.cli.options import PATH, engine_options
from telepresence.errors import InputError
from telepresence.runtime.info import DEFAULT_ENGINE
from telepresence.tuning import require_tuning, tune_with_bar


@click.command()
@click.argument("sources", nargs=-1, required=True, type=PATH, metavar="PHOTO... | VIDEO")
@click.option("--out", type=PATH, required=True, help="Where to write the avatar, NAME.avatar.")
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
    "--whole", type=PATH, metavar="DIR",
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


@click.command()
@click.option("--avatar", type=PATH, help="Default: the sample avatar.")
@click.option("--drive", type=PATH, help="A clip of a face, or a .motion track. Default: the recorded motion.")
@click.option("--out", type=PATH, required=True, help="The video to write, .mp4.")
@click.option(
    "--framing",
    type=click.Choice(["relative", "absolute"]),
    default="relative",
    show_default=True,
    help="relative keeps the avatar framed as enrolled; absolute puts the head where the driver's is.",
)
@click.option("--json", "json_out", type=PATH, help="Write a report to this file.")
@click.option("--label/--no-label", default=True, help="Mark the pictures as an avatar's. Default: they are.")
@engine_options
def render(
    avatar: Path | None, drive: Path | None, out: Path, framing: Literal["relative", "absolute"], json_out: Path | None,
    label: bool, engine: str, size: str, runtime: str | None,
) -> None:  # fmt: skip
    """Drive an avatar with a clip: the call's own modules in a row, without a network."""
    from telepresence.render import render_files

    report = render_files(
        avatar, drive, out, engine=engine, size=int(size), framing=framing, runtime=runtime, json_out=json_out,
        label=own_avatar_label(avatar) if label else None,
    )  # fmt: skip
    for warning in report.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"{out}: {report.text()}")
