from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from telepresence.errors import FaceError, MediaError
from telepresence.generator.data import cache
from telepresence.generator.data.cache import clip_file, prepare, prepare_all
from telepresence.generator.data.clips import load_clip, load_meta
from telepresence.generator.data.sources import ClipSource, Crop, read_sources
from tests.clips import moving_portrait, write_clip
from tests.generator.data.made import face_points

SIDE = 64


class NoMatter:
    """Stands in for the segmentation network: everything is the person's but the left quarter."""

    def __call__(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        matte = np.full(rgb.shape[:2], 255, np.uint8)
        matte[:, : rgb.shape[1] // 4] = 0
        return matte

    def __enter__(self) -> NoMatter:
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "Matter", NoMatter)


def pixels(width: int, height: int, left: float, top: float, side: float) -> NDArray[np.float32]:
    """Landmarks in pixels of a frame whose face is `face_points()` in the square at left, top."""
    points = (face_points() + 1) * np.float32(side / 2)
    points[:, :2] += (left, top)
    return points.astype(np.float32)


def a_source(
    tmp_path: Path, count: int = 40, fps: int = 25, width: int = 100, height: int = 80, lost: Sequence[int] = (),
    landmarks: NDArray[np.float32] | None = None, crop: Crop | None = None,
) -> ClipSource:  # fmt: skip
    """A clip whose frames' brightness tells their number, with its landmarks beside it."""
    pictures = [np.full((height, width, 3), 20 + 3 * i, np.uint8) for i in range(count)]
    path = write_clip(tmp_path / "one.mp4", pictures, fps)
    side = min(width, height)
    one = pixels(width, height, (width - side) / 2, (height - side) / 2, side) if landmarks is None else landmarks
    found = np.repeat(one[None], count, 0)
    found[list(lost)] = np.nan
    (tmp_path / "lm").mkdir(exist_ok=True)
    np.save(tmp_path / "lm/one.npy", found)
    return ClipSource("one", "ann", path, "A", True, crop)


def levels(path: Path) -> list[int]:
    """Which frames of the source a prepared clip holds, by their brightness."""
    clip = load_clip(path)
    return [round((clip.picture(i).mean() - 20) / 3) for i in range(len(clip))]


def test_every_second_frame_with_a_face_is_kept(tmp_path: Path) -> None:
    made = prepare(a_source(tmp_path, lost=(4, 5, 6, 20)), tmp_path / "out", size=SIDE, landmarks=tmp_path / "lm")
    expected = [i for i in range(0, 40, 2) if i not in (4, 6, 20)]
    assert levels(made) == expected
    clip = load_clip(made)
    assert clip.times_us.tolist() == [i * 40_000 for i in expected]
    assert (clip.name, clip.identity, clip.meta.rights, clip.meta.every, clip.side) == ("one", "ann", "A", 2, SIDE)
    assert clip.picture(0).shape == clip.plate.shape == (SIDE, SIDE, 3)


def test_points_are_in_square_coordinates_of_the_picture(tmp_path: Path) -> None:
    clip = load_clip(prepare(a_source(tmp_path), tmp_path / "out", size=SIDE, landmarks=tmp_path / "lm"))
    assert np.abs(clip.points[3][:, :2] - face_points()[:, :2]).max() < 1e-5
    depth = clip.points[3][:, 2] - face_points()[:, 2]
    assert np.ptp(depth) < 1e-5


def test_the_matte_is_the_networks_and_the_face_always_counts(tmp_path: Path) -> None:
    matte = load_clip(prepare(a_source(tmp_path), tmp_path / "out", size=SIDE, landmarks=tmp_path / "lm")).matte(0)
    assert (matte[:, : SIDE // 4 - 4] == 0).all()
    assert matte[SIDE // 2, SIDE // 2] == 255


def test_slow_clips_keep_every_frame_and_long_ones_are_thinned_evenly(tmp_path: Path) -> None:
    source = a_source(tmp_path, fps=15)
    assert levels(prepare(source, tmp_path / "a", size=SIDE, landmarks=tmp_path / "lm")) == list(range(40))
    kept = levels(prepare(source, tmp_path / "b", size=SIDE, landmarks=tmp_path / "lm", most=14))
    assert (kept[0], kept[-1], len(kept)) == (0, 39, 14)
    assert set(np.diff(kept)) == {3}
    third = prepare(source, tmp_path / "c", size=SIDE, landmarks=tmp_path / "lm", every=3)
    assert levels(third) == list(range(0, 40, 3))


def test_what_is_there_already_is_kept_until_its_source_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = a_source(tmp_path)

    def again(**options: int) -> bool:
        """Whether the clip was made anew."""
        path = clip_file(tmp_path / "out", "one")
        os.utime(path, ns=(1, 1))
        prepare(source, tmp_path / "out", **{"size": SIDE, **options}, landmarks=tmp_path / "lm")  # type: ignore[arg-type]
        return path.stat().st_mtime_ns != 1

    prepare(source, tmp_path / "out", size=SIDE, landmarks=tmp_path / "lm")
    assert not again()
    assert again(size=80)
    assert again(size=SIDE)
    assert again(every=3)
    assert again()
    a_source(tmp_path, count=41)
    assert again()
    path = clip_file(tmp_path / "out", "one")
    path.write_bytes(b"TPCLIP00" + path.read_bytes()[8:])
    assert again()
    assert not list((tmp_path / "out").glob(".*"))


def test_a_face_hardly_seen_is_told(tmp_path: Path) -> None:
    source = a_source(tmp_path, lost=range(10, 40))
    with pytest.raises(FaceError, match="5 frames"):
        prepare(source, tmp_path / "out", size=SIDE, landmarks=tmp_path / "lm")


def test_landmarks_of_another_clip_are_noticed(tmp_path: Path) -> None:
    source = a_source(tmp_path, count=12)
    np.save(tmp_path / "lm/one.npy", np.repeat(pixels(100, 80, 10, 0, 80)[None], 90, 0))
    with pytest.raises(MediaError, match="another clip"):
        prepare(source, tmp_path / "out", size=SIDE, landmarks=tmp_path / "lm")


def test_a_listed_square_is_cut_out_of_a_wide_frame(tmp_path: Path) -> None:
    """The list's pixels are of 160 high frames, the clip's frame is 80 high."""
    crop = Crop(left=60, top=20, side=80, of_height=160)
    source = a_source(tmp_path, landmarks=pixels(100, 80, 30, 10, 40), crop=crop)
    clip = load_clip(prepare(source, tmp_path / "out", size=SIDE, landmarks=tmp_path / "lm"))
    assert np.abs(clip.points[0][:, :2] - face_points()[:, :2]).max() < 1e-5
    square = a_source(tmp_path, width=80, crop=crop)
    clip = load_clip(prepare(square, tmp_path / "out2", size=SIDE, landmarks=tmp_path / "lm"))
    assert np.abs(clip.points[0][:, :2] - face_points()[:, :2]).max() < 1e-5


def test_a_listed_square_outside_of_the_frame_is_told(tmp_path: Path) -> None:
    source = a_source(tmp_path, crop=Crop(left=60, top=0, side=80))
    with pytest.raises(MediaError, match="resolution"):
        prepare(source, tmp_path / "out", size=SIDE, landmarks=tmp_path / "lm")


def test_names_with_slashes_become_one_file_each(tmp_path: Path) -> None:
    assert clip_file(tmp_path, "id00012/abc/00001") == tmp_path / "id00012--abc--00001.clip"


def test_many_clips_with_the_real_networks_and_a_bad_one(tmp_path: Path) -> None:
    """In processes of their own, so nothing is stubbed here: the sample portrait, wandering."""
    good = write_clip(tmp_path / "good.mp4", moving_portrait(24, step=1))
    blank = write_clip(tmp_path / "blank.mp4", [np.zeros((96, 96, 3), np.uint8)] * 24)
    (tmp_path / "broken.mp4").write_bytes(b"no clip")
    sources = [ClipSource(path.stem, "ann", path, "A", True) for path in (good, blank, tmp_path / "broken.mp4")]
    said: list[str] = []
    made = prepare_all(sources, tmp_path / "out", size=128, jobs=2, say=said.append)
    assert made == [tmp_path / "out/good.clip"]
    assert len(said) == 3
    assert sum("left out" in line for line in said) == 2
    clip = load_clip(made[0])
    assert len(clip) == 12
    drift = (clip.points[-1] - clip.points[0])[:, 0].mean()
    assert drift == pytest.approx(2 * 22 / 320, abs=0.03)
    assert clip.matte(0)[64:, 50:78].mean() > 200
    assert clip.matte(0)[:10].mean() < 100


def test_a_real_clip(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Landmarks lie on the face: found anew in the prepared pictures, they agree."""
    monkeypatch.undo()
    from telepresence.face.landmarks import LandmarkTracker
    from telepresence.face.motion import to_square

    source = next(s for s in read_sources(faces / "dev") if s.name == "grid_bbaf2n")
    clip = load_clip(prepare(source, tmp_path, size=256))
    assert len(clip) == load_meta(clip_file(tmp_path, source.name)).frames >= 30
    with LandmarkTracker(still=True) as tracker:
        found = tracker(clip.picture(12))
    assert found is not None
    assert np.abs(to_square(found, 256, 256) - clip.points[12])[:, :2].max() < 0.05
    face = clip.points[12][:, :2].mean(0)
    row, column = ((face[::-1] + 1) * 128).astype(int)
    assert clip.matte(12)[row, column] == 255
    assert clip.matte(12)[:8, :8].max() == 0
    assert np.abs(clip.plate[:20, :20].astype(int) - clip.picture(12)[:20, :20]).mean() < 6
