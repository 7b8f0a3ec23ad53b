from __future__ import annotations

import numpy as np
import pytest

from telepresence.evaluate.clips import Clip, Footage
from telepresence.evaluate.driving import drawer, identity_kept, real_neutral, through_motion
from telepresence.evaluate.enrolment import Enrolment
from telepresence.evaluate.measure import Truth
from telepresence.face.matte import Matter
from telepresence.face.topology import EYE_CORNERS_OUTER
from telepresence.runtime.engine import open_engine
from tests.clips import moving_portrait, write_clip


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Footage:
    folder = tmp_path_factory.mktemp("portrait")
    return Footage(Clip(write_clip(folder / "p.mp4", moving_portrait(60, step=2)), "somebody"), folder)


def test_through_motion_nearly_the_same_keypoints_come_out(footage: Footage) -> None:
    with Matter() as matter:
        avatar, frames = Enrolment(footage, range(12), matter).avatar(8)
    points = through_motion(footage, avatar, "absolute")
    right, left = footage.points[:, list(EYE_CORNERS_OUTER)].transpose(1, 0, 2)
    error = np.linalg.norm((points - footage.points)[..., :2], axis=-1).mean() / np.linalg.norm(left - right, axis=-1)
    assert 0 < error.mean() < 0.03
    assert 1 <= len(frames) <= 8
    assert set(frames) <= set(range(12))


def test_an_avatar_driven_by_its_own_person_keeps_its_shape(footage: Footage) -> None:
    truth = Truth(footage, range(20, 50), [], 256)
    shape, floor = real_neutral(truth)
    assert floor < 0.01
    with Matter() as matter, open_engine("prior", 256) as engine:
        avatar, _ = Enrolment(footage, [0], matter).avatar(1)
        stranger = shape * np.array([1.15, 1, 1], np.float32)  # a wider face
        found = identity_kept(engine, avatar, footage, shape, stranger)
        one, other = (drawer(engine, avatar, footage.points)(i) for i in (0, 15))
    assert found["to_target"] < 0.012
    assert found["kept"] > 0.7
    assert found["faces_lost"] == 0
    assert (one != other).any()  # two copies, not the engine's one buffer
