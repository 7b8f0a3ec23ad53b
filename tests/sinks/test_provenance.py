from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from telepresence.errors import InputError, MediaError
from telepresence.sinks.label import LABELS, label
from telepresence.sinks.provenance import check_recording, sign_recording
from telepresence.sinks.recording import VideoWriter

pytest.importorskip("c2pa")


@pytest.fixture
def recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with VideoWriter(tmp_path / "call.mp4", 64, 30) as writer:
        for level in range(10):
            writer.write(np.full((64, 64, 3), level, np.uint8))
    return tmp_path / "call.mp4"


def test_credentials_validate_and_say_synthetic(recording: Path) -> None:
    assert check_recording(recording) is None
    sign_recording(recording)
    found = check_recording(recording)
    assert found is not None
    assert (found.state, found.synthetic, found.problems) == ("Valid", True, ("signingCredential.untrusted",))


def test_a_changed_recording_is_invalid(recording: Path) -> None:
    sign_recording(recording)
    data = bytearray(recording.read_bytes())
    data[-20] ^= 1
    recording.write_bytes(data)
    found = check_recording(recording)
    assert found is not None
    assert found.state == "Invalid"
    assert "assertion.bmffHash.mismatch" in found.problems


def test_what_others_wrote_is_no_traceback_and_moves_no_cursor(
    recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import c2pa

    sign_recording(recording)
    evil = {"name": "evil\x1b[2J" + "x" * 500}
    whole = json.dumps({"active_manifest": "a", "manifests": {"a": {"claim_generator_info": [evil]}}})
    monkeypatch.setattr(c2pa.Reader, "json", lambda _: whole)
    found = check_recording(recording)
    assert found is not None
    assert "\x1b" not in found.text()
    assert len(found.generator) <= 100
    for text in ("{}", '{"active_manifest":"a","manifests":{"a":{"claim_generator_info":["x"]}}}', "[]"):
        monkeypatch.setattr(c2pa.Reader, "json", lambda _, text=text: text)
        with pytest.raises(MediaError, match="form that nobody knows"):
            check_recording(recording)


def test_what_cannot_be_signed_stays_as_it_was(recording: Path, tmp_path: Path) -> None:
    recording.write_bytes(b"no MP4 at all")
    with pytest.raises(MediaError):
        sign_recording(recording)
    assert recording.read_bytes() == b"no MP4 at all"
    (tmp_path / "data" / "telepresence" / "recordings.pem").write_bytes(b"damaged")
    with pytest.raises(InputError, match="damaged"):
        sign_recording(recording)


@pytest.mark.parametrize("side", [128, 256, 512])
@pytest.mark.parametrize("text", LABELS)
def test_the_label_is_there_and_small(side: int, text: str) -> None:
    picture = np.full((side, side, 3), 200, np.uint8)
    label(text, side).draw(picture)
    rows, columns, _ = np.nonzero(picture != 200)
    assert rows.max() < side / 5
    assert columns.max() < 0.7 * side
    assert picture.max() >= 240  # letters
    assert picture.min() < 100  # on something dark
