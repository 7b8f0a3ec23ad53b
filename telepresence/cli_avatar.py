"""The commands `telepresence avatar` and `telepresence recording`: one thin function each, as in `cli`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from telepresence.errors import InputError

_PATH = click.Path(path_type=Path)
_FILES = click.argument("files", nargs=-1, required=True, type=_PATH, metavar="FILE...")


def own_avatar_label(path: Path | None) -> str:
    """What pictures of an avatar file are labelled with; of one without a good signature, that nobody knows more."""
    from telepresence.avatar.file import load_bytes
    from telepresence.avatar.owner import verify
    from telepresence.errors import AvatarError

    if path is None:
        return "sample avatar"
    try:
        owner = verify(load_bytes(path))
    except AvatarError:
        return "photo avatar"
    return owner.label if owner else "photo avatar"


@click.group()
def avatar() -> None:
    """Whose an avatar is: docs/ownership.md."""


@avatar.command("show")
@_FILES
def avatar_show(files: tuple[Path, ...]) -> None:
    """Say whose avatars these are, and what their pictures are labelled; status 1 if one has no good signature."""
    from telepresence.avatar.file import load, load_bytes
    from telepresence.avatar.owner import fingerprint, load_key, public_bytes, verify
    from telepresence.errors import AvatarError

    key = load_key()
    bad = False
    for path in files:
        name = load(path).name  # says if it is damaged
        try:
            found = verify(load_bytes(path))
        except AvatarError as error:
            click.echo(f"{path}: {name}: {error}")
            bad = True
            continue
        owner = found.owner if found else None
        whose = "nobody's" if owner is None else "yours" if key and owner == public_bytes(key) else "somebody's"
        by = f", key {fingerprint(owner)}" if owner else ""
        click.echo(f"{path}: {name}: {found.label if found else 'photo avatar'}, {whose}{by}")
    sys.exit(1 if bad else 0)


@avatar.command("sign")
@_FILES
def avatar_sign(files: tuple[Path, ...]) -> None:
    """Sign avatars as yours, as ones that were made before avatars had owners. Your key is made if there is none."""
    from telepresence.avatar.owner import fingerprint, own_key, public_bytes, sign_file
    from telepresence.errors import AvatarError

    key = own_key()
    for path in files:
        try:
            sign_file(path, key)
        except AvatarError as error:
            raise InputError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
        click.echo(f"{path}: signed, key {fingerprint(public_bytes(key))}")


@avatar.command("export-key")
@click.argument("file", type=_PATH)
def avatar_export_key(file: Path) -> None:
    """Copy your key to FILE, to be kept in a safe place: who has it can be shown as you."""
    from telepresence.avatar.owner import export_key, key_path

    export_key(file)
    click.echo(f"{file}: a copy of your key; keep it safe, for who has it can be shown as you. To use it: {key_path()}")


@click.group()
def recording() -> None:
    """Where recordings come from, and what a crash left of one: docs/recording.md."""


@recording.command("check")
@click.argument("file", type=_PATH)
def recording_check(file: Path) -> None:
    """Say what FILE's content credentials say; status 1 if it has none, or was changed since."""
    from telepresence.sinks.provenance import check_recording

    found = check_recording(file)
    click.echo(f"{file}: {found.text() if found else 'no content credentials'}")
    sys.exit(0 if found and found.state != "Invalid" else 1)


@recording.command("rescue")
@click.argument("file", type=_PATH)
def recording_rescue(file: Path) -> None:
    """Make videos of what recordings to FILE left that were never finished. None may be running now."""
    from telepresence.sinks.unfinished import rescue

    made = rescue(file)
    for path in made:
        click.echo(f"{path}: rescued")
    if not made:
        click.echo(f"{file}: nothing was left behind by a recording of this name")
