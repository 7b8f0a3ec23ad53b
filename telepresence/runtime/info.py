"""What is known of an engine before it is loaded: `engine.toml`, read and checked.

    name = "prior"                    the folder's name
    version = "1"
    motion_schema = 1                 the basis that its keypoints are made with
    references = 4                    K, how many references `render` takes
    sizes = [256, 512]                S; there is an encode-S.onnx and a render-S.onnx for each
    description = "..."               one line
    licence = "Apache-2.0"
    [files]
    "encode-256.onnx" = "<sha256>"    every graph, with the hash of its bytes
    [int8]
    "render-256.int8.onnx" = "..."    the same graph with convolutions in 8 bits, where there is one; the last table

A graph is plain ONNX with static shapes; `graphs` says which inputs and outputs it has.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from telepresence.errors import EngineError
from telepresence.resources import shipped

DEFAULT_ENGINE: Final = "live"
MAX_TOML_BYTES: Final = 65_536
MAX_GRAPH_BYTES: Final = 256 * 1024 * 1024
MAX_REFERENCES: Final = 32  # as many as an avatar has
SIZE_RANGE: Final = (32, 1024)  # pixels, side of the picture
TUNED_SIZE: Final = 256  # pixels

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_FILE: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")  # no folders: an engine names nothing outside its own
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """An engine as its engine.toml describes it."""

    name: str
    version: str
    motion_schema: int
    """Version of the basis whose keypoints it was made for."""
    references: int
    """K: how many references `render` takes, 1-32."""
    sizes: tuple[int, ...]
    """Sides of the pictures it can draw, pixels, ascending."""
    description: str
    licence: str
    files: Mapping[str, str]
    """File name -> SHA-256 of its bytes, lower-case hex."""
    int8: Mapping[str, str]
    """The same of further files: `render` graphs with convolutions in 8 bits, of some sizes or of none."""
    folder: Path
    digest: str
    """SHA-256 of engine.toml up to the table `int8`: it identifies the engine, which another way to compute the same
    leaves as it is."""

    @property
    def tuning(self) -> str:
        """What fine-tuning depends on, SHA-256: the graphs of one size, whose weights the others share.

        It is the size that tuning is judged in, `TUNED_SIZE`, or the smallest where there is no such. Adding a size to
        an engine leaves it as it is, and so everybody's fine-tuning good.
        """
        size = TUNED_SIZE if TUNED_SIZE in self.sizes else min(self.sizes)
        lines = [f"{kind} {self.files[f'{kind}-{size}.onnx']}\n" for kind in ("encode", "render")]
        return hashlib.sha256("".join(lines).encode("ascii")).hexdigest()

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every file of the engine."""
        return tuple(self.folder / name for name in ("engine.toml", *self.files, *self.int8))

    def has_int8(self, size: int) -> bool:
        """Whether there is a `render` graph in 8 bits for pictures of `size` pixels."""
        return f"render-{size}.int8.onnx" in self.int8

    def graph(self, kind: str, size: int, *, int8: bool = False) -> Path:
        """Path of the graph `encode` or `render` for pictures of `size` pixels; its bytes are compared with their hash.

        Args:
            kind: `encode` or `render`.
            size: pixels.
            int8: take `render` with convolutions in 8 bits; `encode` is the same for all.

        Raises:
            EngineError: no such size, or the file is missing or is not the one that engine.toml describes.
        """
        if size not in self.sizes:
            have = ", ".join(str(s) for s in self.sizes)
            raise EngineError(f"engine {self.name!r} draws no pictures of size {size}; choose one of: {have}")
        if int8 and kind == "render":
            if not self.has_int8(size):
                raise EngineError(f"engine {self.name!r} has no int8 graph for pictures of size {size}")
            return self._checked(f"{kind}-{size}.int8.onnx", self.int8)
        return self._checked(f"{kind}-{size}.onnx", self.files)

    def _checked(self, name: str, hashes: Mapping[str, str]) -> Path:
        path = self.folder / name
        try:
            length = path.stat().st_size
            if length > MAX_GRAPH_BYTES:
                raise EngineError(f"{path} has {length} bytes; a graph has at most {MAX_GRAPH_BYTES}")
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise EngineError(f"engine {self.name!r} lacks {path.name} ({error.strerror}); {_REPAIR}") from error
        if digest != hashes[name]:
            raise EngineError(f"{path} is damaged or was changed: its SHA-256 is not the one in engine.toml; {_REPAIR}")
        return path


_INT8: Final = b"\n[int8]\n"
_REPAIR: Final = "reinstall telepresence, or restore the engine's folder from where it came"


