"""Peer connections to this edge's own pages: a camera comes in, avatars go out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.sdp import SessionDescription

from telepresence.errors import ProtocolError
from telepresence.rtc import estimate, patches, playout_delay
from telepresence.rtc.capture import WRAP, CaptureClock, PageLeg
from telepresence.rtc.landmarker import CameraPicture
from telepresence.rtc.monotonic import now_us
from telepresence.rtc.renderer import Picture
from telepresence.rtc.session import close_soon
from telepresence.rtc.tracks import AvatarTrack, Hold

logger = logging.getLogger(__name__)

MAX_PAGES: Final = 4  # open pages of one edge; the oldest gives way, first of all one that is not connected
MAX_SECTIONS: Final = 16  # of media in an offer
ANSWER_S: Final = 10.0
_DIRECTIONS: Final = {
    (True, True): "sendrecv",
    (True, False): "sendonly",
    (False, True): "recvonly",
    (False, False): "inactive",
}  # by whether this edge sends an avatar, and takes a camera


class Viewers:
    """All pages that are open on this edge.

    Args:
        on_camera_picture: gets the camera's pictures, in a decoder's thread; None if no page may send its camera.
        on_camera_state: told on the loop whether a page's camera is connected.
        on_shown: told of each picture that goes to a page, and when.
        shows: whether this edge has avatars to show.
    """

    def __init__(
        self,
        on_camera_picture: Callable[[CameraPicture], Any] | None,
        on_camera_state: Callable[[bool], None],
        on_shown: Callable[[Picture, int], None],
        *,
        shows: bool = True,
    ) -> None:
        self._on_camera_picture = on_camera_picture
        self._on_camera_state = on_camera_state
        self._on_shown = on_shown
        self._shows = shows
        self._pages: dict[RTCPeerConnection, list[AvatarTrack]] = {}
        self._taken: dict[RTCPeerConnection, MediaStreamTrack] = {}  # the one camera track of each page that has one
        self._cameras: list[RTCPeerConnection] = []  # those connected; the last one is heard, the others wait
        self._drains: set[asyncio.Task[None]] = set()
        self._last: dict[int, Picture] = {}  # of each place, for pages that open while nothing moves
        self._holds: dict[int, Hold] = {}
        self._hold_all = Hold()
        self.page_leg = PageLeg()
        """How long pictures take from the page's camera to us."""

    @property
    def count(self) -> int:
        """Pages connected, or on the way."""
        return len(self._pages)

    def show(self, place: int, picture: Picture) -> None:
        """Show a picture at a place in the call, on every page, and on those that open later until there is another."""
        self._last[place] = replace(picture, capture_us=None)  # by then it is old, and no figure's business
        for tracks in list(self._pages.values()):
            for track in tracks:
                if track.place == place:
                    track.show(picture)

    def forget(self, participant: str) -> None:
        """Somebody has left: no page that opens from now on is to begin with them."""
        self._last = {place: last for place, last in self._last.items() if last.participant != participant}

    def hold(self, place: int | None, hold: Hold) -> None:
        """Hold pictures of a place (None: every place) back, on every page, those yet to come included."""
        if place is None:
            self._holds.clear()
            self._hold_all = hold
        else:
            self._holds[place] = hold
        for track in self._tracks():
            track.hold = self._holds.get(track.place, self._hold_all)

    def picture_times(self, now_us: int) -> list[tuple[int, int, float | None, float, float]]:
        """Of each picture sent to a page since the last time, as `messages.pictures` tells it.

        Of several pages each has its own RTP times, drawn by lot, so that nobody takes another's for its own.
        """
        found = []
        for track in self._tracks():
            for sent in track.take_times():
                at = sent.captured_us
                age, out = (None, 0.0) if at is None else (_ms(now_us - at), _ms(sent.sent_us - at))
                found.append((track.place, sent.rtp, age, out, _ms(sent.held_us)))
        return found

    async def answer(self, sdp: str) -> str:
        """Connect a page by its offer; returns the SDP of the answer.

        Raises:
            ProtocolError: the offer cannot be used.
        """
        offer = parsed_offer(sdp)
        directions = {m.rtp.muxId: m.direction or "sendrecv" for m in offer.media if m.kind == "video"}
        while len(self._pages) >= MAX_PAGES:
            self._close(min(self._pages, key=lambda pc: pc.connectionState == "connected"))
        pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._pages[pc] = []
        pc.on("track", lambda track: self._on_track(pc, track))
        pc.on("datachannel", lambda channel: channel.close())
        pc.on("connectionstatechange", lambda: self._on_state(pc))
        try:
            async with asyncio.timeout(ANSWER_S):
                await pc.setRemoteDescription(RTCSessionDescription(str(offer), "offer"))
                self._arrange(pc, directions)
                await pc.setLocalDescription(await pc.createAnswer())
        except Exception as error:  # aiortc raises anything on an SDP that it cannot use
            self._close(pc)
            raise ProtocolError(f"the offer cannot be used ({type(error).__name__}); reload the page") from error
        return pc.localDescription.sdp

    def close(self) -> None:
        """Close every page's connection."""
        for pc in list(self._pages):
            self._close(pc)

    def _tracks(self) -> list[AvatarTrack]:
        return [track for tracks in self._pages.values() for track in tracks]

    def _arrange(self, pc: RTCPeerConnection, directions: dict[str, str]) -> None:
        """Give each of the offer's sections its part: avatars in order, one camera, nothing else."""
        for transceiver in pc.getTransceivers():
            offered = directions.get(str(transceiver.mid), "inactive")
            sends = self._shows and offered in ("recvonly", "sendrecv")
            takes = transceiver.receiver.track is self._taken.get(pc) and offered in ("sendonly", "sendrecv")
            if sends:
                track = AvatarTrack(len(self._pages[pc]), self._on_shown)
                track.hold = self._holds.get(track.place, self._hold_all)
                track.origin = patches.sent_origin(transceiver.sender)
                playout_delay.at_once(transceiver.sender)
                self._pages[pc].append(track)
                if track.place in self._last:
                    track.show(self._last[track.place])
                transceiver.sender.replaceTrack(track)
            transceiver.direction = _DIRECTIONS[sends, takes]

    def _on_track(self, pc: RTCPeerConnection, track: MediaStreamTrack) -> None:
        put = self._on_camera_picture
        if track.kind != "video" or put is None or pc in self._taken:
            track.stop()
            return
        self._taken[pc] = track
        receiver = next(t.receiver for t in pc.getTransceivers() if t.receiver.track is track)
        clock = CaptureClock()

        def on_frame(frame: Any, decoded_us: int) -> None:
            # A second tab takes over, and the first waits. Were it closed, it would reconnect, and both would fight.
            if self._cameras[-1:] == [pc]:
                picture = _timed(frame, decoded_us, clock, patches.rtp_origin(receiver))
                self.page_leg.add(picture.captured_us, decoded_us)
                put(picture)

        patches.watch_reports(receiver, clock.report)
        patches.release_on_marker(receiver)
        estimate.plenty(receiver)
        if not patches.direct_frames(track, on_frame, lambda: None):
            task = asyncio.ensure_future(_drain(track, on_frame))
            self._drains.add(task)
            task.add_done_callback(self._drains.discard)

    def _on_state(self, pc: RTCPeerConnection) -> None:
        if pc.connectionState in ("failed", "closed"):
            self._close(pc)
        elif pc.connectionState == "connected" and pc in self._taken:
            if pc not in self._cameras:  # a page that only offers takes no camera from another
                self._cameras.append(pc)
            self._on_camera_state(True)

    def _close(self, pc: RTCPeerConnection) -> None:
        tracks = self._pages.pop(pc, None)
        if tracks is None:
            return
        self._taken.pop(pc, None)
        if pc in self._cameras:
            self._cameras.remove(pc)
            if not self._cameras:
                self._on_camera_state(False)
        pc.remove_all_listeners()
        close_soon(pc)


