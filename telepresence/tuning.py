"""Fine-tuning as a command shows it: asked for early, with a progress bar. torch is imported only here and late."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from telepresence.errors import InputError

if TYPE_CHECKING:
    from telepresence.avatar.enrol import Footage
    from telepresence.avatar.model import Avatar

STEPS: Final = 1000  # of the bar
LIVE: Final = "telepresence.generator.finetune"
FEW_SHOT: Final = "telepresence.generator.fewshot.finetune"


def tuner(engine: str) -> str:
    """The module that fine-tunes for an engine; not imported here.

    Raises:
        EngineError: no such engine, or its description is damaged.
    """
    return FEW_SHOT if learns_from_references(engine) else LIVE


def learns_from_references(engine: str) -> bool:
    """Whether photos are enough to fine-tune for an engine; else it takes a video.

    Raises:
        EngineError: no such engine, or its description is damaged.
    """
    from telepresence.generator.fewshot.described import described
    from telepresence.runtime.info import find_engine

    return described(find_engine(engine).folder) is not None


def require_tuning(engine: str, *, photos: int | None = None, references: int = 1, whole: Path | None = None) -> None:
    """Say at once, not after minutes and before anything is written, that fine-tuning cannot be had.

    Args:
        engine: a shipped name, or a folder.
        photos: how many there are; None for a video.
        references: how many the user asked for.
        whole: folder for an engine of the person's own, if one is wanted.

    Raises:
        InputError: torch, or what reads an engine's weights, is missing; the engine learns from a video and there is
            none; more references are asked for than there are photos; or there cannot be an engine of the person's own.
        EngineError: no such engine, or not one that can be fine-tuned.
    """
    from importlib.util import find_spec

    for needed in ("torch", "onnx"):
        if find_spec(needed) is None:
            raise InputError(
                f"--fine-tune needs {needed}, which is not installed: make setup-train. Without it, leave it out"
            )
    from telepresence.runtime.info import find_engine

    folder = find_engine(engine).folder
    if learns_from_references(engine):
        from telepresence.generator.fewshot.stored import require_new, weights_of_engine

        weights_of_engine(folder)
        if photos is not None and references > photos:
            raise InputError(
                f"--references {references}: as many photos are needed to learn from, and {photos} are given; "
                f"give more photos, or --references {photos}"
            )
        if whole is not None:
            require_new(whole)
        return
    if whole is not None:
        raise InputError(f"--whole: engine {engine!r} keeps its weights; only the few-shot engine's are fine-tuned")
    from telepresence.generator import weights

    weights.weights_of_engine(folder)
    if photos is not None:
        raise InputError(
            f"--fine-tune: engine {engine!r} learns from a video, and these are photos; give a video, leave out "
            "--fine-tune, or take --engine fewshot, which learns from photos"
        )


def tune_with_bar(
    avatar: Avatar, footage: Footage | None, engine: str, minutes: float, whole: Path | None = None
) -> Avatar:
    """The avatar with what was learned from its footage; the very same avatar if that did not help.

    Args:
        avatar: as enrolled.
        footage: of its video; None where it was made of photos, for an engine that learns from those.
        engine: a shipped name, or a folder.
        minutes: at most.
        whole: folder for an engine of the person's own, if one is wanted.

    Raises:
        InputError: the video is too short, or the avatar's file has no room.
        EngineError: no such engine, or not one that can be fine-tuned.
        MediaError: the video can no longer be read.
    """
    fine_tune: Callable[..., Avatar] = import_module(tuner(engine)).fine_tune
    import_module("telepresence.generator.start").settle()
    how: dict[str, Any] = {} if whole is None else {"whole": whole}
    if footage and not learns_from_references(engine):
        import_module(LIVE).require_room(avatar)  # before the clip is read
        how["from_reference_s"] = footage.from_reference_s
    pictures, landmarks = (footage.pictures(), footage.landmarks) if footage else ([], [])
    said = ""
    with click.progressbar(length=STEPS, label="fine-tuning", item_show_func=lambda line: line) as bar:

        def show(share: float, line: str) -> None:
            nonlocal said
            said = line
            bar.update(max(0, int(share * STEPS) - bar.pos), line)

        tuned = fine_tune(avatar, pictures, landmarks, engine=engine, minutes=minutes, progress=show, **how)
    click.echo(said, err=True)
    return tuned
