"""What an edge tells its own page about its avatars' pictures: show each as it comes.

A browser that is told nothing plans when to show a picture: when it comes, by how much others came late, and 10 ms for
drawing. Between an edge and its page there is loopback and nothing to even out, and pictures that have to wait for a
voice wait at the edge (`tracks.Hold`). The RTP header extension "playout-delay" says so: least 0, most 0, which
Chromium takes as "at once" (webrtc.googlesource.com/src/+/main/docs/native-code/rtp-hdrext/playout-delay; RFC 8285 for
its form). Browsers that do not offer it are told nothing. aiortc 1.16 does not know it.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from aiortc import RTCRtpHeaderExtensionParameters
from aiortc.codecs import HEADER_EXTENSIONS
from aiortc.rtcrtpparameters import RTCRtpParameters
from aiortc.rtp import (
    HeaderExtensions,
    HeaderExtensionsMap,
    pack_header_extensions,
    unpack_header_extensions,
)

logger = logging.getLogger(__name__)

URI: Final = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
AT_ONCE: Final = bytes(3)
"""12 bits of least delay and 12 bits of most, in units of 10 ms."""
OFFERED_ID: Final = 12  # in an offer of ours; an answer takes the other's. One byte of header allows 1 to 14
_NAME: Final = "_RTCRtpSender__rtp_header_extensions_map"


class AtOnce(HeaderExtensionsMap):
    """A sender's header extensions, with the playout delay in every packet if the other side understands it."""

    def __init__(self) -> None:
        super().__init__()
        self._id: int | None = None

    def configure(self, parameters: RTCRtpParameters) -> None:
        """Take what both sides agreed on."""
        super().configure(parameters)
        for extension in parameters.headerExtensions:
            if extension.uri == URI:
                self._id = extension.id

    def set(self, values: HeaderExtensions) -> tuple[int, bytes]:
        """A packet's extensions: profile, and bytes that are a multiple of four."""
        profile, packed = super().set(values)
        if self._id is None:
            return profile, packed
        return pack_header_extensions([*unpack_header_extensions(profile, packed), (self._id, AT_ONCE)])


def understood() -> None:
    """Have every connection of this process agree to the extension where it is offered. More than once does no harm."""
    known = HEADER_EXTENSIONS["video"]
    if all(extension.uri != URI for extension in known):
        known.append(RTCRtpHeaderExtensionParameters(id=OFFERED_ID, uri=URI))


def at_once(sender: Any) -> bool:
    """Have a video sender say so; call before it starts. False if aiortc has changed: pictures are shown later."""
    if not isinstance(getattr(sender, _NAME, None), HeaderExtensionsMap):
        logger.warning("aiortc has changed: pages show pictures some 10 ms later")
        return False
    setattr(sender, _NAME, AtOnce())
    return True
