"""How the edge is doing: said to people when it changes, and part of the figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from telepresence.edge.drawing import Drawing
from telepresence.rtc.figures import Figures, overall, participants
from telepresence.rtc.room import Room


class Status:
    """Of the camera and the hub; where both stand is said once.

    Args:
        camera: what the camera is, as `Sender.kind`.
        say: gets a line for people.
    """

    def __init__(self, camera: str, say: Callable[[str], None]) -> None:
        self._camera = camera
        self._say = say
        self._camera_runs = False
        self._camera_error: str | None = None
        self._hub_known = False
        self._hub_refusal: str | None = None

    def camera(self, running: bool) -> None:
        """The camera runs, or is gone."""
        if running != self._camera_runs:
            self._camera_runs = running
            self._say("camera: running" if running else "camera: gone; the others see the avatar at rest")

    def camera_failed(self, problem: str) -> None:
        """Camera pictures cannot become motion at all."""
        self._camera_error = problem
        self._say(f"camera: {problem}; the others see the avatar at rest")

    def hub(self, connected: bool, refusal: str) -> None:
        """The hub was lost or reached again, or has refused us for good, and why."""
        if refusal:
            self._hub_refusal = refusal
            self._say(f"hub: refused, nobody new can join ({refusal})")
        elif connected != self._hub_known:
            self._say("hub: connected" if connected else "hub: out of reach; the call goes on, trying again")
        self._hub_known = connected

    def report(self, room: Room, figures: Figures, drawing: Drawing | None, pages: int, now_us: int) -> dict[str, Any]:
        """What `GET /api/stats` shows."""
        peers = room.peers
        overtaken = sum(drawing.renderer.overtaken(p) for p in peers) if drawing else 0
        return figures.snapshot(peers, overtaken, now_us) | {
            "state": overall(peers.values()),
            "participants": participants(
                peers,
                room.name,
                lambda one: figures.fps(one, now_us),
                lambda one: drawing.renderer.size(one) if drawing else None,
            ),
            "avatar_errors": sorted(drawing.errors.values()) if drawing else [],
            "hub": room.hub.connected,
            "hub_refusal": self._hub_refusal,
            "camera": self._camera,
            "camera_runs": self._camera_runs,
            "camera_error": self._camera_error,
            "pages": pages,
            **(drawing.fields() if drawing else {"engine": None, "size": None, "runtime": None}),
        }
