from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from telepresence.avatar.samples import sample_avatar
from telepresence.errors import EngineError, InputError
from telepresence.evaluate import tuning
from telepresence.evaluate.options import Options
from telepresence.evaluate.run import evaluate


def test_without_torch_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, tuning.MODULE, None)
    with pytest.raises(InputError, match="make setup-train"):
        tuning.require_tuning("live")


def test_an_engine_that_learns_nothing_is_told_before_any_clip_is_read(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    asked = Options(tmp_path, engine="prior", shots="8", fine_tune=True, json=tmp_path / "out.json")
    with pytest.raises(EngineError, match="'prior' cannot be fine-tuned"):
        evaluate(asked, lambda line: None)
    assert not (tmp_path / "out.json").exists()


def test_fine_tuning_is_given_what_was_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}

    def fine_tune(avatar: object, pictures: list[object], landmarks: list[object], **how: object) -> object:
        asked.update(how, pictures=len(pictures), landmarks=len(landmarks))
        return avatar

    module = ModuleType(tuning.MODULE)
    module.fine_tune = fine_tune  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, tuning.MODULE, module)
    avatar = sample_avatar()
    pictures = [np.zeros((256, 256, 3), np.uint8)] * 3
    landmarks = [avatar.references[0].landmarks] * 3
    apart = [0.0, 0.4, 0.8]
    assert tuning.tune(avatar, pictures, landmarks, engine="live", minutes=2.0, from_reference_s=apart) is avatar
    assert asked == {"engine": "live", "minutes": 2.0, "pictures": 3, "landmarks": 3, "from_reference_s": apart}
