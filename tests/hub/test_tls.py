import asyncio
import json
import ssl

import pytest
from click.testing import CliRunner
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from telepresence.cli import main
from telepresence.errors import InputError
from telepresence.hub import tls
from telepresence.hub.client import HubClient, Joined, parse_join_url
from telepresence.hub.tls import Certificate, certificate
from telepresence.hub.urls import join_url
from tests.hub.certificates import self_signed
from tests.hub.http import get
from tests.hub.running import Events, hub, token


@pytest.fixture
def own(tmp_path):
    return self_signed(tmp_path / "own", "127.0.0.1", "localhost", "hub.example.org")


def trusted(monkeypatch, made):
    """As with --ca."""
    monkeypatch.setenv(tls.CA_VARIABLE, str(made.certificate))


def test_a_client_joins_by_an_https_link(own, monkeypatch):
    trusted(monkeypatch, own)

    async def main():
        async with hub(tls=own.context()) as running:
            url = parse_join_url(join_url(f"https://localhost:{running.port}", "den", token()))
            assert url.signal_url.startswith("wss://")
            async with await HubClient.connect(url.signal_url, url.token, url.room) as client:
                await Events(client).next_of(Joined)
            page = await get(running.port, "/healthz", tls=tls.client_context())
            assert json.loads(page.body)["status"] == "ok"

    asyncio.run(main())


def test_with_ca_the_hub_is_trusted_by_that_certificate_alone(own, tmp_path, monkeypatch):
    other = self_signed(tmp_path / "other", "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(own.certificate))  # what this machine trusts
    assert tls.client_context().cert_store_stats()["x509"] >= 1
    monkeypatch.setenv(tls.CA_VARIABLE, str(other.certificate))

    async def main():
        async with hub(tls=own.context()) as running:
            with pytest.raises(InputError, match="--ca FILE"):
                await HubClient.connect(f"wss://127.0.0.1:{running.port}/signal", token(), "den")

    asyncio.run(main())


def test_a_ca_file_that_is_none_is_refused_at_once(tmp_path):
    text = tmp_path / "text.pem"
    text.write_text("nothing")
    for path in (text, tmp_path / "none.pem"):
        arguments = ["doctor", "--hub", "http://127.0.0.1:9", "--ca", str(path)]
        done = CliRunner(env={tls.CA_VARIABLE: None}).invoke(main, arguments)
        assert done.exit_code != 0
        assert "--ca" in done.output + str(done.exception)


@pytest.mark.parametrize(
    ("host", "names", "days", "trust", "told"),
    [
        ("127.0.0.1", ("127.0.0.1",), (-1, 30), False, "--ca FILE"),
        ("127.0.0.1", ("127.0.0.1",), (-30, -1), True, "has expired"),
        ("127.0.0.1", ("127.0.0.1",), (1, 30), True, "not valid yet"),
        ("localhost", ("hub.example.org",), (-1, 30), True, "another name"),
        ("127.0.0.1", ("hub.example.org",), (-1, 30), True, "another name"),
    ],
)
def test_a_certificate_that_is_not_good_is_explained(tmp_path, monkeypatch, host, names, days, trust, told):
    made = self_signed(tmp_path, *names, days=days)
    if trust:
        trusted(monkeypatch, made)

    async def main():
        async with hub(tls=made.context()) as running:
            with pytest.raises(InputError, match=told):
                await HubClient.connect(f"wss://{host}:{running.port}/signal", token(), "den")

    asyncio.run(main())


def test_https_where_there_is_none_is_explained():
    async def main():
        async with hub() as running:
            with pytest.raises(InputError, match="http: and not https:"):
                await HubClient.connect(f"wss://127.0.0.1:{running.port}/signal", token(), "den")

    asyncio.run(main())


def test_the_files_are_checked_before_the_hub_starts(own, tmp_path):
    assert certificate(None, None) is None
    assert certificate(own.certificate, own.key) == own
    other = self_signed(tmp_path / "other", "localhost")
    locked = self_signed(tmp_path / "locked", "localhost", passphrase=b"secret")
    text = tmp_path / "text.pem"
    text.write_text("nothing")
    for file, key, told in (
        (own.certificate, None, "go together"),
        (None, own.key, "go together"),
        (own.certificate, other.key, "not the key of"),
        (own.certificate, tmp_path / "none", "--key"),
        (tmp_path / "none", own.key, "--certificate"),
        (text, text, "PEM"),
        (locked.certificate, locked.key, "passphrase"),
    ):
        with pytest.raises(InputError, match=told):
            certificate(file, key)


def test_the_names_of_a_certificate_are_where_the_hub_is(own, tmp_path):
    assert own.names() == ("localhost", "hub.example.org", "127.0.0.1")
    assert self_signed(tmp_path / "wild", "*.example.org").names() == ()
    assert Certificate(tmp_path / "none", tmp_path / "none").names() == ()


def test_a_renewed_certificate_is_used_without_a_restart(own, tmp_path, monkeypatch):
    monkeypatch.setattr(tls, "RENEWAL_LOOK_S", 0.01)
    other = self_signed(tmp_path / "other", "127.0.0.1")
    context = own.context()

    async def main():
        following = asyncio.ensure_future(own.follow(context))
        async with hub(tls=context) as running:

            async def shown():
                return await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", running.port))

            before = await shown()
            # one is being written, or one is new and the other still old
            for file, text in ((own.key, "half"), (own.certificate, other.certificate.read_text())):
                kept = file.read_text()
                file.write_text(text)
                await asyncio.sleep(0.05)
                assert await shown() == before
                file.write_text(kept)
            self_signed(own.certificate.parent, "127.0.0.1")
            async with asyncio.timeout(5):
                while await shown() == before:  # noqa: ASYNC110  # only a new connection shows it
                    await asyncio.sleep(0.01)
        following.cancel()

    asyncio.run(main())


FORWARDED = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}


@pytest.mark.parametrize("trusts", [True, False])
def test_only_a_named_proxy_is_believed(trusts):
    """By what counts per address: with a limit of one connection, whom the proxy speaks for decides."""

    async def main():
        async with hub(proxies=["127.0.0.1"] if trusts else ["192.0.2.1"], connections_per_address=1) as running:
            url = running.url
            first = FORWARDED
            second = FORWARDED | {"X-Forwarded-For": "198.51.100.9, 203.0.113.8"}  # the left one anybody can claim
            async with connect(url, additional_headers=first, proxy=None):
                if trusts:
                    async with connect(url, additional_headers=second, proxy=None):
                        again = FORWARDED | {"X-Forwarded-For": "192.0.2.55, 203.0.113.8"}
                        with pytest.raises(InvalidStatus, match="429"):
                            await connect(url, additional_headers=again, proxy=None)
                else:
                    with pytest.raises(InvalidStatus, match="429"):
                        await connect(url, additional_headers=second, proxy=None)

    asyncio.run(main())
