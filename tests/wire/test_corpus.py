from __future__ import annotations

import pytest

from tests.wire.fuzz import feed, join, read_corpus, split


def test_there_is_a_corpus() -> None:
    assert len(read_corpus()) > 20


@pytest.mark.parametrize("data", read_corpus(), ids=lambda data: data[:8].hex())
def test_replay(data: bytes) -> None:
    feed(data)


def test_inputs_are_split_as_they_were_joined() -> None:
    assert split(join([b"", b"a", b"bc"])) == [b"", b"a", b"bc"]
