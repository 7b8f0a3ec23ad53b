from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telepresence.avatar.personal import MAGIC, MAX_NAME, MAX_VALUES, pack_personal, unpack_personal
from telepresence.errors import AvatarError

RNG = np.random.default_rng(1)
TENSORS = {
    "modulation": RNG.normal(size=(2, 5)).astype(np.float32),
    "features": RNG.normal(size=(2, 3, 2, 4)).astype(np.float32),
}
DATA = pack_personal(TENSORS)


def tensor(name: bytes, shape: tuple[int, ...], values: bytes) -> bytes:
    """One tensor by hand, as the module's docstring lays it out."""
    return bytes([len(name)]) + name + bytes([len(shape)]) + struct.pack(f"<{len(shape)}I", *shape) + values


def file(*tensors: bytes) -> bytes:
    return MAGIC + bytes([len(tensors)]) + b"".join(tensors)


def test_round_trip() -> None:
    back = unpack_personal(DATA)
    assert list(back) == ["features", "modulation"]
    for name, values in TENSORS.items():
        assert back[name].dtype == np.float16
        assert np.array_equal(back[name], values.astype(np.float16))


def test_layout_is_as_documented() -> None:
    values = np.array([[1, 2], [3, 4], [5, -6]], "<f2")
    data = file(tensor(b"a", (3, 2), values.tobytes()))
    assert data == b"TPPT\x01\x01\x01a\x02\x03\x00\x00\x00\x02\x00\x00\x00" + values.tobytes()
    assert pack_personal({"a": values.astype(np.float32)}) == data
    assert np.array_equal(unpack_personal(data)["a"], values)


def test_tensors_in_another_order_of_memory_are_kept() -> None:
    turned = np.arange(6, dtype=np.float32).reshape(2, 3).T
    assert np.array_equal(unpack_personal(pack_personal({"a": turned}))["a"], turned)


def test_every_truncation_is_damage() -> None:
    for length in range(len(DATA)):
        with pytest.raises(AvatarError, match="enrol it again"):
            unpack_personal(DATA[:length])


HALF = np.float16(1).tobytes()
ONE = tensor(b"a", (1,), HALF)
DAMAGED = {
    "bytes after the last": DATA + b"\0",
    "another version": b"TPPT\x02" + DATA[5:],
    "another file": b"\x89PNG\r" + DATA[5:],
    "no tensors": file(),
    "too many tensors": file(*(tensor(b"%d" % i, (1,), HALF) for i in range(9))),
    "a name twice": file(ONE, ONE),
    "no name": file(tensor(b"", (1,), HALF)),
    "a name that is not ASCII": file(tensor("é".encode(), (1,), HALF)),
    "a long name": file(tensor(b"a" * (MAX_NAME + 1), (1,), HALF)),
    "no axes": file(tensor(b"a", (), HALF)),
    "too many axes": file(tensor(b"a", (1,) * 5, HALF)),
    "more values than there are": file(tensor(b"a", (2,), HALF)),
    "too many values": file(tensor(b"a", (MAX_VALUES + 1,), HALF * (MAX_VALUES + 1))),
    "too many values together": file(
        tensor(b"a", (MAX_VALUES,), HALF * MAX_VALUES), tensor(b"b", (1,), HALF)
    ),
    "a product of 2^64": file(tensor(b"a", (1 << 16,) * 4, HALF)),
    "the largest product": file(tensor(b"a", (0xFFFFFFFF,) * 4, HALF)),
    "a product of nothing": file(tensor(b"a", (0, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF), b"")),
    "an axis of nothing": file(tensor(b"a", (2, 0), b"")),
    "not a number": file(tensor(b"a", (1,), np.float16(np.nan).tobytes())),
    "infinite": file(tensor(b"a", (2,), HALF + np.float16(-np.inf).tobytes())),
}  # fmt: skip


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_damage_is_refused(data: bytes) -> None:
    with pytest.raises(AvatarError, match="enrol it again with --fine-tune"):
        unpack_personal(data)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_random_bytes_raise_nothing_else(data: bytes, begun: bool) -> None:
    try:
        found = unpack_personal(MAGIC + data if begun else data)
    except AvatarError:
        return
    assert all(np.isfinite(values).all() for values in found.values())


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(DATA) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_changed_bytes_raise_nothing_else(changes: list[tuple[int, int]]) -> None:
    data = bytearray(DATA)
    for at, value in changes:
        data[at] = value
    try:
        found = unpack_personal(bytes(data))
    except AvatarError:
        return
    assert all(np.isfinite(values).all() for values in found.values())


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {str(i): np.ones(1, np.float32) for i in range(9)},
        {"a": np.ones(MAX_VALUES + 1, np.float32)},
        {"a": np.array([1e6], np.float32)},
        {"a": np.array([np.nan], np.float32)},
        {"é": np.ones(1, np.float32)},
        {"": np.ones(1, np.float32)},
        {"a" * (MAX_NAME + 1): np.ones(1, np.float32)},
        {"a" * 300: np.ones(1, np.float32)},
        {"a": np.ones((1,) * 5, np.float32)},
        {"a": np.ones((), np.float32)},
        {"a": np.ones((2, 0), np.float32)},
    ],
    ids=["none", "many", "large", "beyond", "nan", "accent", "nameless", "long", "longer", "axes", "scalar", "empty"],
)
def test_what_could_not_be_read_is_not_written(tensors: dict[str, np.ndarray]) -> None:
    with pytest.raises(AvatarError):
        pack_personal(tensors)
