"""The command `telepresence`: one thin function per command, here grouped by what they are for.

Heavy imports wait until a command needs them.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from telepresence import __version__
from telepresence.cli import avatar, bench, call, engines, making, training
from telepresence.errors import TelepresenceError
from telepresence.native_logs import detach_stderr

# numpy's OpenBLAS starts a thread per core even for matrices as small as ours, and they spin between two pictures: that
# took three quarters of a core in the kernel. It reads this once, when numpy is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


class _Group(click.Group):
    """Shows our own errors as one line, without a traceback, and ends with status 2."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # as they were added, not by the alphabet

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TelepresenceError as error:
            click.echo(f"telepresence: {error}", err=True)
            sys.exit(2)
        except KeyboardInterrupt:
            sys.exit(130)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="telepresence")
def main() -> None:
    """Be present as an avatar: only motion crosses the network, the receiver draws the picture."""
    detach_stderr()


for _command in (
    call.demo,
    making.enrol,
    avatar.avatar,
    making.render,
    avatar.recording,
    call.hub,
    call.join,
    call.doctor,
    engines.engines,
    bench.bench,
    training.evaluate,
    training.train,
):
    main.add_command(_command)
