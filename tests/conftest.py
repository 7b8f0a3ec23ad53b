"""Fixtures that more than one folder of tests needs."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

_ROOT = Path(__file__).resolve().parent.parent

# How long examples take says how busy the machine is, and nothing of the code: no test fails for that.
settings.register_profile("shared-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared-machine")


@pytest.fixture(scope="session", autouse=True)
def own_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where keys are kept: enrolling and recording make some, and none may come into the tester's home."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def faces() -> Path:
    """Folder of real faces (`dev/*.mp4`, `photos/*.jpg`), which is not part of the repository."""
    folder = Path(os.environ.get("TELEPRESENCE_FACES", _ROOT.parent / "shared" / "faces"))
    if not (folder / "dev").is_dir():
        warnings.warn(f"no faces in {folder}: tests of real faces are skipped; set TELEPRESENCE_FACES", stacklevel=1)
        pytest.skip(f"no faces in {folder}; set TELEPRESENCE_FACES to a folder with dev/ and photos/")
    return folder
