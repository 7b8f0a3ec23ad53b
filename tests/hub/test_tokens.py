import base64

import pytest

from telepresence.errors import SignallingError, TokenError
from telepresence.hub.codec import parse_token
from telepresence.hub.messages import MAX_TOKEN_CHARACTERS
from telepresence.hub.tokens import CLOCK_SLACK_S, MAX_TTL_S, issue, verify

SECRET = b"sixteen bytes at least"
NOW = 1_700_000_000.0


def test_a_token_says_what_it_was_issued_with():
    claims = verify(SECRET, issue(SECRET, "den", ttl_s=60, now=NOW, name="Ada"), "den", now=NOW + 59)
    assert (claims.room, claims.expires, claims.name, claims.participant) == ("den", int(NOW) + 60, "Ada", "")


def test_the_longest_token_fits_in_a_message():
    token = issue(SECRET, "r" * 64, now=NOW, name="\U0001f600" * 64, participant="p" * 32)
    assert len(token) <= MAX_TOKEN_CHARACTERS
    assert parse_token(token) == token
    assert verify(SECRET, token, "r" * 64, now=NOW).name == "\U0001f600" * 64


def test_the_format_stays_as_it_is():
    # signature from: openssl dgst -sha256 -mac HMAC -macopt key:0123456789abcdef -binary | base64 | tr '+/' '-_'
    token = issue(b"0123456789abcdef", "den", ttl_s=60, now=1_700_000_000)
    assert token == "AQEAAAAAZVPxAAAAADwDAAAAZGVu.3XFp4fse3aLrXVKiF15fbnvNdJ0zQmMcwcCPx1Ib5RI"


def test_every_changed_character_is_noticed():
    token = issue(SECRET, "den", now=NOW)
    for i in range(len(token)):
        changed = token[:i] + ("A" if token[i] != "A" else "B") + token[i + 1 :]
        if _decoded(changed) == _decoded(token):  # the last character has bits that mean nothing
            continue
        with pytest.raises(TokenError):
            verify(SECRET, changed, "den", now=NOW)


def _decoded(token: str) -> list[bytes]:
    return [base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in token.split(".")]


@pytest.mark.parametrize("token", ["", ".", "a.b", "é.é", "a" * 2000, "AQ.AQ", "AQEA", "=.=", "A.A", "\ud800.a"])
def test_what_is_no_token_is_refused(token):
    with pytest.raises(TokenError, match="fresh join URL"):
        verify(SECRET, token, "den", now=NOW)


def test_a_token_of_another_secret_is_refused():
    with pytest.raises(TokenError, match="not valid here"):
        verify(b"another secret of a hub", issue(SECRET, "den", now=NOW), "den", now=NOW)


def test_an_expired_token_is_refused_from_its_last_second_on():
    token = issue(SECRET, "den", ttl_s=60, now=NOW)
    verify(SECRET, token, "den", now=NOW + 59.9)
    with pytest.raises(TokenError, match="expired"):
        verify(SECRET, token, "den", now=NOW + 60)


def test_a_token_from_the_future_is_refused_beyond_the_slack():
    token = issue(SECRET, "den", now=NOW)
    verify(SECRET, token, "den", now=NOW - CLOCK_SLACK_S)
    with pytest.raises(TokenError, match="future"):
        verify(SECRET, token, "den", now=NOW - CLOCK_SLACK_S - 1)


def test_a_token_opens_one_room_only():
    with pytest.raises(TokenError, match="another room"):
        verify(SECRET, issue(SECRET, "den", now=NOW), "attic", now=NOW)


def test_a_join_token_is_no_resume_token_nor_the_reverse():
    with pytest.raises(TokenError):
        verify(SECRET, issue(SECRET, "den", now=NOW), "den", now=NOW, kind="resume")
    with pytest.raises(TokenError):
        verify(SECRET, issue(SECRET, "den", now=NOW, participant="p", kind="resume"), "den", now=NOW)


def test_what_cannot_be_issued():
    with pytest.raises(ValueError, match="16 bytes"):
        issue(b"short", "den", now=NOW)
    for ttl_s in (0, MAX_TTL_S + 1):
        with pytest.raises(ValueError, match="lives"):
            issue(SECRET, "den", ttl_s=ttl_s, now=NOW)
    with pytest.raises(SignallingError):
        issue(SECRET, "a room", now=NOW)
