"""The commands `telepresence avatar` and `telepresence recording`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from telepresence.cli.options import PATH
from telepresence.errors import InputError

_FILES = click.argument("files", nargs=-1, required=True, type=PATH, metavar="FILE...")


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
@click.argument("file", type=PATH)
def avatar_export_key(file: Path) -> None:
    """Copy your key to FILE, to be kept in a safe place: who has it can be shown as you."""
    from telepresence.avatar.owner import export_key, key_path

    export_key(file)
    click.echo(f"{file}: a copy of your key; keep it safe, for who has it can be shown as you. To use it: {key_path()}")


@avatar.command("delete")
@_FILES
@click.option("--yes", is_flag=True, help="Do not ask.")
def avatar_delete(files: tuple[Path, ...], yes: bool) -> None:
    """Delete avatars of yours. Whoever you meet in a call from now on is asked to delete their copies.

    A call that is going on with one of them shows nothing of you from then on.
    """
    from telepresence.avatar.deletion import delete
    from telepresence.avatar.file import load_bytes
    from telepresence.avatar.sections import digest
    from telepresence.rtc.cache import AvatarCache

    hashes = [digest(load_bytes(path)) for path in files]  # says which is not there before any is gone
    if not yes:
        click.confirm(f"delete {', '.join(map(str, files))} for good?", abort=True)
    for path, sha256 in zip(files, hashes, strict=True):
        tombstone = delete(path)
        AvatarCache().forget(sha256)
        asked = "who has a copy is asked to delete it when you meet them in a call again"
        unasked = "it is not signed with your key, so others cannot be asked to delete their copies"
        click.echo(f"{path}: deleted; {asked if tombstone else unasked}")


@avatar.command("cached")
def avatar_cached() -> None:
    """List the copies of others' avatars on this machine, and when they go if they are not used."""
    import time

    from telepresence.avatar.owner import fingerprint
    from telepresence.rtc.cache import KEPT_S, AvatarCache

    copies = AvatarCache().copies()
    for copy in copies:
        found = copy.ownership()
        left_days = max(0.0, copy.used_s + KEPT_S - time.time()) / 86400
        whose = fingerprint(found.owner) if found and found.owner else "nobody's"
        click.echo(
            f"{copy.sha256[:12]}  {copy.size / 1024:6.0f} KiB  {found.label if found else 'unusable'}, "
            f"{whose}, {left_days:.1f} days left"
        )
    if not copies:
        click.echo("no copies of others' avatars are here")


@avatar.command("forget")
@click.argument("which", nargs=-1, metavar="[HASH]...")
@click.option("--all", "everything", is_flag=True, help="All of them.")
def avatar_forget(which: tuple[str, ...], everything: bool) -> None:
    """Delete copies of others' avatars on this machine; HASH as `avatar cached` lists it, or its beginning."""
    from telepresence.rtc.cache import AvatarCache

    if bool(which) == everything:
        raise InputError("say which: a HASH of telepresence avatar cached, or --all")
    cache = AvatarCache()
    hashes = [copy.sha256 for copy in cache.copies()]
    for one in which:
        if len(one) < 4 or not any(sha256.startswith(one.lower()) for sha256 in hashes):
            raise InputError(f"{one}: no copy's hash begins so (4 digits at least); see: telepresence avatar cached")
    chosen = [one for one in hashes if everything or any(one.startswith(start.lower()) for start in which)]
    gone = sum(cache.forget(one) for one in chosen)
    click.echo(f"{gone} deleted" + (f", {len(chosen) - gone} could not be" if gone < len(chosen) else ""))


@click.group()
def recording() -> None:
    """Where recordings come from, and what a crash left of one: docs/recording.md."""


@recording.command("check")
@click.argument("file", type=PATH)
def recording_check(file: Path) -> None:
    """Say what FILE's content credentials say; status 1 if it has none, or was changed since."""
    from telepresence.sinks.provenance import check_recording

    found = check_recording(file)
    click.echo(f"{file}: {found.text() if found else 'no content credentials'}")
    sys.exit(0 if found and found.state != "Invalid" else 1)


@recording.command("rescue")
@click.argument("file", type=PATH)
def recording_rescue(file: Path) -> None:
    """Make videos of what recordings to FILE left that were never finished. None may be running now."""
    from telepresence.sinks.unfinished import rescue

    made = rescue(file)
    for path in made:
        click.echo(f"{path}: rescued")
    if not made:
        click.echo(f"{file}: nothing was left behind by a recording of this name")
