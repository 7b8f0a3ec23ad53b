"""Codecs and what they are judged by."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

from telepresence.bench.quality import CODECS, SIZE, Judge, encoded, square
from telepresence.errors import MediaError


def pictures(count: int = 30) -> list[np.ndarray]:
    """A soft pattern that drifts."""
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    made = [127 + 60 * np.sin((x + 2 * n) / 23) * np.cos(y / 31) for n in range(count)]
    return [np.repeat(one[..., None], 3, 2).astype(np.uint8) for one in made]


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.title)
def test_each_codec_gives_the_pictures_back_and_more_bits_make_them_better(codec) -> None:
    real = pictures()
    errors = []
    for kbps in (20, 400):
        got = encoded(codec, real, kbps)
        if got is None:
            pytest.skip(f"{codec.title} is not in this build of av")
        taken, decoded = got
        assert len(decoded) == len(real)
        assert decoded[0].shape == (SIZE, SIZE, 3)
        assert taken > 0
        errors.append(np.mean([np.abs(a.astype(int) - b).mean() for a, b in zip(decoded, real, strict=True)]))
    assert errors[1] <= errors[0]


def test_a_codec_that_is_not_there_is_left_out() -> None:
    assert encoded(replace(CODECS[0], names=("no such encoder",)), pictures(2), 20) is None


def test_the_central_square_is_what_is_compared() -> None:
    wide = np.zeros((480, 640, 3), np.uint8)
    wide[:, 80:560] = 200
    assert square(wide).shape == (SIZE, SIZE, 3)
    assert (square(wide) == 200).all()


def test_a_clip_without_a_face_cannot_be_judged_by() -> None:
    with pytest.raises(MediaError, match="face"):
        Judge({0: np.zeros((SIZE, SIZE, 3), np.uint8)})


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="Linux only")
def test_no_encoder_leaves_its_caller_another_priority() -> None:
    before = os.sched_getscheduler(0)
    for codec in CODECS:
        encoded(codec, pictures(2), 40)
        assert os.sched_getscheduler(0) == before, codec.title
