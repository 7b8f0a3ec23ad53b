"""Certificates of a hub that speaks HTTPS itself: read, checked, explained, and read again when they are renewed."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from telepresence.errors import InputError

# https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/
_NOT_YET: Final = 9
_EXPIRED: Final = 10
_UNKNOWN_ISSUER: Final = frozenset({2, 18, 19, 20, 21})
_OTHER_NAME: Final = frozenset({62, 64})

CA_VARIABLE: Final = "TELEPRESENCE_CA"  # environment variable with the file of `--ca`
RENEWAL_LOOK_S: Final = 60.0  # between looks at whether the files have changed

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate chain and its private key, both PEM files."""

    certificate: Path
    """The server's own certificate first, then those between it and the root (`fullchain.pem`)."""
    key: Path
    """Without a passphrase."""

    def context(self) -> ssl.SSLContext:
        """For a server.

        Raises:
            InputError: a file cannot be used; the message says which and why.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.load_into(context)
        return context

    def load_into(self, context: ssl.SSLContext) -> None:
        """Make a context use the files as they are now; connections that are open keep theirs. Raises InputError."""
        for path, option in ((self.certificate, "--certificate"), (self.key, "--key")):
            try:
                path.read_bytes()
            except OSError as error:
                raise InputError(f"{path}: cannot be read ({error.strerror}); give {option} a file") from error
        try:
            context.load_cert_chain(self.certificate, self.key, password=_no_passphrase)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                text = f"{self.key} is not the key of {self.certificate}; give both files of one certificate"
            else:
                text = f"{self.certificate} and {self.key} are no certificate and key in PEM form ({error.reason})"
            raise InputError(text) from error

    def names(self) -> tuple[str, ...]:
        """DNS names and addresses that it is good for, wildcards left out."""
        from cryptography import x509

        try:
            first = x509.load_pem_x509_certificates(self.certificate.read_bytes())[0]
            names = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (OSError, ValueError, x509.ExtensionNotFound):
            return ()
        found = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
        return tuple(name for name in found if "*" not in name)

    async def follow(self, context: ssl.SSLContext) -> None:
        """Load the files again whenever they have changed, for as long as this runs: certificates are renewed."""
        known = self._state()
        while True:
            await asyncio.sleep(RENEWAL_LOOK_S)
            state = self._state()
            if state == known:
                continue
            try:
                self.context()  # first: a context keeps what it could load of two files that do not fit
                self.load_into(context)
            except InputError as error:  # half written: the next look finds the rest
                _log.warning("the renewed certificate cannot be used yet: %s", error)
            else:
                known = state
                _log.info("the certificate was loaded anew")

    def _state(self) -> tuple[int, ...] | None:
        try:
            return tuple(path.stat().st_mtime_ns for path in (self.certificate, self.key))
        except OSError:
            return None


def client_context() -> ssl.SSLContext:
    """For a client of a hub: trusts the certificate in CA_VARIABLE and nothing else, or whatever this machine trusts.

    Raises:
        InputError: the file cannot be used.
    """
    path = os.environ.get(CA_VARIABLE)
    try:
        return ssl.create_default_context(cafile=path or None)
    except OSError as error:  # ssl.SSLError among them
        raise InputError(f"{path}: cannot be read as a certificate in PEM form; --ca is the hub's") from error


def tls_problem(error: ssl.SSLError) -> str:
    """Why a client cannot speak TLS with a hub, and what to do. Nothing of the hub's own words."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"it does not speak TLS as expected ({error.reason or 'handshake failed'}); "
            "is the link to begin with http: and not https:, or does something in between take connections apart?"
        )
    if error.verify_code in _UNKNOWN_ISSUER:
        return (
            "its certificate is signed by nobody that this machine knows (self-signed, or the chain is incomplete). If "
            "it is your own, get its file from whoever runs the hub and give it with --ca FILE; else do not trust it"
        )
    if error.verify_code == _EXPIRED:
        return "its certificate has expired, or this machine's clock is wrong; it has to be renewed by who runs the hub"
    if error.verify_code == _NOT_YET:
        return "its certificate is not valid yet, or this machine's clock is wrong; set the clocks right"
    if error.verify_code in _OTHER_NAME:
        return "its certificate is for another name than the one in the link; use the link with that name"
    return f"its certificate cannot be verified ({error.verify_message})"


def _no_passphrase() -> str:
    """In place of OpenSSL's question on the terminal."""
    raise InputError("the key has a passphrase; give a --key without: openssl pkey -in KEY -out KEY.plain")


def certificate(file: Path | None, key: Path | None) -> Certificate | None:
    """What a user gave, checked; None: plain HTTP.

    Raises:
        InputError: one without the other, or files that cannot be used.
    """
    if file is None and key is None:
        return None
    if file is None or key is None:
        raise InputError("--certificate and --key go together; a file with both in it is given to each")
    made = Certificate(file, key)
    made.context()
    return made
