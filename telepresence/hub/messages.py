"""What clients and hub say to each other, and the limits of it. `codec` turns it into JSON text and back.

`docs/signalling.md` specifies every field.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

PROTOCOL: Final = 1
MAX_MESSAGE_BYTES: Final = 64 * 1024  # UTF-8
MAX_SDP_BYTES: Final = 24 * 1024  # UTF-8; even with every byte escaped it fits in a message
MAX_NESTING: Final = 8  # arrays and objects within one another
MAX_NAME_CHARACTERS: Final = 64
MAX_ROOM_CHARACTERS: Final = 64
MAX_ID_CHARACTERS: Final = 32
MAX_TOKEN_CHARACTERS: Final = 1024
MAX_TEXT_CHARACTERS: Final = 500  # of an error's explanation
MAX_SCHEMAS: Final = 16  # motion schemas in a list
MAX_SCHEMA: Final = 255  # a packet has one byte for it
MAX_SESSION: Final = 2**53 - 1  # the largest integer that JavaScript keeps exact
MAX_PARTICIPANTS: Final = 12  # in a room
MAX_ICE_SERVERS: Final = 8


@dataclass(frozen=True, slots=True)
class Participant:
    """Somebody in the room."""

    id: str
    """Given by the hub, unique in the room, kept over a resume."""
    name: str
    """What the participant calls itself, or what its token says; may be empty. Printable."""
    schemas: tuple[int, ...]
    """Motion schemas that it can decode, ascending."""
    vouched: bool = False
    """Whether the name is its token's: then no name that it gives itself later replaces it."""


@dataclass(frozen=True, slots=True)
class IceServer:
    """A STUN or TURN server that the hub recommends."""

    urls: tuple[str, ...]
    """For instance `("turn:turn.example.org:3478?transport=udp",)`."""
    username: str | None = None
    """None for STUN."""
    credential: str | None = None
    """None for STUN."""


@dataclass(frozen=True, slots=True)
class Payload:
    """What one participant tells another through the hub."""

    kind: Literal["offer", "answer", "bye"]
    """`bye`: no peer connection up to that session is of use here; please offer another."""
    session: int
    """Chosen by the offerer, larger with each new peer connection to the same participant; an answer repeats it."""
    sdp: str = ""
    """Session description (RFC 8866) with all candidates in it; empty for `bye`."""
    media: Literal["motion", "sound"] = "motion"
    """What the peer connection is for: motion is between edges, sound between pages. Sessions count apart for each."""


@dataclass(frozen=True, slots=True)
class Join:
    """Client -> hub, once, first."""

    token: str
    """Opaque; see `telepresence.hub.tokens`."""
    room: str
    """Letters, digits, `_`, `-`, and `.` but not first."""
    name: str
    """May be empty. A name in the token wins over it."""
    schemas: tuple[int, ...]
    """Motion schemas that the participant can decode."""
    resume: str | None = None
    """From an earlier `joined` of the same participant; None at the first join."""


@dataclass(frozen=True, slots=True)
class Relay:
    """Client -> hub: hand `payload` to one other participant."""

    to: str
    """The other's id."""
    payload: Payload
    """Handed over as parsed: unknown fields are dropped."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Client -> hub: going for good; the place is free at once."""


@dataclass(frozen=True, slots=True)
class Joined:
    """Hub -> client: you are in. Also comes after every reconnect."""

    id: str
    """Your own id."""
    resume: str
    """Present it when you reconnect, to keep id and place."""
    participants: tuple[Participant, ...]
    """The others in the room now. Offer to each that you have no peer connection with."""
    ice_servers: tuple[IceServer, ...] = ()
    """What the hub recommends; empty on a local network."""
    resumed: bool = False
    """The id is the one that you had before. After a hub restart the list may lack others who are not back yet."""
    relay_only: bool = False
    """Peer connections of this room go by TURN only, so that nobody sees anybody's address."""
    name: str = ""
    """The name that your token gives you, and the others are told; empty: you choose."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """Hub -> client: somebody joined. They make the offer, unless a peer connection with that id is already up."""

    participant: Participant
    """The one who joined."""


@dataclass(frozen=True, slots=True)
class Left:
    """Hub -> client: somebody left, or was away for longer than the grace period."""

    id: str
    """The one who left."""


@dataclass(frozen=True, slots=True)
class Relayed:
    """Hub -> client: another participant's payload."""

    sender: str
    """Id of who sent it; the hub vouches for it."""
    payload: Payload
    """Within the limits above, otherwise not examined by the hub."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Hub -> client: the hub did not do what you asked."""

    code: str
    """One of the table in docs/signalling.md: `token`, `full`, `rate`, `bad-message`, `away` and so on."""
    message: str
    """An explanation for people, in English."""
    to: str | None = None
    """With `away`: whom the payload could not be handed to."""


FromClient = Join | Relay | Leave
FromHub = Joined | Arrived | Left | Relayed | Refused
