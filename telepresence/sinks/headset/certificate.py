"""A certificate of this machine's own, made at the first run: headsets give no WebXR to pages without TLS.

Nobody signs it, so a headset's browser asks once whether it is to be trusted; a native app compares the fingerprint.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from telepresence.errors import InputError
from telepresence.hub.tls import Certificate

LIFE: Final = datetime.timedelta(days=397)  # longer ones are refused by Safari
RENEW: Final = datetime.timedelta(days=14)  # before it ends
NAME: Final = "headset.pem"


def data_folder() -> Path:
    """Where telepresence keeps what it cannot make anew: $XDG_DATA_HOME/telepresence. May not exist yet."""
    base = os.environ.get("XDG_DATA_HOME")
    return Path(base if base else Path.home() / ".local" / "share") / "telepresence"


def own_addresses() -> list[str]:
    """This machine's addresses towards its networks, the likeliest first; the loopback last. No packet is sent."""
    found = []
    for family, far in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((far, 9))
                found.append(str(probe.getsockname()[0]))
            except OSError:
                continue
    return [address for address in dict.fromkeys(found) if not _loopback(address)] + ["127.0.0.1"]


def certificate(folder: Path, addresses: Sequence[str]) -> Certificate:
    """The certificate in `folder`, made anew if there is none, it ends soon, or it lacks one of the addresses.

    Raises:
        InputError: it cannot be read or written.
    """
    path = folder / NAME
    found = Certificate(path, path)
    if path.is_file() and set(addresses) <= set(found.names()) and not _ends_soon(path):
        found.context()
        return found
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}")
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(_make(addresses))
        fresh.replace(path)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); set XDG_DATA_HOME to a folder that can"
        ) from error
    return found


def fingerprint(path: Path) -> str:
    """SHA-256 of the certificate, as browsers show it: for native apps that trust just this one."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    return x509.load_pem_x509_certificate(path.read_bytes()).fingerprint(hashes.SHA256()).hex(":").upper()


def _ends_soon(path: Path) -> bool:
    from cryptography import x509

    try:
        ends = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        return True
    return ends - RENEW < datetime.datetime.now(datetime.UTC)


def _make(addresses: Sequence[str]) -> bytes:
    """Key and certificate, PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "telepresence headset")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), *(x509.IPAddress(ipaddress.ip_address(one)) for one in addresses)]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + LIFE)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    return key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + made.public_bytes(pem)


def _loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback
