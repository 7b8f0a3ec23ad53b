"""What the measured browsers load: the benchmark's page, a clock, and a place for the pictures that they kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from telepresence.errors import MediaError
from telepresence.resources import shipped
from telepresence.rtc.monotonic import now_us

FOLDER: Final = Path(__file__).parent / "page"
MAX_BODY_BYTES: Final = 1 << 30
ROLES: Final = ("sender", "receiver")
OWN: Final = ("bench.js", "lips.js")
PRODUCT: Final = tuple(
    f"{name}.js" for name in ("connection", "call/sound", "call/sync", "call/steering", "call/clocks")
)  # modules of the product's page that are measured


@dataclass(frozen=True)
class Sample:
    """One picture as it was on the screen."""

    time_us: int
    """When it was handed to the screen, on the benchmark's clock."""
    number: int | None
    """Of the camera's picture, where the mark could be read."""
    format: str
    width: int
    height: int
    data: memoryview

    def rgb(self) -> NDArray[np.uint8]:
        """uint8 (H, W, 3).

        Raises:
            MediaError: the browser's format is not known.
        """
        import cv2

        flat = np.frombuffer(self.data, np.uint8)
        if self.format in ("RGBA", "RGBX", "BGRA", "BGRX"):
            shaped = flat.reshape(self.height, self.width, 4)
            return np.ascontiguousarray(shaped[..., :3] if self.format.startswith("RGB") else shaped[..., 2::-1])
        if self.format != "I420":
            raise MediaError(f"the browser keeps pictures as {self.format}, which is not known here; use Chromium")
        picture: NDArray[np.uint8] = cv2.cvtColor(self._even(flat), cv2.COLOR_YUV2RGB_I420)
        return picture

    def _even(self, flat: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Planar YUV with even sides, (H * 3 / 2, W): without its last column or row where that is odd."""
        width, height = self.width // 2 * 2, self.height // 2 * 2
        across, down = (self.width + 1) // 2, (self.height + 1) // 2
        luma = flat[: self.height * self.width].reshape(self.height, self.width)[:height, :width]
        chroma = flat[self.height * self.width :].reshape(2, down, across)[:, : height // 2, : width // 2]
        even: NDArray[np.uint8] = np.concatenate([luma.ravel(), chroma.ravel()]).reshape(height * 3 // 2, width)
        return even


class Pages:
    """The routes, and the pictures that came last from each end."""

    def __init__(self) -> None:
        self.samples: dict[str, list[Sample]] = {}

    def routes(self) -> list[BaseRoute]:
        """To be served beside the hub's."""
        return [
            Route("/bench/", lambda request: FileResponse(FOLDER / "index.html")),
            *(Route(f"/bench/{name}", _file(FOLDER / name)) for name in OWN),
            *(Route(f"/bench/{name}", _file(shipped("web") / name)) for name in PRODUCT),
            Route("/bench/clock", _clock),
            Route("/bench/samples/{role}", self._take, methods=["POST"]),
        ]

    async def _take(self, request: Request) -> Response:
        role = request.path_params["role"]
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                return PlainTextResponse("too much", 413)
        if role not in ROLES:
            return PlainTextResponse("no such end", 404)
        self.samples[role] = unpacked(bytes(body))
        return PlainTextResponse("taken")


def unpacked(body: bytes) -> list[Sample]:
    """A page's pictures: the length of a JSON head (four bytes, little-endian), the head, the pictures' bytes."""
    end = 4 + int.from_bytes(body[:4], "little")
    head: list[dict[str, Any]] = json.loads(body[4:end])
    data, samples = memoryview(body), []
    for about in head:
        size = about.pop("bytes")
        samples.append(Sample(**about, data=data[end : end + size]))
        end += size
    return samples


def _file(path: Path) -> Callable[[Request], Response]:
    return lambda request: FileResponse(path)


async def _clock(request: Request) -> Response:
    return PlainTextResponse(f"{now_us() / 1000:.3f}")
