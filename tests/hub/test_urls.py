import re

import pytest

from telepresence.errors import InputError
from telepresence.hub.urls import JoinUrl, base_url, join_url, origin_of, parse_join_url


@pytest.mark.parametrize(
    ("url", "signal_url"),
    [
        ("http://127.0.0.1:8765/room/den?token=a.b", "ws://127.0.0.1:8765/signal"),
        (" https://hub.example.org/room/den/?token=a.b&lang=en\n", "wss://hub.example.org/signal"),
        ("http://[::1]:80/room/den?token=a.b#top", "ws://[::1]:80/signal"),
        ("http://user:pass@h/under/room/den?token=a.b", "ws://h/under/signal"),
    ],
)
def test_join_urls_are_taken_apart(url, signal_url):
    assert parse_join_url(url) == JoinUrl(signal_url, "den", "a.b")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "den",
        "ws://h/room/den?token=secret",
        "http:///room/den?token=secret",
        "http://h:99999/room/den?token=secret",
        "http://h:0/room/den?token=secret",
        "http://[/room/den?token=secret",
        "http://h/den?token=secret",
        "http://h/room/?token=secret",
        "http://h/room/a%2Fb?token=secret",
        "http://h/room/den",
        "http://h/room/den?token=",
        "http://h/room/den?token=secret&token=secret",
        "http://h/room/den?token=sec%20ret",
    ],
)
def test_other_urls_are_refused_with_the_form_that_is_expected_and_without_the_token(url):
    with pytest.raises(InputError, match="expected http://HOST:PORT/room/NAME") as refused:
        parse_join_url(url)
    assert "sec" not in str(refused.value)


def test_join_urls_lead_back_to_what_they_were_made_of():
    parsed = parse_join_url(join_url("https://hub.example.org/", "den", "a.b"))
    assert (parsed.signal_url, parsed.room, parsed.token) == ("wss://hub.example.org/signal", "den", "a.b")


def test_base_urls_can_be_opened():
    assert base_url("127.0.0.1", 1) == "http://127.0.0.1:1"
    assert base_url("::1", 1) == "http://[::1]:1"
    assert base_url("hub.example.org", 1) == "http://hub.example.org:1"
    assert re.fullmatch(r"http://\d+\.\d+\.\d+\.\d+:1", base_url("0.0.0.0", 1))
    assert "0.0.0.0" not in base_url("0.0.0.0", 1)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://hub.example.org/", "https://hub.example.org"),
        ("https://Hub.example.org:443", "https://hub.example.org"),
        ("http://192.0.2.1:8081", "http://192.0.2.1:8081"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
    ],
)
def test_the_public_url_is_an_origin_as_browsers_write_it(url, origin):
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    "url",
    ["hub.example.org", "ftp://a", "https://", "https://a:b", "https://user@a", "https://[::", "https://a/hub",
     "https://a?b", "https://a#b"],
)  # fmt: skip
def test_what_is_no_public_url_is_an_input_error(url):
    with pytest.raises(InputError, match="--public-url"):
        origin_of(url)
