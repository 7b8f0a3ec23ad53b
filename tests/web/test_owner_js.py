"""Keys, signatures and proofs of the page: the Python accepts them, and they accept the Python's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import warnings
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from telepresence.avatar import deletion
from telepresence.avatar.file import pack
from telepresence.avatar.owner import SAMPLES, public_bytes, sign, verify
from telepresence.avatar.presence import Moment, binding, prove
from telepresence.avatar.samples import sample_avatar, sample_avatar_bytes
from telepresence.avatar.sections import digest, read_sections, write_sections
from tests.rtc.pair import KEY, avatar_file

_TESTS = Path(__file__).with_name("owner.test.mjs")
MOMENT = Moment(b"c" * 32, b"d" * 32, "alice", "bøb", 2**40 + 7, binding(b"a" * 32, b"b" * 32))


def _vectors(folder: Path) -> dict[str, Any]:
    """What the Python makes of known input; files beside it."""
    import dataclasses

    unsigned = pack(dataclasses.replace(sample_avatar(), free_for_all=False, name="Ådä"))
    stolen = write_sections(read_sections(unsigned) | {"meta": b'{"engine":null,"free_for_all":true,"name":"x"}'})
    files = {
        "unsigned": unsigned,
        "signed": sign(unsigned, KEY, "live"),
        "photos": sign(unsigned, KEY, "photos"),
        "stolen": stolen,
        "sample": sample_avatar_bytes(),
        "second": avatar_file(3_000),
    }
    for name, data in files.items():
        (folder / f"{name}.avatar").write_bytes(data)
    sha256 = digest(files["signed"])
    return {
        "public": public_bytes(KEY).hex(),
        "private": KEY.private_bytes_raw().hex(),
        "samples": sorted(SAMPLES),
        "hashes": {name: digest(data) for name, data in files.items()},
        "moment": MOMENT.message().hex(),
        "binding": MOMENT.binding.hex(),
        "proof": prove(MOMENT, KEY).hex(),
        "wish": KEY.sign(deletion.message(sha256)).hex(),
    }


def test_the_page_and_the_program_agree(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        warnings.warn("node is missing: the page's keys and proofs were not tested", stacklevel=1)
        pytest.skip("node is missing: install Node.js 20 to test the page's keys and proofs")
    (tmp_path / "vectors.json").write_text(json.dumps(_vectors(tmp_path)))
    done = subprocess.run(
        [node, "--no-warnings", "--test", str(_TESTS)],
        env=os.environ | {"VECTORS": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    made = json.loads((tmp_path / "made.json").read_text())
    found = verify((tmp_path / "made.avatar").read_bytes())
    assert found is not None
    assert found.owner is not None
    assert found.owner.hex() == made["public"]
    assert found.label == "avatar"
    Ed25519PublicKey.from_public_bytes(found.owner).verify(bytes.fromhex(made["proof"]), MOMENT.message())
    assert (tmp_path / "again.avatar").read_bytes() == (tmp_path / "signed.avatar").read_bytes()
