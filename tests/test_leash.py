"""A command on a leash ends with whoever holds it."""

from __future__ import annotations

import subprocess
import sys

PATIENCE_S = 30.0  # only ever waited for in full by a test that fails


def leashed(*arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "telepresence.leash", "telepresence", *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_the_command_runs_as_it_does_without() -> None:
    process = leashed("--version")
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.read().startswith(b"telepresence, version")
    assert process.wait(PATIENCE_S) == 0
    process.stdin.close()
    process.stdout.close()


def test_it_ends_when_the_other_end_of_the_pipe_closes() -> None:
    process = leashed("hub", "--port", "0")
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline()  # it is up
    assert process.poll() is None
    process.stdin.close()
    process.wait(PATIENCE_S)
    process.stdout.close()
