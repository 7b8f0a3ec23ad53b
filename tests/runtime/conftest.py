from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from telepresence.avatar.model import Avatar, Reference
from telepresence.face.basis import default_basis
from tests.runtime import tiny


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder of one's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture
def engine_folder(tmp_path: Path) -> Path:
    return tiny.write_engine(tmp_path / "tiny")


def make_avatar(side: int = 100, references: int = 2, seed: int = 0) -> Avatar:
    """Coarse pictures, a square matte, landmarks in the middle, a background of one colour."""
    rng = np.random.default_rng(seed)
    pictures = []
    for _ in range(references):
        coarse = rng.integers(0, 256, (5, 5, 3)).astype(np.uint8)
        picture = np.ascontiguousarray(coarse.repeat(side // 5, 0).repeat(side // 5, 1))
        matte = np.zeros((side, side), np.uint8)
        matte[side // 5 : -side // 5, side // 5 : -side // 5] = 255
        landmarks = rng.uniform(0.3 * side, 0.7 * side, (478, 3)).astype(np.float32)
        pictures.append(Reference(picture, landmarks, matte))
    background = np.full((side, side, 3), 30 + seed, np.uint8)
    return Avatar("nobody", tuple(pictures), default_basis().mean, background)
