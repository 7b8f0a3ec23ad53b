"""The guide's judgement: what counts as followed, and what as something else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import pytest

from telepresence.enrolment.guide import MAX_WRONG, STEP_US, Guide, News, Phase, draw
from telepresence.enrolment.steps import DRAWN, RAISE, SHUT, SMILE, TURN, WIDE, Measure, Step

FRAME_US = 66_000
LOW_CAMERA = Measure(left=4.0, up=-6.0, mouth=0.02, lids=0.12, corners=-0.3)
"""Somebody's own face at rest: nothing in it is nought."""


def face(left: float = 0, up: float = 0, mouth: float = 0, lids: float = 1, smile: float = 0) -> Measure:
    rest = LOW_CAMERA
    return Measure(rest.left + left, rest.up + up, rest.mouth + mouth, rest.lids * lids, rest.corners + smile)


REST = face()
POSES: dict[Step, Sequence[Measure]] = {
    Step.LEFT: [face(left=1.2 * TURN)] * 9,
    Step.RIGHT: [face(left=-1.2 * TURN)] * 9,
    Step.UP: [face(up=1.2 * RAISE)] * 9,
    Step.SMILE: [face(smile=1.3 * SMILE)] * 9,
    Step.OPEN: [*[face(mouth=1.2 * WIDE)] * 7, REST],
    Step.BLINK: [*[face(lids=0.6 * SHUT)] * 5, REST],
    Step.SPEAK: [face(mouth=0.06 if n % 4 < 2 else 0.01) for n in range(48)],
}


class Person:
    """Feeds a guide with what somebody does, 15 times a second."""

    def __init__(self, order: Sequence[Step] = DRAWN, draw_order: Callable[[], Sequence[Step]] | None = None) -> None:
        self.guide = Guide(draw_order or (lambda: order))
        self.now_us = 10_000_000
        self.news: list[News] = []

    def show(self, measures: Sequence[Measure | None]) -> None:
        for one in measures:
            self.now_us += FRAME_US
            news = self.guide.see(one, self.now_us)
            if news is not None:
                self.news.append(news)

    def rest(self, pictures: int = 15) -> None:
        self.show([REST] * pictures)

    def follow(self) -> None:
        """Do what is asked for now."""
        step = self.guide.step
        assert step is not None
        self.rest() if step is Step.REST else self.show([*[REST] * 4, *POSES[step]])


def test_who_follows_is_done_in_half_a_minute_and_has_followed_all() -> None:
    person = Person()
    began = person.now_us
    while person.guide.step is not None:
        person.follow()
    assert person.news == [News.FOLLOWED] * len(DRAWN) + [News.FINISHED]
    assert person.guide.followed
    assert person.guide.phase is Phase.DONE
    assert person.now_us - began < 30_000_000


def test_the_order_is_drawn_anew_each_time_and_has_every_step_once() -> None:
    orders = {tuple(draw()) for _ in range(30)}
    assert len(orders) > 20
    assert all(sorted(order) == sorted(DRAWN) for order in orders)


def test_rest_comes_first_and_needs_a_still_face_from_the_front_with_its_mouth_closed() -> None:
    person = Person()
    assert person.guide.step is Step.REST
    person.show([face(left=30)] * 20)
    person.show([face(mouth=0.2)] * 20)
    person.show([face(left=5 * (n % 2)) for n in range(30)])
    assert person.guide.step is Step.REST
    person.rest(13)
    assert person.news == [News.FOLLOWED]


@pytest.mark.parametrize("step", DRAWN)
def test_each_step_is_followed_by_what_it_asks_for_alone(step: Step) -> None:
    order = [step, *(one for one in DRAWN if one is not step)]
    person = Person(order)
    person.rest()
    assert person.guide.step is step
    person.rest(60)
    assert person.guide.step is step, "who does nothing follows nothing"
    person.follow()
    assert person.guide.done.get(step) is True


@pytest.mark.parametrize("step", [Step.LEFT, Step.RIGHT, Step.UP, Step.SMILE, Step.OPEN])
def test_half_of_it_is_not_enough_nor_is_a_flash_of_it(step: Step) -> None:
    person = Person([step, *(one for one in DRAWN if one is not step)])
    person.rest()
    whole = POSES[step][0]
    half = Measure(*((getattr(REST, name) + getattr(whole, name)) / 2 for name in Measure.__slots__))
    person.show([*[half] * 20, *[REST] * 5, whole, *[REST] * 5])
    assert step not in person.guide.done


def test_a_mouth_that_opens_and_stays_open_has_not_closed() -> None:
    person = Person([Step.OPEN, *(one for one in DRAWN if one is not Step.OPEN)])
    person.rest()
    person.show([REST] * 4)
    person.show([face(mouth=1.3 * WIDE)] * 30)
    assert Step.OPEN not in person.guide.done
    person.show([REST])
    assert Step.OPEN in person.guide.done


def test_eyes_that_narrow_are_not_shut_and_eyes_that_stay_shut_have_not_opened() -> None:
    person = Person([Step.BLINK, *(one for one in DRAWN if one is not Step.BLINK)])
    person.rest()
    person.show([REST] * 4)
    person.show([face(lids=0.65)] * 10)
    person.show([face(lids=0.2)] * 10)
    assert Step.BLINK not in person.guide.done
    person.rest(2)
    assert Step.BLINK in person.guide.done


def test_one_long_ah_is_no_sentence() -> None:
    person = Person([Step.SPEAK, *(one for one in DRAWN if one is not Step.SPEAK)])
    person.rest()
    person.show([face(mouth=min(0.1, 0.004 * n)) for n in range(60)])
    assert Step.SPEAK not in person.guide.done


