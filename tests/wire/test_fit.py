from __future__ import annotations

import numpy as np
import pytest

from telepresence.wire.codec import MotionDecoder, MotionEncoder
from telepresence.wire.fit import _fixed_fields, _frequencies, fit
from telepresence.wire.quantise import quantise
from telepresence.wire.rangecoder import TOTAL
from telepresence.wire.tables import Tables, default_tables, parse
from tests.wire.motions import PICTURE_US, moving


@pytest.mark.parametrize("counts", [[1e9, *[0] * 13], [0] * 13 + [5], [1] * 14, list(range(14))])
def test_frequencies_add_up_and_leave_nothing_impossible(counts: list[float]) -> None:
    half = _frequencies(np.array(counts, np.float64), None)
    assert half[0] + 2 * sum(half[1:-1]) + half[-1] == TOTAL
    assert min(half) >= 1


def cost(tables: Tables) -> int:
    encoder, decoder, total = MotionEncoder(tables=tables), MotionDecoder(tables=tables), 0
    for i, motion in enumerate(moving(60, seed=9, pace=0.3)):
        message = encoder.encode(i * PICTURE_US, motion)
        decoder.receive(message)
        encoder.acknowledge(decoder.ack())
        total += len(message)
    return total


def test_fitting_makes_messages_shorter() -> None:
    fields = _fixed_fields()
    unfitted = parse(fields)
    rows = np.array([quantise(m, unfitted) for m in moving(200, seed=4, pace=0.3)])
    fields.update(fit([(30.0, rows)], unfitted))
    assert cost(parse(fields)) < 0.8 * cost(unfitted)


def test_the_shipped_tables_are_what_the_fit_says_they_are() -> None:
    fields, shipped = _fixed_fields(), default_tables()
    assert shipped.steps.tolist() == fields["steps"]
    assert shipped.limits == fields["limits"]
    assert shipped.scales == fields["scales"]
    assert shipped.shape_of.max() < len(shipped.shapes)
