"""The sound of an edge without a page: of its file to the others, of the others into its recording.

A participant's newest page has the sound. Only while there is none does the edge itself speak and listen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from telepresence.edge.pageroom import PageRoom
from telepresence.edge.pages import Pages
from telepresence.hub.messages import Payload
from telepresence.rtc.room import Room
from telepresence.rtc.sender import Sender
from telepresence.rtc.sound_decoder import Samples
from telepresence.rtc.sound_file import FileSound, has_sound
from telepresence.rtc.sound_mesh import SoundMesh
from telepresence.rtc.sound_mixer import SoundMixer, heard_age_us


class EdgeSound:
    """Follows the room, and steps back for a page.

    Args:
        room, pages, page_room, sender: this edge's.
        clip: the file that is the camera, if it is one.
        mixer: of the recording, if there is one.
    """

    def __init__(
        self,
        room: Room,
        pages: Pages,
        page_room: PageRoom,
        sender: Sender,
        clip: Path | None,
        mixer: SoundMixer | None,
    ) -> None:
        self._room = room
        self._pages = pages
        self._mixer = mixer
        self._file: FileSound | None = None
        if clip is not None and has_sound(clip):
            self._file = FileSound(clip, sender.file_clock, sender.hear)
        self.mesh = SoundMesh(
            lambda: room.hub.id,
            room.relay_sound,
            lambda: (room.hub.ice_servers, room.relay_only),
            self._file.track if self._file else None,
            self._on_heard if mixer else None,
        )
        if self._file or mixer:
            told: Callable[[], None] = room.on_change
            room.on_sound = self._on_payload

            def on_change() -> None:
                told()
                self.follow()

            room.on_change = on_change
            page_room.speaks()
        self._follows = bool(self._file or mixer)

    async def run(self) -> None:
        """For as long as the edge runs."""
        if self._file is None:
            await asyncio.Event().wait()
        else:
            await self._file.run()

    def follow(self) -> None:
        """Somebody has come, gone, or changed; or our own page has."""
        if not self._follows:
            return
        if self._pages.active:
            self.mesh.close()
            return
        sounding = {p.id for p in self._room.peers.values() if p.presence is not None and p.presence.sound}
        self.mesh.follow(sounding, self._room.before & sounding)

    def close(self) -> None:
        """End it."""
        self.mesh.close()
        if self._file:
            self._file.close()

    def _on_payload(self, sender: str, payload: Payload) -> bool:
        if self._pages.active:
            return self._pages.relay(sender, payload)
        return self.mesh.on(sender, payload)

    def _on_heard(self, participant: str, samples: Samples, due_us: int, delay_us: int) -> None:
        peer = self._room.peers.get(participant)
        if self._mixer is not None and peer is not None:
            self._mixer.add(participant, samples, due_us, heard_age_us(peer.clock.rtt_us, delay_us))
