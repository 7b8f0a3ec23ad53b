"""The basis and the topology for the page: `python -m telepresence.face.export` writes web/face/basis-1.data.

One file, made from the package's own: the page has no numbers of a face of its own. Little-endian, as typed arrays are:

    0   u32   bytes of the head
    4         head: JSON, padded with spaces to a multiple of 4
              {"schema", "limit", "gaze_limit", "lists": {name: [landmark, ...]},
               "arrays": {name: {"type": "float32" | "float16", "shape": [...], "start"}}}
    then the arrays; `start` counts from the end of the head, and is a multiple of 4
"""

from __future__ import annotations

import argparse
import json
import struct
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.face import topology
from telepresence.face.basis import Basis, default_basis
from telepresence.face.identity import IDENTITY_REMAINDER
from telepresence.face.mouth import directions
from telepresence.resources import shipped

FILE: Final = Path("face") / "basis-1.data"
_HALF: Final = ("components", "projector", "identity")  # the shipped file has them in half precision too
_LISTS: Final = (
    "RIGID", "LIPS", "EYELIDS", "IRIS_RIGHT", "IRIS_LEFT", "EYE_CORNERS_OUTER", "MOUTH_OPENING", "MOUTH_CORNERS",
)  # fmt: skip


def export() -> bytes:
    """The file's bytes; the same for the same basis."""
    basis = default_basis()
    arrays: dict[str, NDArray[Any]] = {"mean": basis.mean, "weights": topology.rigid_weights()}
    arrays |= {name: getattr(basis, name).astype("<f2") for name in _HALF}
    arrays["gain"], arrays["share"] = _expression_gain(basis)
    arrays["mouth"] = directions()
    described, body = {}, b""
    for name, array in arrays.items():
        kind = "float16" if array.dtype == np.float16 else "float32"
        described[name] = {"type": kind, "shape": list(array.shape), "start": len(body)}
        raw = array.astype("<f2" if kind == "float16" else "<f4").tobytes()
        body += raw + bytes(-len(raw) % 4)
    head = {
        "schema": basis.schema,
        "limit": basis.limit,
        "gaze_limit": basis.gaze_limit,
        "lists": {name.lower(): list(getattr(topology, name)) for name in _LISTS},
        "arrays": described,
    }
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    return struct.pack("<I", len(text)) + text + body


def _expression_gain(basis: Basis) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The same as `identity._expression_gain` in two small factors: gain (E, E) and share (E, I).

    The likely expression of a residual r (1404,) is gain @ (components @ r - share @ (identity @ r)).
    """
    e = basis.components.reshape(basis.size, -1).astype(np.float64)
    i = basis.identity.reshape(len(basis.identity), -1).astype(np.float64)
    tau2 = IDENTITY_REMAINDER**2
    share = e @ i.T @ np.linalg.inv(tau2 * np.eye(len(i)) + i @ i.T)
    inner = (e - share @ i) @ e.T / tau2 + np.eye(len(e))
    return (np.linalg.inv(inner) / tau2).astype(np.float32), share.astype(np.float32)


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=shipped("web") / FILE)
    options = parser.parse_args()
    options.out.write_bytes(export())
    print(f"{options.out.stat().st_size} bytes: {options.out}")


if __name__ == "__main__":
    main()
