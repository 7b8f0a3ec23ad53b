"""The virtual camera, with a camera that only listens."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

from telepresence.errors import InputError
from telepresence.sinks import virtual_camera
from telepresence.sinks.virtual_camera import VirtualCamera, canvas


@pytest.mark.parametrize("side", [128, 256, 1024])
def test_the_picture_is_in_the_middle_and_its_colours_beside_it(side: int) -> None:
    out = canvas(np.full((side, side, 3), 200, np.uint8))
    assert out.shape == (720, 1280, 3)
    assert (out[:, 280:1000] == 200).all()
    assert np.abs(out[:, :280].astype(int) - 90).max() <= 1
    assert np.abs(out[:, 1000:].astype(int) - 90).max() <= 1


def test_what_is_sent_is_labelled_and_the_callers_picture_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[np.ndarray] = []
    module = types.ModuleType("pyvirtualcam")
    fake = types.SimpleNamespace(device="/dev/video10", send=sent.append, close=lambda: None)
    module.Camera = lambda *given, **more: fake  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyvirtualcam", module)
    picture = np.full((256, 256, 4), 128, np.uint8)
    with VirtualCamera() as camera:
        camera.write(picture)
    assert (picture == 128).all()
    assert sent[0].shape == (720, 1280, 3)
    assert sent[0][:100, 280:640].max() > 200


def test_without_the_module_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(InputError, match="pip install") as raised:
        VirtualCamera()
    assert str(raised.value) == virtual_camera.MISSING
