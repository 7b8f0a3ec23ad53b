"""A link as a QR code: in the terminal, and as a picture for a page."""

from __future__ import annotations

import io


def terminal(link: str) -> str:
    """Lines of half blocks, for a dark or a light terminal."""
    import segno

    out = io.StringIO()
    segno.make(link, error="m").terminal(out, border=2, compact=True)
    return out.getvalue().rstrip("\n")


def svg(link: str) -> bytes:
    """An SVG picture, black on white, with a quiet zone."""
    import segno

    out = io.BytesIO()
    segno.make(link, error="m").save(out, kind="svg", scale=6, border=4, light="white")
    return out.getvalue()