def _ms(us: int) -> float:
    return round(us / 1000, 1)


def _timed(frame: Any, decoded_us: int, clock: CaptureClock, origin: int | None) -> CameraPicture:
    """A page's picture with the time of its capture, as far as that is known."""
    if origin is None or frame.pts is None:
        return CameraPicture(frame, decoded_us)
    captured_us = clock.captured_us((frame.pts + origin) % WRAP, decoded_us)
    ordered_us = clock.in_order(decoded_us if captured_us is None else captured_us)
    return CameraPicture(frame, decoded_us, None if captured_us is None else ordered_us)


def parsed_offer(sdp: str) -> SessionDescription:
    """A page's offer, with H.264 first where it wants pictures: at the same rate VP8's encoder falls behind.

    aiortc's answer keeps the offer's order of codecs; preferences of its transceivers come too late for an answerer.

    Raises:
        ProtocolError: not a session description, or with too many sections.
    """
    try:
        offer = SessionDescription.parse(sdp)
    except Exception as error:  # aiortc raises anything on text that is none
        raise ProtocolError("the offer is not a session description") from error
    if not 1 <= len(offer.media) <= MAX_SECTIONS:
        raise ProtocolError(f"the offer has {len(offer.media)} sections; 1 to {MAX_SECTIONS} are allowed")
    for media in offer.media:
        if media.kind == "video" and media.direction in ("recvonly", "sendrecv"):
            h264 = {c.payloadType for c in media.rtp.codecs if c.mimeType.lower() == "video/h264"}
            media.rtp.codecs.sort(key=lambda c: not h264 & {c.payloadType, c.parameters.get("apt")})
    return offer


async def _drain(track: MediaStreamTrack, on_frame: Callable[[Any, int], None]) -> None:
    try:
        while True:
            on_frame(await track.recv(), now_us())
    except MediaStreamError:
        return
