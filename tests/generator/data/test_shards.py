from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from telepresence.errors import InputError, MediaError
from telepresence.generator.data.clips import load_clip
from telepresence.generator.data.shards import INDEX, pack, unpack
from tests.generator.data.made import clip_bytes, write_clips


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    return write_clips(
        tmp_path / "clips",
        {"name": "a", "count": 60, "side": 128},
        {"name": "b", "identity": "justin"},
        {"name": "c", "rights": "B"},
        {"name": "d", "scored": False},
        {"name": "e", "identity": "eve"},
    )


def index(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / INDEX).read_text())
    return found


def rewrite(folder: Path, data: bytes) -> None:
    """Replace the first shard and make the index agree."""
    (folder / "shard-0000.tar").write_bytes(data)
    changed = index(folder)
    changed["shards"][0] |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (folder / INDEX).write_text(json.dumps(changed))


def tar_of(*members: tuple[str, bytes], link: str | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            if link:
                entry.type, entry.linkname, entry.size = tarfile.SYMTYPE, link, 0
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def test_what_is_packed_comes_out_byte_for_byte(clips: Path, tmp_path: Path) -> None:
    done = pack(clips, tmp_path / "shards")
    assert (done.shards, done.clips, done.left_out) == (1, 5, 0)
    made = unpack(tmp_path / "shards", tmp_path / "out")
    assert [p.name for p in made] == [p.name for p in sorted(clips.glob("*.clip"))]
    assert all(p.read_bytes() == (clips / p.name).read_bytes() for p in made)


def test_the_same_clips_give_the_same_shards(clips: Path, tmp_path: Path) -> None:
    pack(clips, tmp_path / "one")
    pack(clips, tmp_path / "two")
    assert (tmp_path / "one/shard-0000.tar").read_bytes() == (tmp_path / "two/shard-0000.tar").read_bytes()


def test_no_shard_is_larger_than_asked(tmp_path: Path) -> None:
    rough = [{"name": f"n{i}", "count": 60, "side": 128} for i in range(6)]
    folder = write_clips(tmp_path / "clips", *rough)
    size = (folder / "n0.clip").stat().st_size
    assert 2**20 / 2 > size > 2**20 / 3  # so that two fit in a MiB and three do not
    done = pack(folder, tmp_path / "shards", shard_mib=1)
    sizes = [p.stat().st_size for p in sorted((tmp_path / "shards").glob("*.tar"))]
    assert len(sizes) == done.shards == 3
    assert max(sizes) <= 2**20
    assert done.bytes == sum(sizes)
    assert len(unpack(tmp_path / "shards", tmp_path / "out")) == 6


def test_the_index_says_who_is_where(clips: Path, tmp_path: Path) -> None:
    pack(clips, tmp_path / "shards")
    (shard,) = index(tmp_path / "shards")["shards"]
    data = (tmp_path / "shards/shard-0000.tar").read_bytes()
    assert (shard["bytes"], shard["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert [(c["name"], c["identity"], c["rights"], c["scored"], c["frames"]) for c in shard["clips"]][:3] == [
        ("a", "ann", "A", True, 60),
        ("b", "justin", "A", True, 40),
        ("c", "ann", "B", True, 40),
    ]


def test_train_only_leaves_out_whom_training_may_not_see(clips: Path, tmp_path: Path) -> None:
    done = pack(clips, tmp_path / "shards", train_only=True)
    assert (done.clips, done.left_out) == (2, 3)
    assert [p.stem for p in unpack(tmp_path / "shards", tmp_path / "out")] == ["a", "e"]
    pack(clips, tmp_path / "research", train_only=True, research=True)
    assert [p.stem for p in unpack(tmp_path / "research", tmp_path / "out2")] == ["a", "c", "e"]


def test_a_lower_quality_is_smaller_and_nearly_the_same(tmp_path: Path) -> None:
    folder = write_clips(tmp_path / "clips", {"name": "a", "side": 128})
    done, small = pack(folder, tmp_path / "one"), pack(folder, tmp_path / "two", quality=70)
    assert small.bytes < done.bytes
    before, (path,) = load_clip(folder / "a.clip"), unpack(tmp_path / "two", tmp_path / "out")
    after = load_clip(path)
    assert np.abs(after.picture(3).astype(int) - before.picture(3)).max() < 12
    assert np.array_equal(after.matte(3), before.matte(3))
    assert np.array_equal(after.points, before.points)
    assert after.meta == before.meta


@pytest.mark.parametrize(
    ("options", "said"), [({"shard_mib": 0}, "MiB"), ({"shard_mib": 5000}, "MiB"), ({"quality": 101}, "quality")]
)
def test_what_cannot_be_asked_for(clips: Path, tmp_path: Path, options: dict[str, int], said: str) -> None:
    with pytest.raises(InputError, match=said):
        pack(clips, tmp_path / "shards", **options)  # type: ignore[arg-type]


def test_a_clip_that_fits_in_no_shard_is_told(tmp_path: Path) -> None:
    folder = write_clips(tmp_path / "clips", {"name": "a"})
    (folder / "a.clip").write_bytes(clip_bytes(300, name="a", side=256))
    assert (folder / "a.clip").stat().st_size > 2**20
    with pytest.raises(InputError, match=r"a\.clip.*--quality"):
        pack(folder, tmp_path / "shards", shard_mib=1)


def test_nothing_is_overwritten_or_packed_from_nothing(clips: Path, tmp_path: Path) -> None:
    pack(clips, tmp_path / "shards")
    with pytest.raises(InputError, match="already"):
        pack(clips, tmp_path / "shards")
    with pytest.raises(InputError, match="no clip"):
        pack(tmp_path, tmp_path / "other")


def test_a_damaged_clip_is_not_packed(clips: Path, tmp_path: Path) -> None:
    data = bytearray((clips / "b.clip").read_bytes())
    data[-9] ^= 1
    (clips / "b.clip").write_bytes(data)
    with pytest.raises(MediaError, match=r"b\.clip.*checksum"):
        pack(clips, tmp_path / "shards")


def test_a_shard_that_is_not_the_indexs_is_refused(clips: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    pack(clips, folder)
    data = bytearray((folder / "shard-0000.tar").read_bytes())
    data[5000] ^= 1
    (folder / "shard-0000.tar").write_bytes(data)
    with pytest.raises(InputError, match="not the shard"):
        unpack(folder, tmp_path / "out")
    (folder / "shard-0000.tar").write_bytes(data[:-512])
    with pytest.raises(InputError, match="bytes instead of"):
        unpack(folder, tmp_path / "out")
    (folder / "shard-0000.tar").unlink()
    with pytest.raises(InputError, match="cannot be read"):
        unpack(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_shard_cannot_write_elsewhere(clips: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    pack(clips, folder)
    for data in (
        tar_of(("../evil.clip", clip_bytes(4))),
        tar_of(("extra.clip", clip_bytes(4))),
        tar_of(("a.clip", b""), link="/etc/passwd"),
        tar_of(("a.clip", clip_bytes(4))),
    ):
        rewrite(folder, data)
        with pytest.raises(InputError, match="not in the index"):
            unpack(folder, tmp_path / "deep/out")
    changed = index(folder)
    changed["shards"][0]["clips"][0]["file"] = "../evil.clip"
    (folder / INDEX).write_text(json.dumps(changed))
    with pytest.raises(InputError, match="names or sizes"):
        unpack(folder, tmp_path / "deep/out")
    assert not list(tmp_path.rglob("evil*"))


def test_a_shard_without_one_of_its_clips_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    pack(write_clips(tmp_path / "clips", {"name": "a"}, {"name": "b"}), folder)
    rewrite(folder, tar_of(("a.clip", clip_bytes(name="a"))))
    with pytest.raises(InputError, match=r"b\.clip is missing"):
        unpack(folder, tmp_path / "out")


def test_what_is_in_a_shard_must_be_a_clip(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    pack(write_clips(tmp_path / "clips", {"name": "a"}), folder)
    rewrite(folder, tar_of(("a.clip", b"x" * len(clip_bytes(name="a")))))
    with pytest.raises(MediaError, match="not a prepared clip"):
        unpack(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1}', '{"version": 1, "shards": [{}]}', '{"version": 2}'])
def test_an_index_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / INDEX).write_text(text)
    with pytest.raises(InputError, match=r"index|version"):
        unpack(tmp_path, tmp_path / "out")


def test_an_index_without_hashes_is_refused(tmp_path: Path) -> None:
    pack(write_clips(tmp_path / "clips", {"name": "a"}), tmp_path)
    changed = index(tmp_path)
    del changed["shards"][0]["sha256"]
    (tmp_path / INDEX).write_text(json.dumps(changed))
    with pytest.raises(InputError, match="not an index"):
        unpack(tmp_path, tmp_path / "out")
