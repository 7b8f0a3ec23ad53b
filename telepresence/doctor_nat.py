"""What is between this machine and others: asks STUN servers for our address, TURN servers for a relayed one.

Of what the network answers, only what the protocols promise is used.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aioice import stun, turn

from telepresence.doctor import Check
from telepresence.hub.messages import IceServer

STUN_ATTEMPTS: Final = 4
STUN_WAIT_S: Final = 0.5  # for an answer to each
TURN_TIMEOUT_S: Final = 6.0

_GUIDE: Final = "docs/nat.md"
_URL: Final = re.compile(r"(stuns?|turns?):([A-Za-z0-9._-]+)(?::([0-9]+))?(?:\?transport=(udp|tcp))?")


_OTHER_WAY: Final = "is it running and reachable? a network without UDP needs ?transport=tcp, or turns: on port 443"
_OTHER_SECRET: Final = (
    "give the hub's --turn-secret-file and coturn's static-auth-secret the same text; check both clocks"
)
_QUOTA: Final = "raise coturn's user-quota and total-quota"


class ProbeError(Exception):
    """Why a server gave no address, in words for the user, and what to do."""

    def __init__(self, finding: str, remedy: str = _OTHER_WAY) -> None:
        super().__init__(finding)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Server:
    """One URL of an ICE server, taken apart."""

    url: str
    scheme: str
    """`stun`, `stuns`, `turn` or `turns`."""
    host: str
    port: int
    transport: str
    """`udp` or `tcp`."""
    username: str | None
    credential: str | None

    @property
    def relays(self) -> bool:
        """Whether it is a TURN server."""
        return self.scheme in ("turn", "turns")


def servers_of(ice: Sequence[IceServer]) -> list[Server]:
    """All servers of all entries, in order; what is no URL is left out."""
    found = []
    for entry in ice:
        for url in entry.urls:
            match = _URL.fullmatch(url)
            if match is None:
                continue
            scheme, host, port, transport = match.groups()
            usual = 5349 if scheme.endswith("s") else 3478
            by = transport or ("tcp" if scheme.endswith("s") else "udp")
            found.append(Server(url, scheme, host, int(port or usual), by, entry.username, entry.credential))
    return found


async def stun_checks(ice: Sequence[IceServer]) -> list[Check]:
    """Whether UDP goes out and comes back, and what the NAT makes of it. TURN servers answer STUN as well."""
    servers = [s for s in servers_of(ice) if s.transport == "udp" and s.scheme in ("stun", "turn")]
    if not servers:
        remedy = f"for calls between networks: telepresence hub --stun URL, and --turn for the rest ({_GUIDE})"
        return [Check("stun", "warn", "none: calls work within one network only", remedy)]
    answers = await mapped_addresses(servers)
    seen = {url: answer for url, answer in answers.items() if not isinstance(answer, str)}
    silent = "; ".join(f"{url}: {answer}" for url, answer in answers.items() if isinstance(answer, str))
    if not seen:
        remedy = f"UDP may be blocked: ask for it to be allowed, or have a TURN server by TCP or TLS ({_GUIDE})"
        return [Check("stun", "warn", silent, remedy)]
    hosts = ", ".join(sorted({host for host, _ in seen.values()}))
    checks = [Check("stun", "ok", f"UDP goes out and in; seen from outside as {hosts}")]
    if silent:
        checks.append(Check("stun", "warn", silent, "let the hub name servers that answer"))
    if len({port for _, port in seen.values()}) > 1:
        finding = "this network's NAT gives every destination another port: no direct connections"
        has_turn = any(server.relays for server in servers_of(ice))
        checks.append(Check("nat", "ok", finding) if has_turn else Check("nat", "warn", finding, f"TURN: {_GUIDE}"))
    return checks


async def turn_checks(ice: Sequence[IceServer], relay_only: bool) -> list[Check]:
    """Whether each TURN server relays. With `relay_only` a call fails if none does."""
    servers = [server for server in servers_of(ice) if server.relays]
    if not servers:
        remedy = f"some networks let through nothing else: telepresence hub --turn URL ({_GUIDE})"
        return [Check("turn", "fail" if relay_only else "warn", "none", remedy)]
    checks = []
    for server in servers:
        try:
            host, port = await relayed_address(server)
        except ProbeError as error:
            checks.append(Check("turn", "warn", f"{server.url}: {error}", error.remedy))
        else:
            checks.append(Check("turn", "ok", f"{server.url}: relays from {host} port {port}"))
    if relay_only and all(check.status != "ok" for check in checks):
        checks.append(Check("relay", "fail", "connections are to go by TURN only, and no TURN server relays"))
    return checks


async def mapped_addresses(servers: Sequence[Server]) -> dict[str, tuple[str, int] | str]:
    """Ask all STUN servers from one UDP socket (RFC 8489).

    Returns:
        Server's URL -> our address and port as it sees them, or why there is no answer. From one socket, so that
        different ports mean a NAT that gives every destination another (symmetric): behind it only TURN works.
    """
    loop = asyncio.get_running_loop()
    answers: dict[str, tuple[str, int] | str] = {}
    transport, protocol = await loop.create_datagram_endpoint(_Answers, local_addr=("0.0.0.0", 0))
    try:
        for server in servers:
            try:
                found = await loop.getaddrinfo(server.host, server.port, family=socket.AF_INET)  # as ours
                answers[server.url] = await _ask(transport, protocol, (str(found[0][4][0]), server.port))
            except TimeoutError:
                answers[server.url] = "no answer"
            except (OSError, UnicodeError) as error:  # UnicodeError: no name can be like that
                answers[server.url] = f"its name is not known ({getattr(error, 'strerror', None) or 'no such name'})"
    finally:
        transport.close()
    return answers


async def relayed_address(server: Server) -> tuple[str, int]:
    """Allocate an address at a TURN server (RFC 8656) and give it back.

    Raises:
        ProbeError: it gave none.
    """
    try:
        async with asyncio.timeout(TURN_TIMEOUT_S):
            transport, _ = await turn.create_turn_endpoint(
                asyncio.DatagramProtocol,
                (server.host, server.port),
                server.username,
                server.credential,
                ssl=True if server.scheme == "turns" else None,
                transport=server.transport,
            )
    except stun.TransactionFailed as error:
        code = int(error.response.attributes.get("ERROR-CODE", (0, ""))[0])
        remedy = {401: _OTHER_SECRET, 486: _QUOTA}.get(code, _OTHER_WAY)
        raise ProbeError(f"it refuses (STUN error {code})", remedy) from error
    except (TimeoutError, stun.TransactionTimeout) as error:
        raise ProbeError(f"no answer by {server.transport.upper()}") from error
    except ssl.SSLError as error:
        raise ProbeError(f"TLS fails ({error.reason})") from error
    except (OSError, ValueError, ConnectionError) as error:
        raise ProbeError(f"not reached by {server.transport.upper()} ({error})") from error
    host, port = transport.get_extra_info("sockname")[:2]
    transport.close()
    await asyncio.sleep(0)  # the goodbye is sent by a task of its own
    return str(host), int(port)


class _Answers(asyncio.DatagramProtocol):
    """Waits for the answer to one request at a time."""

    def __init__(self) -> None:
        self.wanted = b""
        self.answer: asyncio.Future[stun.Message] | None = None

    def datagram_received(self, data: bytes, addr: object) -> None:
        try:
            message = stun.parse_message(data)
        except ValueError:
            return
        if self.answer and not self.answer.done() and message.transaction_id == self.wanted:
            self.answer.set_result(message)


async def _ask(transport: asyncio.DatagramTransport, protocol: _Answers, address: tuple[str, int]) -> tuple[str, int]:
    """Raises TimeoutError."""
    request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    protocol.wanted, protocol.answer = request.transaction_id, asyncio.get_running_loop().create_future()
    for _ in range(STUN_ATTEMPTS):
        transport.sendto(bytes(request), address)
        try:
            async with asyncio.timeout(STUN_WAIT_S):
                message = await asyncio.shield(protocol.answer)
        except TimeoutError:
            continue
        for name in ("XOR-MAPPED-ADDRESS", "MAPPED-ADDRESS"):
            if name in message.attributes:
                host, port = message.attributes[name]
                return str(host), int(port)
    raise TimeoutError
