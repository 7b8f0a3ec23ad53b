"""Where a recording came from, said in the file itself: C2PA content credentials, by the project's own library.

The manifest has one action, `c2pa.created`, whose digital source type is the IPTC's for pictures that a trained model
drew. It is signed with a key and a certificate of this machine's, made on first use: validators find it intact, and its
signer unknown (`signingCredential.untrusted`). `docs/recording.md` says what each of them shows.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from telepresence import __version__
from telepresence.avatar.owner import data_folder
from telepresence.errors import InputError, MediaError

TRAINED: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
COMPOSITE: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeSynthetic"
SYNTHETIC: Final = frozenset({
    TRAINED,
    COMPOSITE,
    "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia",
    "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicMedia",
})  # fmt: skip
YEARS: Final = 10  # of the certificate
MAX_GENERATOR: Final = 100  # characters of a program's name
MISSING: Final = "recordings say where they come from by c2pa-python, which is missing; run: pip install c2pa-python"


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a file's credentials say."""

    state: str
    """`Trusted`, `Valid` (intact, signer not on the validator's list) or `Invalid`."""
    synthetic: bool
    """Whether it says that it is synthetic media."""
    generator: str
    problems: tuple[str, ...]
    """The validator's codes of what failed; an unknown signer is one that is expected here."""

    def text(self) -> str:
        """For people."""
        says = "synthetic media" if self.synthetic else "nothing about synthetic media"
        return f"{self.state.lower()}: {says}, made with {self.generator}" + "".join(f"; {p}" for p in self.problems)


def available() -> bool:
    """Whether the library is installed."""
    from importlib.util import find_spec

    return find_spec("c2pa") is not None


def sign_recording(path: Path, *, title: str | None = None, source_type: str = TRAINED) -> None:
    """Put credentials into an MP4, in its place: whole, or it stays as it was.

    Raises:
        InputError: the library is missing, or this machine's key is damaged or cannot be kept.
        MediaError: the file cannot be read, or the new one not be written.
    """
    c2pa = _library()
    chain, key = _credentials()
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    try:
        with (
            _signer(c2pa, chain, key) as signer,
            c2pa.Builder(_manifest(title or path.name, source_type)) as builder,
            path.open("rb") as source,
            open(name, "w+b") as target,
        ):
            builder.sign(signer, "video/mp4", source, target)
            target.flush()
            os.fsync(target.fileno())
        os.chmod(name, path.stat().st_mode & 0o777)
        os.replace(name, path)
    except (c2pa.C2paError, OSError) as error:
        raise MediaError(
            f"{path}: its content credentials could not be written ({error}); is the disk full?"
        ) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def check_recording(path: Path) -> Provenance | None:
    """What a file's credentials say; None if it has none.

    Raises:
        InputError: the library is missing.
        MediaError: the file cannot be read.
    """
    c2pa = _library()
    try:
        with path.open("rb") as file, c2pa.Reader("video/mp4", file) as reader:
            return _provenance(json.loads(reader.json()), reader.get_validation_state())
    except c2pa.C2paError.ManifestNotFound:
        return None
    except (c2pa.C2paError, OSError) as error:
        raise MediaError(f"{path}: cannot be checked ({error}); is it an MP4 file?") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:  # anybody may have written them
        raise MediaError(f"{path}: its content credentials are of a form that nobody knows") from error


def _provenance(store: dict[str, Any], state: str | None) -> Provenance:
    manifest = store["manifests"][store["active_manifest"]]
    actions = [
        action
        for assertion in manifest.get("assertions", [])
        if assertion.get("label", "").startswith("c2pa.actions")
        for action in assertion["data"].get("actions", [])
    ]
    makers = manifest.get("claim_generator_info") or [{"name": manifest.get("claim_generator", "an unknown program")}]
    return Provenance(
        state or "Invalid",
        any(action.get("digitalSourceType") in SYNTHETIC for action in actions),
        _plain(f"{makers[0].get('name', 'an unknown program')} {makers[0].get('version', '')}"),
        tuple(sorted({str(status.get("code")) for status in store.get("validation_status", [])})),
    )


def _plain(text: str) -> str:
    """What somebody else wrote, as it may go to a terminal."""
    return "".join(c for c in text if c.isprintable())[:MAX_GENERATOR].strip()


def _manifest(title: str, source_type: str) -> dict[str, Any]:
    created = {
        "action": "c2pa.created",
        "digitalSourceType": source_type,
        "description": "Avatars drawn from the motion of the people in a call; sound, if any, as it was heard.",
        "softwareAgent": {"name": "telepresence", "version": __version__},
    }
    return {
        "claim_generator_info": [{"name": "telepresence", "version": __version__}],
        "title": title,
        "format": "video/mp4",
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [created]}}],
    }


def _library() -> Any:
    try:
        import c2pa
    except (ImportError, OSError) as error:  # OSError: its native part does not load here
        raise InputError(MISSING) from error
    return c2pa


def _signer(c2pa: Any, chain: bytes, key: bytes) -> Any:
    return c2pa.Signer.from_info(c2pa.C2paSignerInfo(c2pa.C2paSigningAlg.ES256, chain, key, None))


def _credentials() -> tuple[bytes, bytes]:
    """Certificate chain and key, PEM; made now if there are none. One file, so that both always go together."""
    path = data_folder() / "recordings.pem"
    try:
        if not path.exists():
            from telepresence.avatar.owner import create

            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            create(path, b"".join(_new_credentials()))
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: the key that signs recordings cannot be kept ({error.strerror})") from error
    chain, mark, key = data.partition(b"-----BEGIN PRIVATE KEY-----")
    if not mark or b"BEGIN CERTIFICATE" not in chain:
        raise InputError(f"{path}: the key that signs recordings is damaged; move it away, and a new one is made")
    return chain, mark + key


def _new_credentials() -> tuple[bytes, bytes]:
    """A certificate for signing content, and the root of its own that issued it; the library takes the pair."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def name(text: str) -> x509.Name:
        return x509.Name([
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "telepresence, unverified"),
            x509.NameAttribute(NameOID.COMMON_NAME, text),
        ])  # fmt: skip

    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    begin = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)

    def certificate(subject: str, public: Any, ca: bool) -> x509.Certificate:
        unused = (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        )
        usage = dict.fromkeys(unused, False)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name("telepresence on this machine"))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + datetime.timedelta(days=365 * YEARS))
            .add_extension(x509.BasicConstraints(ca, 0 if ca else None), True)
            .add_extension(x509.KeyUsage(digital_signature=not ca, key_cert_sign=ca, crl_sign=ca, **usage), True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), False)
        )
        if not ca:
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        return builder.sign(root_key, hashes.SHA256())

    chain = (
        certificate("telepresence recordings", key.public_key(), False),
        certificate("telepresence on this machine", root_key.public_key(), True),
    )
    pem = b"".join(one.public_bytes(Encoding.PEM) for one in chain)
    return pem, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
