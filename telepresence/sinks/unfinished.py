"""A recording while it is written: an MP4 of fragments, which plays up to the last of them whatever ends the process.

It lies beside the file that it becomes, as `.NAME.XXXX.mp4`. Finishing it writes the ordinary kind of MP4, which every
player can seek in; if that fails, as on a full disk, the fragments are kept, and an earlier recording of that name too.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from pathlib import Path
from typing import Any, Final

from telepresence.errors import MediaError

FRAGMENT_US: Final = 1_000_000  # what a crash costs, and half a second that the encoder looks ahead
OPTIONS: Final = {
    "movflags": "+empty_moov+default_base_moof+frag_keyframe",
    "frag_duration": str(FRAGMENT_US),
    "min_frag_duration": str(FRAGMENT_US // 2),
    "flush_packets": "1",
}
"""For `av.open(..., "w", format="mp4", options=OPTIONS)`."""


def kept_name(path: Path) -> Path:
    """A free name beside `path` for what could be saved: `NAME.partial.mp4`, `NAME.partial-2.mp4` ..."""
    number = 1
    while (other := path.with_name(f"{path.stem}.partial{f'-{number}' if number > 1 else ''}{path.suffix}")).exists():
        number += 1
    return other


def finish(fragments: Path, path: Path) -> None:
    """Closed fragments -> an ordinary MP4 under its name, whole or not at all; the fragments go.

    Raises:
        MediaError: it cannot be written. The fragments stay, under another name that the message tells.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".mp4")
    os.close(handle)
    whole = Path(name)
    try:
        _remux(fragments, whole)
        os.chmod(whole, fragments.stat().st_mode & 0o777)
        os.replace(whole, path)
    except (OSError, ValueError) as error:
        whole.unlink(missing_ok=True)
        raise MediaError(f"{path}: cannot be written ({error}); is the disk full? {_kept(fragments, path)}") from error
    fragments.unlink(missing_ok=True)


def keep(fragments: Path, path: Path) -> str:
    """Give fragments whose writing failed a name of their own; says which, for people, or that there is nothing."""
    return _kept(fragments, path)


def left_behind(path: Path) -> list[Path]:
    """What recordings to `path` have left that were never finished, oldest first. One may be being written just now."""
    pattern = re.compile(re.escape(f".{path.name}.") + r"[A-Za-z0-9_]{8}\.mp4")
    found = [one for one in path.parent.glob(".*.mp4") if pattern.fullmatch(one.name) and _seconds(one) > 0]
    return sorted(found, key=lambda one: one.stat().st_mtime)


def rescue(path: Path) -> list[Path]:
    """Make ordinary files of what was left behind beside `path`: NAME.partial.mp4 ...; the files that are there now.

    Raises:
        MediaError: one cannot be written.
    """
    made = []
    for fragments in left_behind(path):
        whole = kept_name(path)
        finish(fragments, whole)
        made.append(whole)
    return made


def _kept(fragments: Path, path: Path) -> str:
    if _seconds(fragments) <= 0:
        fragments.unlink(missing_ok=True)
        return "nothing was recorded"
    other = kept_name(path)
    with contextlib.suppress(OSError):
        os.rename(fragments, other)
        return f"what was recorded is in {other}"
    return f"what was recorded is in {fragments}"


def _seconds(file: Path) -> float:
    """How long a file plays; 0 if it does not."""
    import av

    try:
        with av.open(str(file)) as container:
            times = [float(p.pts * p.time_base) for p in container.demux(video=0) if p.pts is not None and p.size]
    except (OSError, ValueError, IndexError):
        return 0.0
    return max(times) - min(times) + 1 / 30 if times else 0.0


def _remux(source: Path, target: Path) -> None:
    """Copy all streams, nothing encoded again, into an MP4 whose table comes first."""
    import av

    with (
        av.open(str(source)) as taken,
        av.open(str(target), "w", format="mp4", options={"movflags": "+faststart"}) as out,
    ):
        streams: dict[int, Any] = {one.index: out.add_stream_from_template(one) for one in taken.streams}
        for packet in taken.demux():
            if packet.dts is None:
                continue  # the end of a stream
            packet.stream = streams[packet.stream.index]
            out.mux(packet)
