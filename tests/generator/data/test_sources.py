from __future__ import annotations

import json
from pathlib import Path

import pytest

from telepresence.errors import InputError
from telepresence.generator.data.sources import HELD_OUT, ClipSource, Crop, read_sources, some_people, split


def item(file: str, identity: str = "ann", tier: str = "A: free", real: str = "judged real") -> dict[str, object]:
    return {"file": file, "identity": identity, "rights_tier": tier, "real_human": real, "frames": 3}


def manifest(folder: Path, *items: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "MANIFEST.json").write_text(json.dumps({"items": items}))
    return folder


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def source(identity: str, rights: str = "A", scored: bool = True) -> ClipSource:
    return ClipSource(f"of_{identity}", identity, Path("x.mp4"), rights, scored)


def test_our_manifest_is_read(tmp_path: Path) -> None:
    altered = item("b/two.mp4", "bob", "C: unknown", "real person, pixels AI-restored upstream")
    folder = manifest(tmp_path, altered, item("one.mp4"), item("portrait.jpg"))
    assert read_sources(folder) == [
        ClipSource("b/two", "bob", tmp_path / "b/two.mp4", "C", False),
        ClipSource("one", "ann", tmp_path / "one.mp4", "A", True),
    ]


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([item("../one.mp4")], "outside of the folder"),
        ([item("/etc/one.mp4")], "outside of the folder"),
        ([{"file": "one.mp4"}], "identity"),
        (["one.mp4"], "items"),
        ([item("portrait.jpg")], "Expected one of"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_refused(tmp_path: Path, items: list[object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_sources(manifest(tmp_path, *items))


def test_a_manifest_that_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "MANIFEST.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(InputError, match="not a text file"):
        read_sources(tmp_path)


def test_two_files_of_one_name_keep_apart(tmp_path: Path) -> None:
    names = [s.name for s in read_sources(manifest(tmp_path / "clips", item("a.mp4"), item("a.webm")))]
    assert names == ["a", "clips/a"]


def test_a_folder_of_no_known_layout_says_what_was_expected(tmp_path: Path) -> None:
    touch(tmp_path / "holiday.mp4")
    touch(tmp_path / "holiday_1.mp4")
    with pytest.raises(InputError, match=r"MANIFEST\.json.*VoxCeleb2.*HDTF"):
        read_sources(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        read_sources(tmp_path / "missing")


@pytest.mark.parametrize("given", [".", "dev", "dev/mp4"])
def test_voxceleb2_is_read_from_any_of_its_upper_folders(tmp_path: Path, given: str) -> None:
    first = touch(tmp_path / "dev/mp4/id00012/21Uxsk56VDQ/00001.mp4")
    touch(tmp_path / "dev/mp4/id00012/21Uxsk56VDQ/00002.mp4")
    touch(tmp_path / "dev/mp4/id00015/abc-_DEFghi/00001.mp4")
    touch(tmp_path / "dev/txt/id00012/21Uxsk56VDQ/00001.txt")
    found = read_sources(tmp_path / given)
    assert found[0] == ClipSource("id00012/21Uxsk56VDQ/00001", "id00012", first, "C", True)
    assert [s.identity for s in found] == ["id00012", "id00012", "id00015"]
    assert len({s.name for s in found}) == 3


def test_both_parts_of_voxceleb2_are_read(tmp_path: Path) -> None:
    touch(tmp_path / "dev/mp4/id00012/v/00001.mp4")
    touch(tmp_path / "test/mp4/id00017/v/00001.mp4")
    assert [s.identity for s in read_sources(tmp_path)] == ["id00012", "id00017"]


def test_hdtf_with_its_lists_knows_where_the_face_is(tmp_path: Path) -> None:
    lists = tmp_path / "HDTF_dataset"
    touch(lists / "WDA_crop_wh.txt").write_text(
        "AmyKlobuchar1_0.mp4 487 1005 0 1005\nAmyKlobuchar0_0.mp4 399 497 3 497\nUnused_0.mp4\n"
    )
    touch(lists / "WDA_resolution.txt").write_text("AmyKlobuchar1.mp4 1080\n\nAmyKlobuchar0.mp4 720\n")
    touch(tmp_path / "clips/AmyKlobuchar1_0.mp4")
    touch(tmp_path / "clips/AmyKlobuchar0_0.mp4")
    touch(tmp_path / "clips/Nobody_0.mp4")
    first, second = read_sources(tmp_path)
    assert (first.name, first.identity, first.crop) == (
        "WDA_AmyKlobuchar0_0",
        "hdtf_AmyKlobuchar",
        Crop(399, 3, 497, 720),
    )
    assert (second.identity, second.crop) == ("hdtf_AmyKlobuchar", Crop(487, 0, 1005, 1080))


def test_hdtf_without_lists_is_known_by_its_names(tmp_path: Path) -> None:
    for name in ("RD_Radio11_000", "RD_Radio11_001", "RD_Radio12_000", "WRA_KristiNoem2_000", "RD_Radio13"):
        touch(tmp_path / f"{name}.mp4")
    found = read_sources(tmp_path)
    assert [s.identity for s in found] == ["hdtf_Radio11", "hdtf_Radio11", "hdtf_Radio12", "hdtf_KristiNoem"]
    assert all(s.crop is None for s in found)


def test_a_list_of_hdtf_that_is_something_else_is_refused(tmp_path: Path) -> None:
    touch(tmp_path / "RD_Radio11_0.mp4")
    touch(tmp_path / "RD_crop_wh.txt").write_text("<html>404</html>\n")
    with pytest.raises(InputError, match="RD_crop_wh"):
        read_sources(tmp_path)


def test_nobody_is_on_both_sides_of_a_split() -> None:
    sources = [source("ann"), source("ann"), source("bob"), source("cat", "B"), source("dan", scored=False)]
    train, validation = split(sources, ["bob"])
    assert [s.identity for s in train] == ["ann", "ann"]
    assert [s.identity for s in validation] == ["bob"]
    train, _ = split(sources, ["bob"], research=True)
    assert [s.identity for s in train] == ["ann", "ann", "cat"]


def test_the_held_out_people_are_never_trained_on() -> None:
    train, validation = split([source(name) for name in (*HELD_OUT, "ann")])
    assert [s.identity for s in train] == ["ann"]
    assert len(validation) == len(HELD_OUT)


def test_some_people_stay_the_same_when_others_come() -> None:
    few = [source(f"id{i:05d}") for i in range(400)]
    many = [*few, *(source(f"id{i:05d}") for i in range(400, 600))]
    held = some_people(few, 0.1)
    assert 20 < len(held) < 65
    assert set(held) == set(some_people(many, 0.1)) & {s.identity for s in few}
    assert some_people(few, 0) == ()


def test_our_clips_split_as_the_notes_say(faces: Path) -> None:
    sources = read_sources(faces / "dev")
    train, validation = split(sources)
    assert len(sources) == 82
    assert {s.identity for s in validation} == set(HELD_OUT)
    assert not {s.identity for s in train} & set(HELD_OUT)
    assert {s.rights for s in train} == {"A", "C"}
    assert all(s.frames.is_file() for s in sources)
