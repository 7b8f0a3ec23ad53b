"""Sound of edges without pages: of a file to a recording, in step with the lips; over losses; descriptions refused."""

from __future__ import annotations

import asyncio
import warnings
from pathlib import Path

import numpy as np
import pytest

from telepresence.avatar.samples import SAMPLE_AVATAR
from telepresence.errors import SignallingError
from telepresence.rtc.sound_file import SoundReader, has_sound
from telepresence.rtc.sound_mesh import checked_sound
from telepresence.rtc.sound_playout import FRAME, RATE
from tests.browser.lips import SECONDS, apart, openness, recorded, write_movie
from tests.rtc.call import edge, hub
from tests.rtc.pair import run, until

RECORDED_S = 14
LEAST_FPS = 15


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_movie(tmp_path_factory.mktemp("movie"))


def test_a_clips_sound_is_read_at_any_position(movie: Path) -> None:
    reader = SoundReader(movie)
    for at_s in (0.0, 3.1, 8.0, 1.0, SECONDS + 5.0):
        first = round(at_s * RATE)
        levels = np.abs(reader.read(first, FRAME)).max() / 32768
        wanted = float(openness(np.array([at_s + 0.01]))[0]) if at_s < SECONDS else 0.0
        assert levels == pytest.approx(0.6 * wanted, abs=0.2)
    assert np.abs(reader.read(-FRAME, FRAME)).max() == 0
    reader.close()


def test_what_is_no_clip_with_sound_is_known_as_such(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(b"nothing")
    assert not has_sound(tmp_path / "x.mp4")
    assert not has_sound(tmp_path / "absent.mp4")


def test_a_files_sound_is_recorded_in_step_with_its_lips(movie: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"

    async def call() -> None:
        async with (
            hub() as url,
            edge(url, camera="none", sink=str(out)) as listener,
            edge(url, camera=str(movie), sink="null", avatar=SAMPLE_AVATAR) as speaker,
        ):
            await until(lambda: bool(listener._sound.mesh.connected() and speaker._sound.mesh.connected()), 20)
            await asyncio.sleep(RECORDED_S)

    run(call, 90)
    lips, sound = recorded(out)
    late_ms = 1000 * apart(lips, sound)
    print("lips later than sound, ms:", late_ms.round())
    assert sound[1].max() > 0.2
    fps = len(lips[0]) / RECORDED_S
    if fps < LEAST_FPS:
        warnings.warn(f"lips and sound NOT judged: {fps:.0f} pictures a second on a machine that is busy", stacklevel=1)
        pytest.skip(f"{fps:.0f} pictures a second: what lips do between two of them cannot be measured")
    assert len(late_ms) >= 8
    assert abs(np.median(late_ms)) <= 60


SOUND = """v=0
o=- 1 1 IN IP4 0.0.0.0
s=-
t=0 0
"""


@pytest.mark.parametrize("sdp", ["", "nonsense", SOUND, SOUND + "m=audio 9 UDP/TLS/RTP/SAVPF 111\n", "m=\r\n" * 100])
def test_descriptions_of_anything_else_are_refused(sdp: str) -> None:
    with pytest.raises(SignallingError):
        checked_sound(sdp.replace("\n", "\r\n"))
