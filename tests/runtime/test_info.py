from __future__ import annotations

from pathlib import Path

import pytest

from telepresence.errors import EngineError
from telepresence.runtime import info
from telepresence.runtime.info import find_engine, list_engines, read_info
from tests.runtime import tiny


def test_reads_what_was_written(engine_folder: Path) -> None:
    engine = read_info(engine_folder)
    assert (engine.name, engine.version, engine.motion_schema, engine.references) == ("tiny", "1", 1, tiny.REFERENCES)
    assert engine.sizes == (tiny.SIZE,)
    assert engine.graph("render", tiny.SIZE).name == f"render-{tiny.SIZE}.onnx"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": None}, "name must be"),
        ({"name": '"../up"'}, "name must be"),
        ({"version": 1}, "version must be a line of text"),
        ({"motion_schema": "true"}, "motion_schema must be a whole number"),
        ({"references": 0}, "references must be a whole number from 1 to 32"),
        ({"references": 33}, "references must be"),
        ({"sizes": []}, "sizes must be a list"),
        ({"sizes": [64, 100_000]}, "sizes must be a list"),
        ({"sizes": [64, 128]}, "an entry for encode-128.onnx"),
        ({"licence": '""'}, "licence must be"),
    ],
)
def test_wrong_field(engine_folder: Path, fields: dict[str, object], message: str) -> None:
    tiny.write_toml(engine_folder, **fields)  # type: ignore[arg-type]
    with pytest.raises(EngineError, match=message):
        read_info(engine_folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "not valid TOML"),
        ("\xff", "name must be"),
        ("x = 1\n" * 20_000, "longer than"),
    ],
)
def test_wrong_toml(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "engine.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(EngineError, match="not valid TOML" if text == "\xff" else message):
        read_info(tmp_path)


@pytest.mark.parametrize("name", ["../secret.onnx", "/etc/passwd", "UPPER.onnx"])
def test_files_stay_in_the_folder(engine_folder: Path, name: str) -> None:
    path = engine_folder / "engine.toml"
    path.write_text(path.read_text() + f'"{name}" = "{"0" * 64}"\n')
    with pytest.raises(EngineError, match="files must be"):
        read_info(engine_folder)


def test_hash_mismatch(engine_folder: Path) -> None:
    path = engine_folder / f"render-{tiny.SIZE}.onnx"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(EngineError, match="damaged or was changed"):
        read_info(engine_folder).graph("render", tiny.SIZE)


def test_a_graph_in_8_bits_is_another_way_to_compute_the_same_engine(engine_folder: Path) -> None:
    before = read_info(engine_folder)
    assert not before.has_int8(tiny.SIZE)
    with pytest.raises(EngineError, match="'tiny' has no int8 graph for pictures of size 64"):
        before.graph("render", tiny.SIZE, int8=True)
    tiny.add_int8(engine_folder)
    after = read_info(engine_folder)
    assert (after.digest, after.tuning) == (before.digest, before.tuning)  # or everybody's fine-tuning would be lost
    assert after.has_int8(tiny.SIZE)
    assert after.graph("render", tiny.SIZE, int8=True).name == "render-64.int8.onnx"
    assert after.graph("encode", tiny.SIZE, int8=True).name == "encode-64.onnx"
    assert after.graph("render", tiny.SIZE).name == "render-64.onnx"
    assert engine_folder / "render-64.int8.onnx" in after.paths
    path = engine_folder / "render-64.int8.onnx"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(EngineError, match=r"render-64.int8.onnx is damaged or was changed"):
        after.graph("render", tiny.SIZE, int8=True)


@pytest.mark.parametrize("line", ['"../up.onnx" = "' + "0" * 64 + '"', '"render-64.int8.onnx" = "short"'])
def test_wrong_table_of_graphs_in_8_bits(engine_folder: Path, line: str) -> None:
    path = engine_folder / "engine.toml"
    path.write_text(f"{path.read_text()}\n[int8]\n{line}\n")
    with pytest.raises(EngineError, match="int8 must be a table of file names"):
        read_info(engine_folder)


def test_missing_graph(engine_folder: Path) -> None:
    (engine_folder / f"encode-{tiny.SIZE}.onnx").unlink()
    with pytest.raises(EngineError, match=f"lacks encode-{tiny.SIZE}.onnx .*reinstall"):
        read_info(engine_folder).graph("encode", tiny.SIZE)


def test_graph_larger_than_the_limit_is_not_read(engine_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(info, "MAX_GRAPH_BYTES", 100)
    with pytest.raises(EngineError, match="at most 100"):
        read_info(engine_folder).graph("encode", tiny.SIZE)


def test_unknown_size(engine_folder: Path) -> None:
    with pytest.raises(EngineError, match="size 300; choose one of: 64"):
        read_info(engine_folder).graph("encode", 300)


def test_find_by_name_and_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(info, "shipped", lambda name: tmp_path / name)
    folder = tiny.write_engine(tmp_path / "engines" / "tiny")
    (tmp_path / "engines" / "plans").mkdir()  # not an engine, and not listed
    assert find_engine("tiny").digest == find_engine(folder).digest == find_engine(str(folder)).digest
    assert [engine.name for engine in list_engines()] == ["tiny"]
    with pytest.raises(EngineError, match="no engine 'other'; shipped: tiny"):
        find_engine("other")
    with pytest.raises(EngineError, match=r"no engine '..'"):
        find_engine("..")
    with pytest.raises(EngineError, match="is not an engine"):
        find_engine(tmp_path)


def test_no_engines_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Path:
        raise FileNotFoundError(f"{name}/ is missing from this installation")

    monkeypatch.setattr(info, "shipped", missing)
    with pytest.raises(EngineError, match="missing from this installation"):
        list_engines()


def test_a_size_that_is_added_leaves_what_tuning_depends_on(tmp_path: Path) -> None:
    graphs = {f"{kind}-{size}.onnx": f"{size:064x}" for kind in ("encode", "render") for size in (128, 256, 512)}

    def tuning(*sizes: int, **changed: str) -> str:
        files = {name: sha for name, sha in graphs.items() if any(f"-{size}." in name for size in sizes)} | changed
        lines = [f'"{name}" = "{sha}"' for name, sha in files.items()]
        folder = tmp_path / "-".join(map(str, sizes))
        folder.mkdir(exist_ok=True)
        (folder / "engine.toml").write_text(
            f'name = "a"\nversion = "1"\nmotion_schema = 1\nreferences = 4\nsizes = {list(sizes)}\n'
            'description = "d"\nlicence = "l"\n[files]\n' + "\n".join(lines)
        )
        return read_info(folder).tuning

    assert tuning(256) == tuning(256, 512) == tuning(128, 256, 512)
    assert tuning(256, **{"render-256.onnx": "f" * 64}) != tuning(256)
    assert tuning(128) != tuning(256)
