"""Everything here needs torch; the folder above says so loudly. An engine is exported once for all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.generator.conftest import MISSING

if MISSING:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny few-shot engine's folder; not to be changed."""
    from telepresence.generator.fewshot.export import export_fewshot
    from tests.generator.fewshot.tiny import write_weights

    folder = tmp_path_factory.mktemp("engines") / "fewshot"
    folder.mkdir()
    export_fewshot(folder, write_weights(folder.parent / "weights.pt"))
    return folder


@pytest.fixture
def engine(exported: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(exported, tmp_path / "fewshot"))
