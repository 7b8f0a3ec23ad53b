"""A mouth by its voice: vowels apart, silence closed, the same numbers in JavaScript; lips move as they are named."""

from __future__ import annotations

import json
import shutil
import subprocess
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from telepresence.face.basis import default_basis
from telepresence.face.motion import Motion, rotation_matrix, rotation_vector
from telepresence.face.mouth import OPEN, Mouth, expression
from telepresence.face.speaking import Speaking
from telepresence.face.topology import BROWS
from telepresence.face.tween import Still
from telepresence.face.voice import BLOCK, VoiceMouth
from telepresence.rtc.landmarker import rest_motion
from tests.face.make_voice_vectors import VECTORS, heard, hiss, samples, vowel

RATE = 48_000
SILENCE: list[list[float]] = []


def last(*sounds: list[list[float]]) -> list[float]:
    """Open, wide, round and level at the end of the last of these sounds, a quarter of a second each."""
    return heard(RATE, [{"blocks": 8, "tones": tones} for tones in sounds])[-1]


def test_vowels_are_told_apart() -> None:
    a, i, u = (last(SILENCE, vowel(name)) for name in "aiu")
    assert a[0] > 0.8 > 0.5 > max(i[0], u[0])
    assert i[1] > 0.7 > 0.3 > max(a[1], u[1])
    assert u[2] > 0.7 > 0.3 > max(a[2], i[2])


def test_a_hiss_comes_through_nearly_closed_teeth() -> None:
    s = last(SILENCE, vowel("a"), hiss())
    assert s[0] < 0.25
    assert s[1] > s[2]


def test_silence_closes_the_mouth() -> None:
    assert max(last(vowel("a"), SILENCE)) < 0.05


def test_a_steady_noise_becomes_silence_and_a_quiet_voice_is_heard() -> None:
    rng = np.random.default_rng(1)
    voice = VoiceMouth(RATE)
    for n in range(600):
        noise = (0.005 * rng.standard_normal(BLOCK)).astype(np.float32)
        level = voice.hear(noise, n * 33.0).level
    assert level < 0.15
    loud = [voice.hear(samples(vowel("a", 0.05), RATE, n * BLOCK), 19_800 + n * 33.0).mouth.open for n in range(8)]
    assert loud[-1] > 0.4


def test_any_samples_give_a_mouth_within_its_bounds() -> None:
    voice = VoiceMouth(RATE)
    for n, value in enumerate((0.0, 1.0, -1.0, 1e9, 1e-30)):
        found = voice.hear(np.full(BLOCK + n, value, np.float32), float(n))
        assert all(0 <= one <= 1 for one in (found.mouth.open, found.mouth.wide, found.mouth.round, found.level))


def test_the_vectors_are_those_of_this_code() -> None:
    for case in json.loads(VECTORS.read_text()):
        np.testing.assert_allclose(heard(case["rate"], case["parts"]), case["heard"], atol=2e-6)


def test_javascript_hears_the_same() -> None:
    node = shutil.which("node")
    if node is None:
        warnings.warn("node is missing: web/voice.js was not tested", stacklevel=1)
        pytest.skip("node is missing: install Node.js 20 to test web/voice.js")
    tests = Path(__file__).with_name("voice.test.mjs")
    done = subprocess.run([node, "--test", str(tests)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def face(mouth: Mouth, blink: float = 0.0) -> np.ndarray:
    basis = default_basis()
    return basis.mean + basis.displacement(expression(mouth, blink), np.zeros((2, 2), np.float32))


def gap(points: np.ndarray) -> float:
    return float(points[14, 1] - points[13, 1])


def width(points: np.ndarray) -> float:
    return float(points[291, 0] - points[61, 0])


def lids(points: np.ndarray) -> float:
    return float(points[145, 1] - points[159, 1] + points[374, 1] - points[386, 1])


def test_lips_move_as_their_names_say() -> None:
    rest = face(Mouth())
    assert gap(face(Mouth(open=1))) - gap(rest) == pytest.approx(OPEN, rel=0.15)
    assert width(face(Mouth(wide=1))) > width(rest) + 0.06
    assert width(face(Mouth(round=1))) < width(rest) - 0.1
    assert face(Mouth(round=1))[0, 2] < rest[0, 2] - 0.02
    for mouth in (Mouth(wide=1), Mouth(round=1)):
        assert gap(face(mouth)) == pytest.approx(gap(rest), abs=0.01)


def test_a_blink_shuts_the_lids_and_nothing_else() -> None:
    rest, shut = face(Mouth()), face(Mouth(), 1.0)
    assert lids(shut) < 0.15 * lids(rest)
    assert abs(gap(shut) - gap(rest)) < 0.01
    assert np.abs(shut[list(BROWS)] - rest[list(BROWS)]).max() < 0.05


def test_coefficients_stay_likely() -> None:
    extremes = [Mouth(1, 1, 0), Mouth(1, 0, 1), Mouth(0, 1, 1)]
    assert max(float(np.abs(expression(mouth, 1.0)).max()) for mouth in extremes) < default_basis().limit


def talk(seconds: float) -> list[Motion]:
    speaking, rest = Speaking(), rest_motion().pose
    return [speaking(Mouth(), 0.5 * (n % 30 < 15), rest, 1_000_000 + n * 33_333) for n in range(round(seconds * 30))]


def test_a_head_that_talks_sways_within_bounds_and_begins_where_it_was() -> None:
    motions, rest = talk(30), rest_motion().pose
    assert np.allclose(motions[0].pose.rotation, rest.rotation, atol=1e-6)
    angles = [float(np.linalg.norm(motion.pose.rotation)) for motion in motions]
    assert 0.01 < max(angles) < 0.06
    turns = [
        float(np.linalg.norm(rotation_vector(rotation_matrix(b.pose.rotation) @ rotation_matrix(a.pose.rotation).T)))
        for a, b in pairwise(motions)
    ]
    assert max(turns) < 0.01


def test_it_blinks_every_few_seconds_and_opens_its_eyes_again() -> None:
    blink = expression(Mouth(), 1.0)
    closed = [float(m.expression @ blink / (blink @ blink)) for m in talk(60)]
    began = [n for n in range(1, len(closed)) if closed[n] > 0.5 >= closed[n - 1]]
    gaps = np.diff(began) / 30
    assert 8 <= len(began) <= 30
    assert gaps.min() >= 2.0
    assert gaps.max() <= 6.5
    assert np.mean(np.array(closed) > 0.3) < 0.12


def test_what_it_says_survives_the_way_of_a_motion() -> None:
    motion = Speaking()(Mouth(1, 0.2, 0), 1.0, rest_motion().pose, 5)
    assert np.allclose(Still.of(motion).motion().expression, motion.expression, atol=1e-5)
