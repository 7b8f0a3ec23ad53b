"""What a page may say: the parser is total."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telepresence.enrolment import wire
from telepresence.enrolment.looking import MAX_JPEG_BYTES, decoded
from telepresence.enrolment.steps import Step
from telepresence.errors import MediaError, ProtocolError


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"type": "page", "token": "t"}, wire.Enter("t")),
        ({"type": "begin"}, wire.Begin()),
        ({"type": "retake", "step": "left"}, wire.Retake(Step.LEFT)),
        ({"type": "skip"}, wire.Skip()),
        ({"type": "photos"}, wire.FromPhotos()),
        ({"type": "accept", "name": " Ada\n\u202eLovelace "}, wire.Accept("AdaLovelace")),
        ({"type": "accept"}, wire.Accept("")),
        ({"type": "accept", "name": "x" * 500}, wire.Accept("x" * 100)),
        ({"type": "leave"}, wire.Leave()),
        ({"type": "tune"}, wire.Tune()),
        ({"type": "stop"}, wire.StopTuning()),
        ({"type": "delete"}, wire.Delete()),
        ({"type": "of a later version", "step": 5}, None),
    ],
)
def test_messages(fields: dict[str, object], message: object) -> None:
    assert wire.parse(json.dumps(fields)) == message


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", '{"type":5}', "[" * 5000, '{"type":"page"}', '{"type":"page","token":""}',
        '{"type":"page","token":7}', '{"type":"retake"}', '{"type":"retake","step":"nose"}',
        '{"type":"retake","step":["left"]}', '{"type":"accept","name":5}', '{"type":"begin"}' + " " * 5000,
    ],
)  # fmt: skip
def test_what_is_malformed_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError):
        wire.parse(text)


@given(
    st.text(max_size=200)
    | st.recursive(st.none() | st.text() | st.integers(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)).map(
        json.dumps
    )
)
def test_any_text_is_understood_or_refused(text: str) -> None:
    with contextlib.suppress(ProtocolError):
        wire.parse(text)


def test_pictures_have_a_number_and_a_limit() -> None:
    assert wire.parse_picture(b"\0\0\1\2jpeg") == (258, b"jpeg")
    for data in (b"", b"\0\0\0\1", bytes(5 + MAX_JPEG_BYTES)):
        with pytest.raises(ProtocolError):
            wire.parse_picture(data)


def jpeg(width: int, height: int, **options: object) -> bytes:
    import io

    import numpy as np
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(out, "JPEG", **options)
    return out.getvalue()


def test_a_cameras_picture_is_decoded_in_its_own_size() -> None:
    assert decoded(jpeg(640, 480)).shape == (480, 640, 3)


def test_only_jpegs_as_a_page_makes_them_are_decoded() -> None:
    small = jpeg(320, 240)
    frame = small.index(b"\xff\xc0")
    huge = small[: frame + 5] + b"\xff\xff\xff\xff" + small[frame + 9 :]  # says 65535 x 65535
    for data in (
        b"",
        b"\x89PNG\r\n",
        small[:40],
        small[:frame],
        huge,
        jpeg(100, 100),
        jpeg(640, 480, progressive=True),
        b"\xff\xd8" + b"\xff\xe0\0\2" * 1000,
    ):
        with pytest.raises(MediaError):
            decoded(data)
