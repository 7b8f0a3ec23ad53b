"""The wheel, installed in an empty environment outside the checkout, renders a video.

Third-party packages are those of the environment that runs the tests, added by a .pth file; telepresence itself comes
from the wheel, and nothing of the checkout is in reach.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout as it is."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-c", _BUILD, str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.glob("telepresence-*.whl")
    return path


# hatchling itself, as a build frontend would call it: no download, no isolated environment
_BUILD = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of a new environment that has the wheel installed."""
    folder = tmp_path_factory.mktemp("outside") / "env"
    venv.create(folder, with_pip=False, symlinks=os.name == "posix")
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    done = subprocess.run(install, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    others = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "third-party.pth").write_text("\n".join(sorted(others)) + "\n")
    return python


def run(python: Path, *arguments: str) -> str:
    """Run Python away from the checkout, with no path to it, and return what it printed."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment["XDG_CACHE_HOME"] = str(python.parent.parent / "cache")
    done = subprocess.run(
        [str(python), *arguments],
        cwd=python.parent.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_contents(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    for needed in (
        "telepresence/py.typed",
        "telepresence/face/basis-1.npz",
        "telepresence/avatar/samples/astronaut.avatar",
        "telepresence/shipped/engines/live/engine.toml",
        "telepresence/shipped/engines/live/render-256.onnx",
        "telepresence/shipped/engines/prior/engine.toml",
        "telepresence/shipped/engines/prior/render-256.onnx",
        "telepresence/shipped/web/index.html",
    ):
        assert needed in names
    fetched = [path for path in (ROOT / "web" / "vendor").rglob("*") if path.is_file()]  # empty without `make web`
    for path in fetched:
        assert f"telepresence/shipped/{path.relative_to(ROOT).as_posix()}" in names
    strays = [name for name in names if name.startswith("tests/") or "/plans/" in name or name.endswith(".pyc")]
    assert strays == []


def test_is_the_installed_one(python: Path) -> None:
    place = Path(run(python, "-c", "import telepresence; print(telepresence.__file__)").strip())
    assert place.is_relative_to(python.parent.parent)


def test_lists_its_engines(python: Path) -> None:
    listed = run(python, "-m", "telepresence", "engines", "list")
    assert "live" in listed
    assert "prior" in listed


def test_renders_the_sample(python: Path) -> None:
    folder = python.parent.parent
    track = run(python, "-c", "from telepresence.avatar.samples import SAMPLE_MOTION as m; print(m)").strip()
    drive = Path(track)
    assert drive.is_relative_to(folder)
    count = int(run(python, "-c", "from telepresence.avatar.samples import sample_motion as m; print(len(m()))"))
    run(
        python, "-m", "telepresence", "render", "--avatar", str(drive.with_name("astronaut.avatar")),
        "--drive", str(drive), "--out", str(folder / "out.mp4"),
    )  # fmt: skip
    pictures = decoded(folder / "out.mp4")
    assert len(pictures) == count
    changes = [float(np.abs(a - b).mean()) for a, b in pairwise(pictures)]
    moving = sum(change > 0.05 for change in changes)
    assert moving > 0.5 * len(changes)  # a still avatar leaves only the encoder's noise


def decoded(path: Path) -> list[NDArray[np.float32]]:
    """Pictures of a clip, grey, float."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="gray").astype(np.float32) for frame in container.decode(video=0)]
