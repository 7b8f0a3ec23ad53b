"""Fine-tuning as a command shows it: asked for early, with a progress bar. torch is imported only here and late."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from telepresence.errors import InputError

if TYPE_CHECKING:
    from telepresence.avatar.enrol import Footage
    from telepresence.avatar.model import Avatar

STEPS: Final = 1000  # of the bar


def require_tuning(engine: str) -> None:
    """Say at once, not after minutes, that fine-tuning cannot be had.

    Raises:
        InputError: torch, or what reads an engine's weights, is missing.
        EngineError: no such engine, or not one that can be fine-tuned.
    """
    from importlib.util import find_spec

    for needed in ("torch", "onnx"):
        if find_spec(needed) is None:
            raise InputError(
                f"--fine-tune needs {needed}, which is not installed: make setup-train. Without it, leave it out"
            )
    from telepresence.generator.weights import weights_of_engine
    from telepresence.runtime.info import find_engine

    weights_of_engine(find_engine(engine).folder)


def tune_with_bar(avatar: Avatar, footage: Footage, engine: str, minutes: float) -> Avatar:
    """The avatar with what was learned from its footage; the very same avatar if that did not help.

    Raises:
        InputError: the video is too short.
        EngineError: no such engine, or not one that can be fine-tuned.
        MediaError: the video can no longer be read.
    """
    from telepresence.generator.finetune import fine_tune
    from telepresence.generator.start import settle

    settle()
    said = ""
    with click.progressbar(length=STEPS, label="fine-tuning", item_show_func=lambda line: line) as bar:

        def show(share: float, line: str) -> None:
            nonlocal said
            said = line
            bar.update(max(0, int(share * STEPS) - bar.pos), line)

        tuned = fine_tune(avatar, footage.pictures(), footage.landmarks, engine=engine, minutes=minutes, progress=show)
    click.echo(said, err=True)
    return tuned
