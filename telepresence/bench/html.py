"""Pieces of the report's page: sections, tables, numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

NONE: Final = "\u2013"


def section(title: str, note: str, body: str) -> str:
    """A part with its heading; nothing if there is nothing in it."""
    if not body:
        return ""
    told = f'<p class="note">{escape(note)}</p>' if note else ""
    return f"<section><h2>{escape(title)}</h2>{told}{body}</section>"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; cells are HTML, headings are not."""
    top = "".join(f"<th>{escape(one)}</th>" for one in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def show(value: float | None, digits: int = 1) -> str:
    """A number as it is read."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:z.{digits}f}"


def cell(figures: Mapping[str, Any], key: str) -> str:
    """A figure with its noise."""
    if figures.get(key) is None:
        return NONE
    noise = (figures.get("noise") or {}).get(key)
    return show(figures[key]) + (f" <small>\u00b1{show(noise)}</small>" if noise is not None else "")


def verdict(met: bool, said: str) -> str:
    """What was aimed at, and whether it was reached."""
    return f'<span class="{"good" if met else "bad"}">{said} {"met" if met else "missed"}</span>'
