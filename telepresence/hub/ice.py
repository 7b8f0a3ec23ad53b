"""STUN and TURN servers that the hub tells participants of, with credentials that are each one's own and end.

Credentials go by the scheme that coturn calls `use-auth-secret` (draft-uberti-behave-turn-rest-00): the hub and the
TURN server share a secret, the user name is `EXPIRY:ID` (seconds since 1970), the password base64(HMAC-SHA1(secret,
name)). Pure: `now` is an argument.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from telepresence.errors import InputError
from telepresence.hub.messages import MAX_ICE_SERVERS, IceServer

CREDENTIAL_TTL_S: Final = 12 * 3600  # as a resume token's: a call may be long; renewed at every join
MIN_SECRET_BYTES: Final = 16
MAX_SECRET_BYTES: Final = 4096

_HOST: Final = r"[A-Za-z0-9._-]+(:(?P<port>[0-9]{1,5}))?"  # no IPv6 address: aiortc would fail on one
_STUN: Final = re.compile(f"stuns?:{_HOST}")
_TURN: Final = re.compile(rf"turns?:{_HOST}(\?transport=(udp|tcp))?")


@dataclass(frozen=True, slots=True)
class IceConfig:
    """What a hub recommends. Make it with `ice_config`."""

    stun: tuple[str, ...] = ()
    """URLs (RFC 7064)."""
    turn: tuple[str, ...] = ()
    """URLs (RFC 7065) of servers that share the secret."""
    secret: bytes = field(default=b"", repr=False)
    """What the TURN servers know too."""
    relay_only: bool = False
    """Whether peer connections are to go by TURN only."""

    def servers(self, participant: str, now: float) -> tuple[IceServer, ...]:
        """For one participant, good for CREDENTIAL_TTL_S from `now`, seconds since 1970."""
        found = [IceServer(self.stun)] if self.stun else []
        if self.turn:
            username, credential = turn_credentials(self.secret, participant, now)
            found.append(IceServer(self.turn, username, credential))
        return tuple(found)


def turn_credentials(secret: bytes, participant: str, now: float, ttl_s: int = CREDENTIAL_TTL_S) -> tuple[str, str]:
    """User name and password for a TURN server that shares the secret."""
    username = f"{int(now) + ttl_s}:{participant}"
    digest = hmac.new(secret, username.encode(), hashlib.sha1).digest()
    return username, base64.b64encode(digest).decode()


def ice_config(
    stun: Sequence[str] = (), turn: Sequence[str] = (), secret_file: Path | None = None, *, relay_only: bool = False
) -> IceConfig:
    """Check what a user gave.

    Raises:
        InputError: a URL is none, the secret cannot be read or is too short, or something is missing.
    """
    for url in stun:
        if not is_stun(url):
            raise InputError("a --stun has the form stun:stun.example.org:3478")
    for url in turn:
        if not is_turn(url):
            raise InputError("a --turn has the form turn:turn.example.org:3478, turns: for TLS, ?transport=tcp for TCP")
    if max(len(stun), len(turn)) > MAX_ICE_SERVERS:
        raise InputError(f"at most {MAX_ICE_SERVERS} --stun and as many --turn; browsers warn from the fifth on")
    if bool(turn) != bool(secret_file):
        raise InputError("--turn and --turn-secret-file go together: the TURN server has the same static-auth-secret")
    if relay_only and not turn:
        raise InputError("--relay-only needs a TURN server: --turn and --turn-secret-file")
    secret = _secret(secret_file) if secret_file else b""
    return IceConfig(tuple(stun), tuple(turn), secret, relay_only)


def is_stun(url: str) -> bool:
    """Whether a text is a STUN URL."""
    return _good(_STUN.fullmatch(url))


def is_turn(url: str) -> bool:
    """Whether a text is a TURN URL."""
    return _good(_TURN.fullmatch(url))


def _good(match: re.Match[str] | None) -> bool:
    return match is not None and 1 <= int(match["port"] or 3478) <= 65535


def _secret(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            secret = file.read(MAX_SECRET_BYTES + 1).strip()
    except OSError as error:
        raise InputError(f"{path}: the TURN secret cannot be read ({error.strerror})") from error
    if not MIN_SECRET_BYTES <= len(secret) <= MAX_SECRET_BYTES:
        raise InputError(f"{path}: not {MIN_SECRET_BYTES} bytes or more; make a secret with: openssl rand -hex 32")
    return secret