def read_info(folder: Path) -> EngineInfo:
    """Read and check FOLDER/engine.toml; the graphs themselves are checked when they are opened.

    Raises:
        EngineError: there is none, or it is not a description of an engine; the message names the field.
    """
    path = folder / "engine.toml"
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TOML_BYTES + 1)
    except OSError as error:
        raise EngineError(
            f"{folder} is not an engine: engine.toml cannot be read ({error.strerror}); give a folder that has one, "
            "or the name of a shipped engine: telepresence engines list"
        ) from error
    if len(data) > MAX_TOML_BYTES:
        raise EngineError(f"{path} is longer than {MAX_TOML_BYTES} bytes; this is not an engine's description")
    try:
        table = tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise EngineError(f"{path} is not valid TOML: {error}") from error
    return _Fields(path, table).info(folder, hashlib.sha256(data.partition(_INT8)[0]).hexdigest())


def find_engine(name: str | Path) -> EngineInfo:
    """An engine by the name of a shipped one, or by the path of a folder.

    Raises:
        EngineError: there is no such engine (the message lists those there are), or its description is damaged.
    """
    if isinstance(name, Path) or "/" in name or "\\" in name:
        return read_info(Path(name))
    folder = engines_folder() / name
    if not _NAME.fullmatch(name) or not folder.is_dir():
        have = ", ".join(path.name for path in engine_folders()) or "none"
        raise EngineError(f"there is no engine {name!r}; shipped: {have}. One elsewhere is given as a path: ./{name}")
    return read_info(folder)


def list_engines() -> list[EngineInfo]:
    """The shipped engines, by name.

    Raises:
        EngineError: one of them is damaged.
    """
    return [read_info(folder) for folder in engine_folders()]


def cases(names: Sequence[str | Path], sizes: Sequence[int]) -> list[tuple[EngineInfo, int]]:
    """What a command is for: engines (none: all shipped ones that have a size) and sizes (none: all that each has).

    Raises:
        EngineError: no such engine, an engine that was named lacks a size, or none has it.
    """
    infos = [find_engine(name) for name in names] or list_engines()
    found = [(info, size) for info in infos for size in sizes or info.sizes if names or size in info.sizes]
    for info, size in found:
        if size not in info.sizes:
            have = ", ".join(str(s) for s in info.sizes)
            raise EngineError(f"engine {info.name!r} draws no pictures of size {size}; choose one of: {have}")
    if not found:
        raise EngineError("no engine has that size; see: telepresence engines list")
    return found


def engine_folders() -> list[Path]:
    """Folders of the shipped engines, by name: those with an engine.toml."""
    return sorted(path.parent for path in engines_folder().glob("*/engine.toml"))


def engines_folder() -> Path:
    """Where the shipped engines are.

    Raises:
        EngineError: the installation lacks them.
    """
    try:
        return shipped("engines")
    except FileNotFoundError as error:
        raise EngineError(str(error)) from error


@dataclass(frozen=True, slots=True)
class _Fields:
    path: Path
    table: Mapping[str, Any]

    def info(self, folder: Path, digest: str) -> EngineInfo:
        sizes = self._sizes()
        return EngineInfo(
            name=self._match("name", _NAME),
            version=self._text("version"),
            motion_schema=self._integer("motion_schema", 0, 255),
            references=self._integer("references", 1, MAX_REFERENCES),
            sizes=sizes,
            description=self._text("description"),
            licence=self._text("licence"),
            files=self._files(sizes),
            int8=self._hashes("int8") if "int8" in self.table else {},
            folder=folder,
            digest=digest,
        )

    def _text(self, key: str) -> str:
        value = self.table.get(key)
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            raise self._wrong(key, "a line of text")
        return value

    def _match(self, key: str, pattern: re.Pattern[str]) -> str:
        value = self._text(key)
        if not pattern.fullmatch(value):
            raise self._wrong(key, "a name of lower-case letters, digits, - and _")
        return value

    def _integer(self, key: str, low: int, high: int) -> int:
        value = self.table.get(key)
        if type(value) is not int or not low <= value <= high:  # TOML's true is a Python int
            raise self._wrong(key, f"a whole number from {low} to {high}")
        return value

    def _sizes(self) -> tuple[int, ...]:
        value = self.table.get("sizes")
        low, high = SIZE_RANGE
        if not isinstance(value, list) or not value or not all(type(s) is int and low <= s <= high for s in value):
            raise self._wrong("sizes", f"a list of whole numbers from {low} to {high}")
        return tuple(sorted(set(value)))

    def _hashes(self, key: str) -> Mapping[str, str]:
        value = self.table.get(key)
        if not isinstance(value, dict):
            raise self._wrong(key, "a table of file names and their SHA-256")
        for name, digest in value.items():
            if not _FILE.fullmatch(name) or not isinstance(digest, str) or not _SHA256.fullmatch(digest):
                raise self._wrong(key, f"a table of file names and their SHA-256 (see {name!r})")
        return value

    def _files(self, sizes: tuple[int, ...]) -> Mapping[str, str]:
        value = self._hashes("files")
        for size in sizes:
            for name in (f"encode-{size}.onnx", f"render-{size}.onnx"):
                if name not in value:
                    raise self._wrong("files", f"a table with an entry for {name}, since sizes has {size}")
        return value

    def _wrong(self, key: str, wanted: str) -> EngineError:
        return EngineError(f"{self.path}: {key} must be {wanted}; it is {self.table.get(key)!r:.80}")