def test_between_two_steps_the_face_has_to_come_back() -> None:
    person = Person([Step.LEFT, Step.RIGHT, *(one for one in DRAWN if one not in (Step.LEFT, Step.RIGHT))])
    person.rest()
    person.show([*[REST] * 4, *POSES[Step.LEFT]])
    assert (person.guide.step, person.guide.phase) == (Step.RIGHT, Phase.BACK)
    person.show(POSES[Step.RIGHT])  # before it was asked for
    assert Step.RIGHT not in person.guide.done
    person.show([*[REST] * 4, *POSES[Step.RIGHT]])
    assert person.guide.done[Step.RIGHT]


def test_who_does_something_else_is_told_and_goes_on() -> None:
    person = Person([Step.LEFT, *(one for one in DRAWN if one is not Step.LEFT)])
    person.rest()
    person.show([*[REST] * 4, *POSES[Step.RIGHT] * 3, *[REST] * 4])
    assert person.news[1:] == [News.WRONG], "one long movement is told once"
    person.show(POSES[Step.LEFT])
    assert person.guide.done[Step.LEFT]


def all_poses() -> Iterator[Measure]:
    """A recording in which everything comes, over and over, in an order of its own."""
    while True:
        for step in (Step.SMILE, Step.UP, Step.RIGHT, Step.OPEN, Step.LEFT, Step.BLINK, Step.SPEAK):
            yield from [*[REST] * 12, *POSES[step], *[REST] * 6]


def test_a_recording_with_everything_in_it_hardly_ever_counts_as_live() -> None:
    """Three minutes of it, under a hundred orders drawn by lot."""
    passed = 0
    for _ in range(100):
        person = Person(draw_order=draw)
        recording = all_poses()
        person.show([next(recording) for _ in range(3 * 60 * 15)])
        passed += person.guide.followed
        assert person.guide.anew or person.guide.wrong or person.guide.followed
    assert passed <= 10


def test_too_much_else_begins_anew_in_another_order() -> None:
    orders = [[Step.LEFT, *(s for s in DRAWN if s is not Step.LEFT)], list(reversed(DRAWN))]
    drawn = iter(orders)
    person = Person(draw_order=lambda: next(drawn))
    person.rest()
    for _ in range(MAX_WRONG + 1):
        person.show([*[REST] * 4, *POSES[Step.RIGHT]])
    assert person.news[-1] is News.ANEW
    assert person.guide.order == [Step.REST, *orders[1]]
    assert person.guide.done == {}


def test_what_is_not_followed_in_its_time_comes_again_as_the_last_one() -> None:
    person = Person()
    person.rest()
    slow = person.guide.step
    pictures = 0
    while News.SLOW not in person.news and pictures < 1000:
        person.rest(1)
        pictures += 1
    assert STEP_US <= pictures * FRAME_US < 1.1 * STEP_US
    assert person.guide.order[-1] is slow
    assert sorted(person.guide.order) == sorted(Step)


def test_time_without_a_face_does_not_count_and_whoever_comes_then_begins_at_rest() -> None:
    person = Person([Step.LEFT, *(one for one in DRAWN if one is not Step.LEFT)])
    person.rest()
    person.show([*[REST] * 4, *[None] * 400])
    assert News.SLOW not in person.news
    person.show(POSES[Step.LEFT])  # the camera is plugged in again, and shows this at once
    assert Step.LEFT not in person.guide.done
    person.show([*[REST] * 4, *POSES[Step.LEFT]])
    assert person.guide.done[Step.LEFT]


def test_a_step_that_was_left_out_is_no_live_enrolment_until_it_is_taken_again() -> None:
    person = Person()
    while person.guide.step is not None:
        if person.guide.step is Step.SMILE:
            person.news.append(person.guide.skip() or News.WRONG)
        else:
            person.follow()
    assert not person.guide.followed
    assert person.guide.done[Step.SMILE] is False
    person.guide.retake(Step.SMILE)
    person.follow()
    assert person.guide.followed


def test_rest_cannot_be_left_out() -> None:
    person = Person()
    assert person.guide.skip() is None
    assert person.guide.step is Step.REST


def test_a_step_can_be_taken_again_and_the_others_stay() -> None:
    person = Person()
    while person.guide.step is not None:
        person.follow()
    person.guide.retake(Step.UP)
    assert (person.guide.step, person.guide.phase) == (Step.UP, Phase.BACK)
    assert len(person.guide.done) == len(DRAWN)
    person.follow()
    assert person.guide.followed


def test_a_face_is_measured_against_rest_that_was_taken_again() -> None:
    person = Person([Step.LEFT, *(one for one in DRAWN if one is not Step.LEFT)])
    person.rest()
    person.guide.retake(Step.REST)
    moved = face(left=10)
    person.show([moved] * 15)
    person.show([moved] * 4)
    person.show(POSES[Step.LEFT])  # 18 degrees, but 8 from where it rests now
    assert Step.LEFT not in person.guide.done


def test_progress_never_leaves_its_range_and_grows_while_a_turn_is_held() -> None:
    person = Person([Step.LEFT, *(one for one in DRAWN if one is not Step.LEFT)])
    person.rest()
    person.show([REST] * 4)
    seen = []
    for left in (3, 6, 9, 12, 16, 18, 18, 18):
        person.show([face(left=left)])
        seen.append(person.guide.progress)
        if person.guide.step is not Step.LEFT:
            break
    assert all(a <= b for a, b in pairwise(seen[:6]))
    assert all(0 <= value <= 1 for value in seen)
