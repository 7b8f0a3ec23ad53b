import asyncio
import re
import signal
import subprocess
import sys

import pytest

from telepresence.errors import InputError
from telepresence.hub import connection, protocols, serve
from telepresence.hub.app import HubConfig
from telepresence.hub.client import HubClient, Joined, parse_join_url
from telepresence.hub.messages import MAX_SDP_BYTES
from telepresence.hub.serve import bind, check_proxies, config_from_environment, run_hub
from tests.hub.certificates import self_signed
from tests.hub.running import Events, hear, hub, join, raw, say


def test_a_port_in_use_is_an_input_error_that_says_what_to_do():
    with bind("127.0.0.1", 0) as listener, pytest.raises(InputError, match=r"port is in use; .* --port"):
        run_hub("127.0.0.1", listener.getsockname()[1], HubConfig(), announce=pytest.fail)


@pytest.mark.parametrize(
    ("host", "port", "advice"),
    [
        ("192.0.2.1", 0, "not an address of this machine"),
        ("127.0.0.1", 70_000, "--port"),
        ("nowhere.invalid", 0, "--host"),
    ],
)
def test_what_cannot_be_listened_on_is_an_input_error(host, port, advice):
    with pytest.raises(InputError, match=advice):
        bind(host, port)


@pytest.mark.parametrize("bad", [{"room": "a room"}, {"ttl_s": 0}], ids=str)
def test_a_room_or_time_that_cannot_be_used_is_an_input_error(bad):
    with pytest.raises(InputError):
        run_hub("127.0.0.1", 0, HubConfig(), announce=pytest.fail, **bad)


def test_the_secret_comes_from_the_environment_if_it_is_there():
    secret = config_from_environment(environment={"TELEPRESENCE_HUB_SECRET": "0123456789abcdef"}).secret
    assert secret == b"0123456789abcdef"
    assert config_from_environment(environment={}).secret != config_from_environment(environment={}).secret
    with pytest.raises(InputError, match="openssl"):
        config_from_environment(environment={"TELEPRESENCE_HUB_SECRET": "short"})


def test_origins_are_checked():
    origins = ("https://hub.example.org", "http://192.0.2.1:8080")
    assert config_from_environment(origins, {}).origins == origins
    for bad in ("hub.example.org", "https://hub.example.org/", "*", "https://a b"):
        with pytest.raises(InputError, match="--origin"):
            config_from_environment([bad], {})


HUB = """
from telepresence.hub.serve import run_hub
run_hub(port=0, room="den", announce=lambda line: print(line, flush=True))
"""


def test_a_hub_process_announces_a_url_that_admits_and_ends_when_interrupted():
    with subprocess.Popen(
        [sys.executable, "-c", HUB], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            first, second = process.stdout.readline(), process.stdout.readline()
            assert "http://127.0.0.1:" in first
            url = parse_join_url(re.search(r"telepresence join '(.*)'", second)[1])

            async def main():
                async with await HubClient.connect(url.signal_url, url.token, url.room) as client:
                    await Events(client).next_of(Joined)

            asyncio.run(main())
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0
            assert process.stderr.read() == ""
        finally:
            process.kill()


def test_a_client_that_never_reads_is_dropped_down_to_its_tcp_connection(monkeypatch):
    monkeypatch.setattr(connection, "FLUSH_S", 0.02)
    monkeypatch.setattr(protocols, "LINGER_S", 0.02)
    payload = {"kind": "offer", "session": 1, "sdp": "v" * MAX_SDP_BYTES}

    async def main():
        async with hub(messages_burst=10_000, grace_s=0) as running, raw(running) as a, raw(running) as b:
            await join(a)
            stuck = (await join(b))["id"]
            assert (await hear(a))["type"] == "arrived"
            b.transport.pause_reading()
            for _ in range(400):  # beyond what the kernel buffers for a connection
                await say(a, type="relay", to=stuck, payload=payload)
            while (await hear(a)) != {"type": "left", "id": stuck}:
                pass
            async with asyncio.timeout(5):
                while len(running.server.server_state.connections) > 1:  # noqa: ASYNC110  # uvicorn offers no event
                    await asyncio.sleep(0.01)

    asyncio.run(main())


def test_a_hub_with_a_certificate_announces_its_name_and_admits_its_own_page(tmp_path):
    made = self_signed(tmp_path, "hub.example.org", "localhost")
    bases = serve._bases("0.0.0.0", 8443, made)
    assert bases == ["https://hub.example.org:8443", "https://localhost:8443"]
    assert serve._bases("127.0.0.1", 8081, None) == ["http://127.0.0.1:8081"]
    lines = serve._announcement(bases[0], "den", "t.t", 3600)
    assert "https://hub.example.org:8443/room/den?token=t.t" in lines[1]
    assert "nothing but a browser" in lines[2]
    assert "HTTPS only" in serve._announcement("http://192.0.2.1:8081", "den", "t.t", 3600)[2]


def test_a_proxy_is_named_by_its_address():
    check_proxies(["127.0.0.1", "10.0.0.0/8", "::1"])
    for bad in ("*", "proxy", "10.0.0.1/8"):
        with pytest.raises(InputError, match="--behind-proxy"):
            check_proxies([bad])
