from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from telepresence.runtime.tensorrt.plans import KEPT_PLANS, MAGIC, PlanCache, PlanKey

KEY = PlanKey("ab" * 32, "10.16.1.11", "NVIDIA H200", "9.0", "mixed", "none", 1, "linux")


@pytest.fixture
def cache(tmp_path: Path) -> PlanCache:
    return PlanCache(tmp_path / "plans")


def test_round_trip(cache: PlanCache) -> None:
    assert cache.read(KEY) is None
    assert not cache.has(KEY)
    cache.write(KEY, b"machine code")
    assert cache.has(KEY)
    assert cache.read(KEY) == b"machine code"
    assert [path.name for path in cache.folder.iterdir()] == [cache.path(KEY).name]


@pytest.mark.parametrize(
    "change",
    [
        {"graph": "cd" * 32}, {"tensorrt": "10.16.1.12"}, {"gpu": "NVIDIA L4"}, {"capability": "8.9"},
        {"precision": "float32"}, {"compatibility": "ampere"}, {"rewriting": 2}, {"system": "win32"},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_every_part_of_the_key_counts(cache: PlanCache, change: dict[str, str]) -> None:
    cache.write(KEY, b"machine code")
    other = replace(KEY, **change)  # type: ignore[arg-type]
    assert not cache.has(other)
    assert cache.read(other) is None
    assert cache.read(KEY) == b"machine code"


def test_a_plan_under_anothers_name_is_not_taken(cache: PlanCache) -> None:
    other = replace(KEY, gpu="NVIDIA L4")
    cache.write(KEY, b"machine code")
    os.rename(cache.path(KEY), cache.path(other))
    assert not cache.has(other)
    assert cache.read(other) is None
    assert not cache.path(other).exists()  # removed: the next start builds it


def damage(data: bytes, how: str) -> bytes:
    return {
        "empty": b"",
        "cut in the magic": data[:3],
        "cut in the header": data[:40],
        "cut in the plan": data[:-1],
        "one bit": data[:-1] + bytes([data[-1] ^ 1]),
        "longer": data + b"x",
        "header too long": MAGIC + b"\xff\xff\xff\xff" + data[11:],
        "header no JSON": MAGIC + b"\x04\0\0\0nope",
        "header deep": MAGIC + b"\x50\xc3\0\0" + b"[" * 50_000,
        "header a list": MAGIC + b"\x02\0\0\0[]",
        "text": b"hello",
    }[how]


@pytest.mark.parametrize(
    "how",
    [
        "empty", "cut in the magic", "cut in the header", "cut in the plan", "one bit", "longer", "header too long",
        "header no JSON", "header deep", "header a list", "text",
    ],
)  # fmt: skip
def test_damaged_plans_are_removed(cache: PlanCache, how: str, caplog: pytest.LogCaptureFixture) -> None:
    cache.write(KEY, b"machine code")
    path = cache.path(KEY)
    path.write_bytes(damage(path.read_bytes(), how))
    assert cache.read(KEY) is None
    assert not path.exists()
    assert "built anew" in caplog.text


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_plan_that_others_may_write_is_not_trusted(cache: PlanCache, caplog: pytest.LogCaptureFixture) -> None:
    cache.write(KEY, b"machine code")
    assert cache.path(KEY).stat().st_mode & 0o077 == 0
    cache.path(KEY).chmod(0o666)
    assert not cache.has(KEY)
    assert cache.read(KEY) is None
    assert "others may write it" in caplog.text


def test_a_folder_that_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = PlanCache(tmp_path / "file" / "plans")
    cache.write(KEY, b"machine code")
    cache.keep_timings(KEY, b"measured")
    assert cache.read(KEY) is None
    assert cache.timings(KEY) == b""
    assert "builds it again" in caplog.text


def test_oldest_go_first(cache: PlanCache) -> None:
    keys = [replace(KEY, graph=f"{number:064x}") for number in range(KEPT_PLANS + 2)]
    for age, key in enumerate(keys):
        cache.write(key, b"machine code")
        os.utime(cache.path(key), (age, age))
    assert [cache.has(key) for key in keys] == [False] * 2 + [True] * KEPT_PLANS


def test_timings_are_shared_by_graphs_and_not_by_gpus(cache: PlanCache) -> None:
    cache.keep_timings(KEY, b"measured")
    assert cache.timings(replace(KEY, graph="cd" * 32)) == b"measured"
    assert cache.timings(replace(KEY, gpu="NVIDIA L4")) == b""
    assert cache.timings(replace(KEY, tensorrt="11.4.0.106")) == b""


def test_damaged_timings_are_left_out(cache: PlanCache) -> None:
    cache.keep_timings(KEY, b"measured")
    (path,) = cache.folder.glob("*.timings")
    whole = path.read_bytes()
    for damaged in (whole[:-1] + b"x", whole[:-1], whole + b"x", whole[:10], b""):
        path.write_bytes(damaged)
        assert cache.timings(KEY) == b""
    path.write_bytes(whole)
    assert cache.timings(KEY) == b"measured"


def test_what_a_killed_process_left_is_removed(cache: PlanCache) -> None:
    cache.write(KEY, b"machine code")
    left, fresh = cache.folder / ".left.plan.abc.part", cache.folder / ".fresh.plan.abc.part"
    for path in (left, fresh):
        path.write_bytes(b"half a plan")
    os.utime(left, (0, 0))
    cache.write(replace(KEY, gpu="NVIDIA L4"), b"machine code")
    assert not left.exists()
    assert fresh.exists()  # another process may be writing it


def test_a_plan_that_cannot_be_finished_leaves_nothing(cache: PlanCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    cache.write(KEY, b"machine code")
    assert list(cache.folder.iterdir()) == []


def test_plans_that_another_process_removes_meanwhile(
    cache: PlanCache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    glob = Path.glob

    def with_a_ghost(self: Path, pattern: str) -> Iterator[Path]:
        return iter([*glob(self, pattern), *([self / "gone.plan"] if pattern == "*.plan" else [])])

    monkeypatch.setattr(Path, "glob", with_a_ghost)
    cache.write(KEY, b"machine code")
    assert cache.read(KEY) == b"machine code"
    assert caplog.text == ""
