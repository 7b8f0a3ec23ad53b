"""Enrolment in a page by itself: it judges and chooses as the Python does, and the Python reads what it writes."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest

from telepresence.avatar.file import unpack
from telepresence.avatar.owner import verify
from telepresence.avatar.samples import sample_avatar
from telepresence.avatar.sections import read_sections, write_sections
from tests.web import enrolment_vectors

_TESTS = Path(__file__).with_name("enrolment.test.mjs")
CLOSE_DB = 30.0  # PSNR of a picture at the best quality that fits
MATTE_APART = 2.0  # of 255, on average


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the JavaScript has left what it made."""
    node = shutil.which("node")
    if node is None:
        warnings.warn("node is missing: the page's enrolment was not tested", stacklevel=1)
        pytest.skip("node is missing: install Node.js 20 to test the page's enrolment")
    folder = tmp_path_factory.mktemp("enrolment")
    enrolment_vectors.write(folder)
    done = subprocess.run(
        [node, "--no-warnings", "--test", str(_TESTS)],
        env=os.environ | {"VECTORS": str(folder)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_python_reads_what_the_page_writes(made: Path) -> None:
    data = (made / "made.avatar").read_bytes()
    avatar, sample = unpack(data), sample_avatar()
    first, wanted = avatar.references[0], sample.references[0]
    assert avatar.name == "Ådä \U0001f600"
    assert len(avatar.references) == 2
    assert np.array_equal(first.landmarks, wanted.landmarks)
    assert np.array_equal(avatar.neutral, sample.neutral)
    assert not avatar.free_for_all
    assert _psnr(first.picture, wanted.picture) > CLOSE_DB
    assert _psnr(avatar.background, sample.background) > CLOSE_DB
    assert np.abs(first.matte.astype(int) - wanted.matte).mean() < MATTE_APART
    assert np.array_equal(first.matte > 127, wanted.matte > 127) or (first.matte > 127).mean() > 0.1
    assert write_sections(read_sections(data)) == data, "the container is the Python's, byte for byte"


def test_the_python_finds_it_signed(made: Path) -> None:
    ownership = verify((made / "signed.avatar").read_bytes())
    assert ownership is not None
    assert (ownership.made, ownership.label) == ("live", "avatar")
    assert unpack((made / "signed.avatar").read_bytes()).made == "live"


@pytest.mark.parametrize(
    ("name", "mode"), [("grey.jpg", "L"), ("colour.jpg", "RGB"), ("quartered.jpg", "RGB"), ("odd.jpg", "RGB")]
)
def test_its_jpeg_is_anybodys(made: Path, name: str, mode: str) -> None:
    from PIL import Image

    about = json.loads((made / "jpegs.json").read_text())[name]
    with Image.open(io.BytesIO((made / name).read_bytes())) as image:
        assert image.mode == mode
        assert image.size == (about["width"], about["height"])
        found = np.asarray(image)
    wanted = np.frombuffer((made / f"{name}.raw").read_bytes(), np.uint8).reshape(found.shape)
    assert _psnr(found, wanted) > CLOSE_DB


def _psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(1e-9, np.square(one.astype(float) - other).mean())))
