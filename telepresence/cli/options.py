"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from telepresence.errors import InputError
from telepresence.runtime.info import DEFAULT_ENGINE

PATH = click.Path(path_type=Path)
SIZE = click.Choice(["128", "256", "512"])


def engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that draws pictures."""
    for option in (
        click.option("--runtime", help="auto (the fastest here), or a name that `engines list` shows."),
        click.option("--size", type=SIZE, default="256", show_default=True, help="Picture side."),
        click.option("--engine", default=DEFAULT_ENGINE, show_default=True, help="A shipped name, or a folder."),
    ):
        command = option(command)
    return command


def url_from_environment() -> str:
    """The link to a room, from the environment variable that holds it, which is taken out.

    Raises:
        InputError: it is not set.
    """
    from telepresence.hub.urls import URL_VARIABLE

    if url := os.environ.pop(URL_VARIABLE, ""):  # not for this process's own children
        return url
    raise InputError(f"with - in place of the URL, put the link that the hub printed into {URL_VARIABLE}")


def _trust(_context: click.Context, _option: click.Parameter, path: Path | None) -> None:
    if path is not None:
        from telepresence.hub.tls import CA_VARIABLE, client_context

        os.environ[CA_VARIABLE] = str(path)
        client_context()  # says if the file is no good


ca_option = click.option(
    "--ca",
    type=PATH,
    metavar="FILE",
    expose_value=False,
    callback=_trust,
    help="Trust the hub by this certificate only, PEM. Also: TELEPRESENCE_CA.",
)
