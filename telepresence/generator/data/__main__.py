"""Training data of face clips: `python -m telepresence.generator.data prepare | pack | unpack`."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from telepresence.errors import TelepresenceError
from telepresence.generator.data.cache import SIDE, prepare_all
from telepresence.generator.data.clips import SIDES
from telepresence.generator.data.shards import SHARD_MIB, pack, unpack
from telepresence.generator.data.sources import ClipSource, read_sources


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except TelepresenceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m telepresence.generator.data", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    prepare = commands.add_parser("prepare", help="decode, cut, find landmarks and mattes; one file a clip")
    prepare.add_argument("clips", type=Path, metavar="CLIPS_DIR", help="ours (MANIFEST.json), VoxCeleb2 or HDTF")
    prepare.add_argument("--out", type=Path, required=True, metavar="DIR")
    prepare.add_argument("--landmarks", type=Path, metavar="CACHE", help="landmark files that may exist already")
    prepare.add_argument("--size", type=_side, default=SIDE, help="side of the pictures, pixels (%(default)s)")
    prepare.add_argument("--every", type=_count, help="take each n-th frame (default: 2 from 24 frames a second on)")
    prepare.add_argument("--jobs", type=_count, default=1, help="processes (%(default)s)")
    prepare.add_argument("--only", nargs="+", metavar="NAME", help="only these clips")
    prepare.add_argument("--per-person", type=_count, metavar="N", help="only the first N clips of each person")
    prepare.set_defaults(run=_prepare)
    packer = commands.add_parser("pack", help="bundle prepared clips into tar shards for training elsewhere")
    packer.add_argument("cache", type=Path, metavar="CLIPS_CACHE")
    packer.add_argument("--out", type=Path, required=True, metavar="DIR")
    packer.add_argument("--shard-mib", type=_count, default=SHARD_MIB, help="largest shard (%(default)s)")
    packer.add_argument("--quality", type=_count, help="re-encode pictures at this JPEG quality (prepared: 95)")
    packer.add_argument("--train-only", action="store_true", help="no held-out people, no research-only clips")
    packer.set_defaults(run=_pack)
    unpacker = commands.add_parser("unpack", help="take the clips out of shards")
    unpacker.add_argument("shards", type=Path, metavar="SHARDS_DIR")
    unpacker.add_argument("--out", type=Path, required=True, metavar="CLIPS_CACHE")
    unpacker.set_defaults(run=_unpack)
    return parser


def _prepare(options: argparse.Namespace) -> int:
    sources = read_sources(options.clips)
    if options.only:
        sources = [source for source in sources if source.name in options.only]
    if options.per_person:
        sources = _first_of_each(sources, options.per_person)
    made = prepare_all(
        sources,
        options.out,
        size=options.size,
        every=options.every,
        landmarks=options.landmarks,
        jobs=options.jobs,
        say=_say,
    )
    _say(f"{len(made)} of {len(sources)} clips in {options.out}")
    return 0 if made else 1


def _pack(options: argparse.Namespace) -> int:
    done = pack(
        options.cache,
        options.out,
        shard_mib=options.shard_mib,
        quality=options.quality,
        train_only=options.train_only,
        say=_say,
    )
    _say(f"{done.clips} clips in {done.shards} shards, {done.bytes / 2**20:.0f} MiB; {done.left_out} clips left out")
    return 0


def _unpack(options: argparse.Namespace) -> int:
    _say(f"{len(unpack(options.shards, options.out, say=_say))} clips in {options.out}")
    return 0


def _first_of_each(sources: Sequence[ClipSource], most: int) -> list[ClipSource]:
    seen: Counter[str] = Counter()
    kept = []
    for source in sources:
        seen[source.identity] += 1
        if seen[source.identity] <= most:
            kept.append(source)
    return kept


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _side(text: str) -> int:
    number = int(text)
    if not SIDES[0] <= number <= SIDES[1]:
        raise argparse.ArgumentTypeError(f"must be {SIDES[0]} to {SIDES[1]}")
    return number


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
