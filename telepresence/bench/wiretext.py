"""The figures of `telepresence.bench.wire` as tables and as a drawing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

_RATES: Final = {
    "payload": "payload_kbps", "wire": "wire_kbps", "ack": "ack_kbps", "thrifty": "thrifty_kbps", "rest": "rest_kbps",
    "p99": "packet_bytes_p99",
}  # fmt: skip
_SHARES: Final = {
    "mean": "nme_mean", "lips": "nme_lips", "lids": "nme_eyelids", "blinks": "blink_recall",
    "closures": "closure_recall",
}  # fmt: skip


def text(figures: dict[str, Any]) -> str:
    """The report as tables."""
    head = "".join(f"{title:>9s}" for title in (*_RATES, *_SHARES))
    lines = [f"{'kbit/s, bytes, % (* held out)':34s}{head}"]
    named = [(row["clip"] + " *" * (row["clip"] in figures["held_out"]), row) for row in figures["clips"]]
    named += [("all", figures["summary"]), ("held out *", figures["summary_held_out"])]
    named += [("plain packet, all", figures["summary_plain"])]
    lines += [f"{name:34s}{_cells(row)}" for name, row in named if row]
    lines += ["", "rate against distortion; quantiser steps in shipped ones, errors in % of the eye-corner distance"]
    lines += ["steps   kbit/s    mean    lips    lids"]
    for row in figures["curve"]:
        share = "".join(f"{100 * row[n]:8.3f}" for n in ("nme_mean", "nme_lips", "nme_eyelids"))
        lines.append(f"{row['steps']:5.1f}{row['payload_kbps']:9.2f}{share}")
    return "\n".join(lines)


def _cells(row: dict[str, Any]) -> str:
    rates = [f"{row[n]:9.1f}" if n in row else "        -" for n in _RATES.values()]
    shares = ["        -" if row[n] is None else f"{100 * row[n]:9.2f}" for n in _SHARES.values()]
    return "".join(rates + shares)


def plot(figures: dict[str, Any], path: Path) -> bool:
    """Draw the curve; False if matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(6, 4))
    axes = figure.subplots()
    rates = [row["payload_kbps"] for row in figures["curve"]]
    for name, label in (("nme_mean", "all landmarks"), ("nme_lips", "lips"), ("nme_eyelids", "eyelids")):
        axes.plot(rates, [100 * row[name] for row in figures["curve"]], marker="o", label=label)
    axes.set_xlabel("payload, kbit/s at 30 motions a second")
    axes.set_ylabel("error, % of the eye-corner distance")
    axes.legend()
    figure.savefig(path, dpi=120, bbox_inches="tight")
    return True
