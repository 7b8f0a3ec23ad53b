"""Which sinks go together."""

from __future__ import annotations

from pathlib import Path

import pytest

from telepresence.edge.config import EdgeConfig
from telepresence.errors import InputError


def config(*sinks: str) -> EdgeConfig:
    return EdgeConfig("http://127.0.0.1/room/x", sink=sinks)


def test_browser_file_and_camera_may_be_combined() -> None:
    all_three = config("browser", "call.mp4", "camera:/dev/video10", "browser")
    assert all_three.file() == Path("call.mp4")
    assert all_three.device == "/dev/video10"
    assert (all_three.shows, all_three.draws, all_three.headset) == (True, True, None)
    assert config("camera").device == ""
    assert config("camera").file() is None
    assert not config("camera").shows
    assert config("browser").device is None


def test_one_sink_may_be_given_as_it_is() -> None:
    one = EdgeConfig("http://127.0.0.1/room/x", sink="null")
    assert (one.sinks, one.draws, one.shows, one.file()) == (("null",), False, False, None)
    assert EdgeConfig("http://127.0.0.1/room/x", sink="headset:0").headset == 0
    assert EdgeConfig("http://127.0.0.1/room/x").shows


@pytest.mark.parametrize(
    ("sinks", "why"),
    [
        (("null", "browser"), "null goes with no other"),
        (("browser", "headset"), "headset goes with no other"),
        (("a.mp4", "b.mp4"), "one file at most"),
        (("camera", "camera:x"), "one camera at most"),
        (("browser", "call.avi"), r"call\.avi: neither browser"),
        (("headset:x",), "comes a port"),
        ((), "one at least"),
    ],
)
def test_others_are_refused_in_words(sinks: tuple[str, ...], why: str) -> None:
    with pytest.raises(InputError, match=why):
        config(*sinks).file()
