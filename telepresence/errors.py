"""Every error that telepresence raises on purpose.

TelepresenceError
├── InputError                something that the user gave cannot be used; the message says how to fix it
│   ├── MediaError            a clip, photo or camera cannot be read
│   ├── FaceError             no face, or no usable face, where one is needed
│   ├── AvatarError           an .avatar file is damaged, hostile or of an unknown version
│   └── EngineError           an engine is missing or damaged, or no runtime can execute it
│       └── RuntimeLostError  a runtime that did execute it fails; another may take over
├── ProtocolError             remote input was refused; the call goes on
│   ├── PacketError           bytes on a data channel are not a packet of a known version
│   │   └── MissingReferenceError   a packet refers to a motion that this end does not hold
│   ├── TransferError         an avatar transfer broke its own rules (size, hash, order)
│   └── SignallingError       a signalling message is malformed, too large or out of turn
└── RoomError                 the hub said no
    ├── TokenError            the token is wrong, expired or for another room
    └── RoomFullError         the room has no free place
"""

from __future__ import annotations


class TelepresenceError(Exception):
    """The root: catch it to catch everything that telepresence raises on purpose."""


class InputError(TelepresenceError):
    """Something that the user gave cannot be used."""


class MediaError(InputError):
    """A clip, photo or camera cannot be read."""


class FaceError(InputError):
    """No face, or no usable face, was found where one is needed."""


class AvatarError(InputError):
    """An avatar file is damaged, hostile or of an unknown version."""


class EngineError(InputError):
    """An engine is missing or damaged, or no runtime can execute it."""


class RuntimeLostError(EngineError):
    """A runtime that could execute an engine failed while it did: out of memory, a GPU that went away."""


class ProtocolError(TelepresenceError):
    """Remote input was refused. Count it and go on: it never ends a call."""


class PacketError(ProtocolError):
    """Bytes on a data channel are not a packet of a known version."""


class MissingReferenceError(PacketError):
    """A packet refers to a motion that this end does not hold; the next acknowledgement tells the sender."""


class TransferError(ProtocolError):
    """An avatar transfer broke its own rules (size, hash, order)."""


class SignallingError(ProtocolError):
    """A signalling message is malformed, too large or out of turn."""


class RoomError(TelepresenceError):
    """The hub refused to let a participant in."""


class TokenError(RoomError):
    """The token is wrong, expired or for another room."""


class RoomFullError(RoomError):
    """The room has no free place."""
