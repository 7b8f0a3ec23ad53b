import asyncio
import base64
import hashlib
import hmac
import json
import time

import pytest

from telepresence.errors import InputError
from telepresence.hub.client import HubClient
from telepresence.hub.codec import parse_from_hub
from telepresence.hub.ice import CREDENTIAL_TTL_S, IceConfig, ice_config, is_stun, is_turn, turn_credentials
from telepresence.hub.messages import IceServer
from tests.hub.running import Events, hub, impatient, token

TURN = "turn:turn.example.org:3478?transport=udp"


def test_credentials_are_those_that_coturn_computes():
    username, credential = turn_credentials(b"north", "ada", 1_433_895_918.5, 86_400)
    assert username == "1433982318:ada"
    assert base64.b64decode(credential) == hmac.new(b"north", username.encode(), hashlib.sha1).digest()
    # printf '1433982318:ada' | openssl dgst -sha1 -hmac north -binary | base64
    assert credential == "OT/YGxts2klBil+MiIIji7BizTI="


@pytest.mark.parametrize("url", ["stun:stun.example.org", "stun:192.0.2.1:3478", "stuns:a.b:443"])
def test_stun_urls(url):
    assert is_stun(url)
    assert not is_turn(url)


@pytest.mark.parametrize("url", [TURN, "turn:a", "turns:a.b:443?transport=tcp"])
def test_turn_urls(url):
    assert is_turn(url)
    assert not is_stun(url)


@pytest.mark.parametrize(
    "url",
    ["", "stun:", "turn:a b", "http://a", "turn:a:0", "turn:a:65536", "turn:a?transport=sctp", "stun:a?transport=udp",
     "turn:[::1]:3478", "turn:a\n", "turn://a"],
)  # fmt: skip
def test_what_no_browser_or_edge_could_use_is_no_url(url):
    assert not is_stun(url)
    assert not is_turn(url)


def test_what_a_user_gives_is_checked(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef\n")
    config = ice_config(["stun:a"], [TURN], secret, relay_only=True)
    assert config == IceConfig(("stun:a",), (TURN,), b"0123456789abcdef", True)
    assert "0123456789abcdef" not in repr(config)
    short = tmp_path / "short"
    short.write_text("short")
    for arguments, told in (
        ((["turn:a"], [], None), "--stun"),
        (([], ["stun:a"], secret), "--turn"),
        (([], [TURN], None), "go together"),
        (([], [], secret), "go together"),
        (([], [TURN], tmp_path / "none"), "cannot be read"),
        (([], [TURN], short), "openssl"),
        ((["stun:a"] * 9, [], None), "at most"),
    ):
        with pytest.raises(InputError, match=told):
            ice_config(*arguments)
    with pytest.raises(InputError, match="needs a TURN server"):
        ice_config(relay_only=True)


def test_everybody_has_credentials_of_their_own_and_new_ones_after_coming_back():
    ice = IceConfig(("stun:a",), (TURN,), b"0123456789abcdef", relay_only=True)

    async def main():
        async with hub(ice=ice) as running:
            async with await impatient(running.url) as ada, await impatient(running.url) as bob:
                for client in (ada, bob):
                    stun, turn = client.ice_servers
                    assert stun == IceServer(("stun:a",))
                    assert turn.urls == (TURN,)
                    assert turn.username.endswith(f":{client.id}")
                    assert client.relay_only
                assert ada.ice_servers != bob.ice_servers
                before = ada.ice_servers
                events = Events(ada)
                await events.next()
                ada.ice_servers = ()
                await ada._socket.close()
                while not ada.ice_servers:
                    await events.next()
                expiry = int(ada.ice_servers[1].username.partition(":")[0])
                assert expiry >= int(before[1].username.partition(":")[0])
            async with await HubClient.connect(running.url, token(), "den") as late:
                assert int(late.ice_servers[1].username.partition(":")[0]) - time.time() > CREDENTIAL_TTL_S - 60

    asyncio.run(main())


def test_a_client_drops_servers_that_would_fail_its_connections():
    servers = [{"urls": ["quic:a", TURN]}, {"urls": ["turn:a b"]}, {"urls": []}, {"urls": ["stun:a"]}]
    text = json.dumps({"type": "joined", "id": "a", "resume": "r.r", "participants": [], "ice_servers": servers})
    assert parse_from_hub(text).ice_servers == (IceServer((TURN,)), IceServer(("stun:a",)))


@pytest.mark.parametrize("turn", [(), (TURN,)])
def test_by_turn_only_where_there_is_none_is_said_at_once(turn):
    async def main():
        async with hub(ice=IceConfig(("stun:a",), turn, b"0123456789abcdef")) as running:
            joining = HubClient.connect(running.url, token(), "den", relay_only=True)
            if turn:
                await (await joining).close()
            else:
                with pytest.raises(InputError, match="no TURN server"):
                    await joining
            async with await HubClient.connect(running.url, token(), "den") as other:  # the place is free again
                assert (await Events(other).next()).participants == ()

    asyncio.run(main())
