"""Camera pictures on their way to the landmarks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import av
import numpy as np
import pytest

from telepresence.rtc.landmarker import CameraPicture


def frame(width: int, height: int, kind: str, seed: int = 0) -> av.VideoFrame:
    rows = np.linspace(0, 255, height)[:, None, None] + np.random.default_rng(seed).normal(0, 20, (height, width, 3))
    return av.VideoFrame.from_ndarray(np.clip(rows, 0, 255).astype(np.uint8), format="rgb24").reformat(format=kind)


@pytest.mark.parametrize("kind", ["yuv420p", "yuyv422", "nv12", "rgb24"])
def test_any_format_becomes_the_same_rgb_as_by_the_frame_itself(kind: str) -> None:
    for size in ((640, 480), (322, 242), (640, 480)):  # a camera may change its size
        picture = frame(*size, kind)
        assert np.array_equal(CameraPicture(picture, 0).rgb(), picture.to_ndarray(format="rgb24"))


def test_pictures_do_not_share_their_memory_and_threads_do_not_share_the_converter() -> None:
    pictures = [CameraPicture(frame(640, 480, "yuv420p", seed), 0) for seed in range(8)]
    wanted = [one.picture.to_ndarray(format="rgb24") for one in pictures]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(CameraPicture.rgb, pictures * 4))
    assert all(np.array_equal(one, wanted[n % 8]) for n, one in enumerate(found))


def test_an_array_is_taken_as_it_is() -> None:
    array = np.zeros((4, 6, 3), np.uint8)
    assert CameraPicture(array, 0).rgb() is array
