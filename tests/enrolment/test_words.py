"""The page has words for everything that the edge may tell it."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest

from telepresence.enrolment.guide import News
from telepresence.enrolment.hints import Hint
from telepresence.enrolment.steps import Step
from telepresence.resources import shipped


def keys(table: str) -> set[str]:
    """The keys of an object in words.js."""
    text = (shipped("web") / "enrol" / "words.js").read_text()
    found = re.search(rf"const {table} = \{{\n(.*?)\n\}};", text, re.DOTALL)
    assert found, f"no {table} in words.js"
    return set(re.findall(r"^  (\w+):", found[1], re.MULTILINE))


@pytest.mark.parametrize(("table", "told"), [("STEPS", Step), ("HINTS", Hint)])
def test_steps_and_hints(table: str, told: Iterable[str]) -> None:
    assert keys(table) == {str(one) for one in told}


def test_news() -> None:
    text = (shipped("web") / "enrol" / "words.js").read_text()
    assert all(f'"{news}"' in text for news in News)
