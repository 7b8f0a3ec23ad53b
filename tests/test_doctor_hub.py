"""`doctor --hub` against real hubs on loopback: each thing that can be wrong is found, said and mended."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from telepresence import doctor_hub, doctor_nat
from telepresence.cli import main
from telepresence.doctor import Check
from telepresence.doctor_hub import examine_hub
from telepresence.doctor_nat import servers_of, stun_checks
from telepresence.hub import app, pages
from telepresence.hub.client import HubClient
from telepresence.hub.ice import IceConfig
from telepresence.hub.messages import IceServer
from telepresence.hub.tls import CA_VARIABLE
from telepresence.hub.urls import join_url
from telepresence.resources import shipped
from tests.hub.certificates import self_signed
from tests.hub.running import hub, token
from tests.turnserver import SECRET, free_port, turn_server


def examined(link: str = "{base}/room/den?token={token}", scheme: str = "http", **options: Any) -> dict[str, Check]:
    """What is found out about a hub with these options, by name."""

    async def main() -> list[Check]:
        async with hub(**options) as running:
            url = link.format(base=f"{scheme}://127.0.0.1:{running.port}", token=token())
            return await examine_hub(url)

    return {check.name: check for check in asyncio.run(main())}


def test_a_good_way_is_found_good_and_what_is_missing_is_said() -> None:
    checks = examined()
    for name in ("name", "tcp", "tls", "hub", "clock", "page", "websocket", "room"):
        assert checks[name].status == "ok", checks[name]
    assert "isolation" not in checks
    assert "--stun" in checks["stun"].remedy
    assert "--turn" in checks["turn"].remedy
    assert all(check.status != "fail" for check in checks.values())


def test_the_others_see_somebody_go_again() -> None:
    async def main() -> None:
        async with hub() as running:
            await examine_hub(join_url(f"http://127.0.0.1:{running.port}", "den", token()))
            async with await HubClient.connect(running.url, token(), "den") as late:
                async for event in late:
                    assert event.participants == ()  # type: ignore[union-attr]
                    break

    asyncio.run(main())


def test_no_finding_holds_the_token() -> None:
    for link in ("{base}/room/den?token={token}", "{base}/room/attic?token={token}"):
        checks = examined(link)
        assert "AQ" not in "".join(check.finding + check.remedy for check in checks.values())


NO_LINKS = [
    "", "den", "ftp://127.0.0.1/room/den?token=t", "{base}/room/den", "http://", "http://[::1/room/den?token=t",
    "http://[::1", "http://127.0.0.1:99999", "http://127.0.0.1:99999/room/den?token=t",
]  # fmt: skip


@pytest.mark.parametrize("link", NO_LINKS)
def test_what_is_no_link_is_said_to_be_none(link: str) -> None:
    checks = examined(link)
    assert list(checks) == ["link"]
    assert checks["link"].status == "fail"
    assert checks["link"].remedy


def test_an_address_alone_is_examined_as_far_as_it_goes() -> None:
    checks = examined("{base}/")
    assert checks["websocket"].status == "ok"
    assert "no token" in checks["room"].finding
    assert "stun" not in checks


def test_nobody_there() -> None:
    checks = {check.name: check for check in asyncio.run(examine_hub(f"http://127.0.0.1:{free_port()}"))}
    assert list(checks) == ["name", "tcp"]
    assert checks["tcp"].status == "fail"
    assert "telepresence hub" in checks["tcp"].remedy
    unknown = asyncio.run(examine_hub("http://nowhere.invalid"))
    assert [(check.name, check.status) for check in unknown] == [("name", "fail")]


def test_something_else_than_a_hub() -> None:
    async def main() -> list[Check]:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            return await examine_hub(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")

    last = asyncio.run(main())[-1]
    assert (last.name, last.status) == ("hub", "fail")
    assert "no hub" in last.finding


def test_another_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "PROTOCOL", 2)
    checks = examined()
    assert checks["hub"].status == "fail"
    assert "update the older" in checks["hub"].remedy


def test_a_clock_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    late = SimpleNamespace(time=lambda: time.time() - 100, monotonic=time.monotonic)
    monkeypatch.setattr(doctor_hub, "time", late)
    checks = examined()
    assert checks["clock"].status == "warn"


def test_a_token_that_is_not_good() -> None:
    checks = examined("{base}/room/attic?token={token}")
    assert checks["room"].status == "fail"
    assert "another room" in checks["room"].finding
    assert checks["room"].remedy == "ask for a fresh link"


def test_a_hub_that_refuses_its_own_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "origin_allowed", lambda origin, host, allowed: origin is None)
    checks = examined()
    assert checks["origin"].status == "warn"
    assert "--public-url http://127.0.0.1:" in checks["origin"].remedy


def test_a_hub_without_what_browsers_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "shipped", lambda name: tmp_path if name == "web" else shipped(name))
    checks = examined()
    assert checks["vendor"].status == "warn"
    assert "make web" in checks["vendor"].remedy
    assert checks["isolation"].status == "warn"  # no page at all


def test_what_is_looked_for_is_what_is_fetched() -> None:
    vendor = json.loads((shipped("web") / "package.json").read_text())["vendor"]
    assert set(doctor_hub.VENDOR) <= {f"{name}/{path}" for name, about in vendor.items() for path in about["files"]}


def test_plain_http_beyond_this_machine_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_hub, "_is_loopback", lambda host: False)
    checks = examined()
    assert checks["tls"].status == checks["page"].status == "warn"
    assert "HTTPS" in checks["page"].remedy


def test_https(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = self_signed(tmp_path, "127.0.0.1")
    unknown = examined(scheme="https", tls=made.context())
    assert unknown["tls"].status == "fail"
    assert "--ca FILE" in unknown["tls"].finding
    monkeypatch.setenv(CA_VARIABLE, str(made.certificate))
    checks = examined(scheme="https", tls=made.context())
    for name in ("tls", "hub", "page", "websocket", "room"):
        assert checks[name].status == "ok", checks[name]
    soon = self_signed(tmp_path, "127.0.0.1", days=(-1, 3))
    assert examined(scheme="https", tls=soon.context())["tls"].status == "warn"


def test_a_turn_server_that_works_and_one_that_does_not() -> None:
    async def main() -> None:
        async with turn_server() as turn:
            both = IceConfig(turn=(turn.url, turn.tcp_url), secret=SECRET.encode(), relay_only=True)
            checks = await of(both)
            assert [check.status for check in checks if check.name == "turn"] == ["ok", "ok"]
            assert [check.status for check in checks if check.name == "stun"] == ["ok"]
            assert "TURN only" in next(check.finding for check in checks if check.name == "room")
            wrong = await of(IceConfig(turn=(turn.url,), secret=b"another secret of the hub", relay_only=True))
            assert "static-auth-secret" in next(check.remedy for check in wrong if check.name == "turn")
            assert wrong[-1].status == "fail"

    async def of(ice: IceConfig) -> list[Check]:
        async with hub(ice=ice) as running:
            return await examine_hub(join_url(f"http://127.0.0.1:{running.port}", "den", token()))

    asyncio.run(main())


def test_the_address_counts_as_browsers_write_it() -> None:
    origins = {"https://Hub.Example.org:443": "https://hub.example.org", "http://[::1]:8081/": "http://[::1]:8081"}
    for link, origin in origins.items():
        assert doctor_hub._way(link).origin == origin


def test_silence_and_a_name_that_is_none_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_nat, "STUN_WAIT_S", 0.01)
    servers = servers_of([IceServer((f"stun:127.0.0.1:{free_port()}", "stun:nowhere.invalid", "stun:a..b"))])
    silent, unknown, broken = asyncio.run(doctor_nat.mapped_addresses(servers)).values()
    assert silent == "no answer"
    assert "not known" in str(unknown)
    assert "not known" in str(broken)


def test_servers_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_nat, "STUN_WAIT_S", 0.01)
    monkeypatch.setattr(doctor_nat, "TURN_TIMEOUT_S", 0.1)
    nobody = free_port()
    turn = (f"turn:127.0.0.1:{nobody}", f"turn:127.0.0.1:{nobody}?transport=tcp", f"turns:127.0.0.1:{nobody}")
    checks = examined(ice=IceConfig(("stun:nowhere.invalid",), turn, b"0123456789abcdef"))
    assert checks["stun"].status == "warn"
    assert "UDP may be blocked" in checks["stun"].remedy
    assert checks["turn"].status == "warn"


def test_a_nat_that_gives_every_destination_another_port(monkeypatch: pytest.MonkeyPatch) -> None:
    async def mapped(servers: object) -> dict[str, tuple[str, int] | str]:
        return {"stun:a": ("203.0.113.7", 1000), "stun:b": ("203.0.113.7", 1001), "stun:c": "no answer"}

    monkeypatch.setattr(doctor_nat, "mapped_addresses", mapped)
    checks = asyncio.run(stun_checks([IceServer(("stun:a", "stun:b"))]))
    assert [(check.name, check.status) for check in checks] == [("stun", "ok"), ("stun", "warn"), ("nat", "warn")]


def test_urls_are_taken_apart() -> None:
    found = servers_of([IceServer(("stun:a", "turns:b:443", "nonsense"), "u", "c")])
    assert [(s.scheme, s.host, s.port, s.transport, s.relays) for s in found] == [
        ("stun", "a", 3478, "udp", False),
        ("turns", "b", 443, "tcp", True),
    ]


def test_the_command_prints_json_and_ends_with_a_status() -> None:
    done = CliRunner().invoke(main, ["doctor", "--hub", f"http://127.0.0.1:{free_port()}", "--json"])
    assert done.exit_code == 1
    document = json.loads(done.output)
    assert document["ok"] is False
    assert [check["name"] for check in document["checks"]] == ["name", "tcp"]
