"""The prior: an analytic generator, no learned weights. Keypoints in, RGBA picture out, in one graph.

The face mesh, extended by rigid rings, is rasterised with a z-buffer; every pixel of the new picture looks up where it
lies in the two references whose expression and pose are closest. Shapes: K references, V vertices, T triangles,
S picture side, R raster side.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import grid_sample, interpolate, pad

from telepresence.face.topology import EYE_OPENING_LEFT, EYE_OPENING_RIGHT, MOUTH_CORNERS, MOUTH_OPENING
from telepresence.generator.mesh import build_mesh
from telepresence.generator.raster import Rasteriser

REFERENCES: Final = 8
RASTER: Final = {256: 64, 512: 96}  # flow resolution per picture side
SHARPNESS: Final = 120.0  # of the choice among references: a crossfade of a few pictures, not a double exposure
SAME_REFERENCE: Final = 1e-6  # difference of signatures; copies have none
COPY_GAP: Final = 1e3  # more than any two faces differ by
# What makes two faces look alike: openings of mouth and lids first, then the mouth's width, then where the head points.
SIGNATURE_WEIGHTS: Final = (3.0, 1.0, 2.0, 2.0) + (0.6,) * 6
# An open mouth that no reference shows, as shares of the cheeks' colour, so that it is lit as the face is: dark,
# slightly red, and behind the upper lip the edge of the teeth, paler than skin.
MOUTH_TONE: Final = (0.30, 0.18, 0.20)
TEETH_TONE: Final = (0.84, 0.98, 1.06)
CHEEKS: Final = (50, 280, 205, 425, 117, 346)
TEETH_HEIGHT: Final = 0.085  # canonical units; upper front teeth are about 9 mm, outer eye corners 90-100 mm apart
FREE_ZOOM: Final = 1.15  # a head may come so much nearer, or go back, before the shoulders do too
FREE_WAY: Final = (
    1.1  # likewise for its way in the picture, in spreads of the face's points: a quarter of a face height
)
MOUTH_OPEN: Final = (0.03, 0.10)  # opening, canonical units, from which the drawn inside fades in


class _Geometry(nn.Module):
    """What encode and render compute alike: vertices and signature of one face."""

    landmarks: Tensor
    triangles: Tensor
    affine_fit: Tensor
    oval: Tensor
    oval_mean: Tensor
    ring_mean: Tensor
    ring_shape: Tensor
    signature_weights: Tensor

    def __init__(self) -> None:
        super().__init__()
        mesh = build_mesh()
        self.mesh = mesh
        self._constant("landmarks", mesh.landmarks)
        self._constant("triangles", mesh.triangles)
        self._constant("affine_fit", mesh.affine)
        self._constant("oval", mesh.oval)
        self._constant("oval_mean", mesh.oval_mean)
        self._constant("ring_mean", mesh.ring_mean)
        self._constant("ring_shape", mesh.ring_shape[:, None])
        self._constant("signature_weights", np.array(SIGNATURE_WEIGHTS, np.float32))

    def _constant(self, name: str, value: NDArray[Any]) -> None:
        self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(value)), persistent=False)

    def vertices(self, keypoints: Tensor) -> Tensor:
        """Keypoints [478, 3] -> vertices [V, 3] in square coordinates, rings as if all of them moved with the head."""
        affine = self.affine_fit @ keypoints  # [4, 3]
        oval_rigid = self.oval_mean @ affine[:3] + affine[3]
        rings = self.ring_mean @ affine[:3] + affine[3] + self.ring_shape * (keypoints[self.oval] - oval_rigid)
        return torch.cat([keypoints[self.landmarks], rings])

    def signature(self, keypoints: Tensor) -> Tensor:
        """Keypoints [478, 3] -> [10] what pictures are compared by; also its first entry is the mouth's opening."""
        axes = (self.affine_fit @ keypoints)[:3]  # [3, 3]: images of the canonical axes
        scale = axes[0].square().sum().sqrt()
        lengths = [
            (keypoints[a] - keypoints[b]).square().sum().sqrt() / scale
            for a, b in (MOUTH_OPENING, MOUTH_CORNERS, EYE_OPENING_RIGHT, EYE_OPENING_LEFT)
        ]
        return torch.cat([torch.stack(lengths), (axes[:, :2] / scale).reshape(-1)])


class PriorEncode(nn.Module):
    """Once per reference: its pixels, premultiplied, with what places and compares them."""

    outputs = ("pixels", "vertices", "signature", "tone")

    def __init__(self) -> None:
        super().__init__()
        self.geometry = _Geometry()

    def forward(self, picture: Tensor, matte: Tensor, keypoints: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Encode one reference.

        Args:
            picture: [1, S, S, 3] uint8 RGB.
            matte: [1, S, S, 1] uint8, 255 is person.
            keypoints: [1, 478, 3] float32, square coordinates.

        Returns:
            pixels [1, 4, S, S] float32, RGB premultiplied by the matte, and the matte, 0..1;
            vertices [1, V, 3] float32; signature [1, 10] float32; tone [1, 3] float32, the cheeks' mean colour, 0..1.
        """
        alpha = matte.float().permute(0, 3, 1, 2) / 255
        colour = picture.float().permute(0, 3, 1, 2) / 255
        pixels = torch.cat([colour * alpha, alpha], 1)
        vertices = self.geometry.vertices(keypoints[0])[None]
        cheeks = grid_sample(colour, keypoints[:, None, list(CHEEKS), :2], align_corners=False)  # [1, 3, 1, cheeks]
        return pixels, vertices, self.geometry.signature(keypoints[0])[None], cheeks.mean((2, 3))


class PriorRender(nn.Module):
    """Per picture: nearest two references, warped and blended over the background plate."""

    moves: Tensor
    """[V, 1] share of the head's motion that a vertex makes."""
    mouth: Tensor
    """[T + 2, 3, 3] coordinates inside the open mouth, as in `mesh.Mesh.mouth`."""
    sheet: Tensor
    """[2, 3, 3] triangles behind everything."""
    enlarge: Tensor
    """[S, R] from the raster's rows to the picture's."""
    flat: Tensor
    """[3] ones, and zero for depth."""
    earlier: Tensor
    """[K, K] 1 where the second reference comes before the first."""
    rgb: Tensor
    """[1, 4, 1, 1] ones, and zero for alpha."""
    mouth_tone: Tensor
    teeth_tone: Tensor

    def __init__(self, size: int, used: int = 2) -> None:
        super().__init__()
        self.size, self.used = size, used
        self.geometry = _Geometry()
        mesh = self.geometry.mesh
        self.raster = Rasteriser(RASTER[size])
        moves = np.concatenate([np.ones(len(mesh.landmarks), np.float32), mesh.ring_motion])
        self.register_buffer("moves", torch.from_numpy(moves)[:, None], persistent=False)
        mouth = np.concatenate([mesh.mouth, np.zeros((2, 3, 3), np.float32)])
        self.register_buffer("mouth", torch.from_numpy(mouth), persistent=False)
        # Two triangles far behind, larger than the picture, that map every pixel to itself: the room does not move.
        sheet = np.array([[[-3, -3, 50], [3, -3, 50], [-3, 3, 50]], [[3, 3, 50], [3, -3, 50], [-3, 3, 50]]], np.float32)
        self.register_buffer("sheet", torch.from_numpy(sheet), persistent=False)
        rows = interpolate(torch.eye(RASTER[size])[None, None], size=(size, RASTER[size]), mode="bilinear")[0, 0]
        self.register_buffer("enlarge", rows, persistent=False)
        self.register_buffer("flat", torch.tensor([1.0, 1.0, 0.0]), persistent=False)
        self.register_buffer("earlier", torch.ones(REFERENCES, REFERENCES).tril(-1), persistent=False)
        self.register_buffer("rgb", torch.tensor([1.0, 1.0, 1.0, 0.0]).reshape(1, 4, 1, 1), persistent=False)
        for name, colour in (("mouth_tone", MOUTH_TONE), ("teeth_tone", TEETH_TONE)):
            self.register_buffer(name, torch.tensor(colour).reshape(1, 3, 1, 1), persistent=False)

    def forward(
        self,
        keypoints: Tensor,
        pixels: Tensor,
        vertices: Tensor,
        signature: Tensor,
        tone: Tensor,
        background: Tensor,
    ) -> Tensor:
        """Draw one picture.

        Args:
            keypoints: [1, 478, 3] float32, square coordinates.
            pixels: [K, 4, S, S], vertices: [K, V, 3], signature: [K, 10], tone: [K, 3]: from `PriorEncode`, stacked.
            background: [1, S, S, 3] uint8 RGB, the background plate.

        Returns:
            [1, S, S, 4] uint8 RGBA; RGB is already composed over the background, A is the matte.
        """
        points = keypoints[0]
        now = self.geometry.signature(points)
        weights, nearest = self._choose(now, signature)
        moved = self.geometry.vertices(points)
        layers = self._warp(moved, vertices[nearest], pixels[nearest], now, signature[nearest], tone[nearest])
        blend = (layers * weights[:, None, None, None]).sum(0, keepdim=True)
        plate = background.float().permute(0, 3, 1, 2) / 255
        clear = pad(plate, (0, 0, 0, 0, 0, 1))
        picture = blend + clear * (1 - blend[:, 3:])
        return (picture * 255 + 0.5).clamp(0, 255).permute(0, 2, 3, 1).to(torch.uint8)

    def _choose(self, now: Tensor, signature: Tensor) -> tuple[Tensor, Tensor]:
        gap = ((signature - now) * self.geometry.signature_weights).square().sum(1)
        # Free slots hold the first reference again. Were a copy to come second, the picture would jump where another
        # reference begins to be the nearer one.
        same = (signature[:, None] - signature[None]).abs().amax(2) < SAME_REFERENCE
        copies = torch.where(same, self.earlier, 0.0).amax(1)
        score, nearest = (-(gap + COPY_GAP * copies)).topk(self.used)
        return torch.softmax(score * SHARPNESS, 0), nearest

    def _warp(self, moved: Tensor, source: Tensor, pixels: Tensor, now: Tensor, then: Tensor, tone: Tensor) -> Tensor:
        """U references, each [U, ...], to where they are now: [U, 4, S, S], premultiplied."""
        sheet = self.sheet[None].repeat(self.used, 1, 1, 1)
        zoom, shift = self._body(moved, source)
        rest = source * zoom + shift
        target = rest + self.moves * (moved - rest)
        corners = torch.cat([target[:, self.geometry.triangles], sheet * zoom[:, None] + shift[:, None]], 1)
        flow = torch.cat([source[:, self.geometry.triangles], sheet], 1)[..., :2]
        drawn = self.raster(corners, torch.cat([flow, self.mouth[None].repeat(self.used, 1, 1, 1)], -1))
        mouth = self._open_mouth(drawn[:, 2:], now[0], then[:, 0, None, None, None], tone[:, :, None, None])
        grid = self._enlarge(drawn[:, :2]).permute(0, 2, 3, 1)
        warped = grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)
        mouth = self._enlarge(mouth)  # [U, 4, S, S]: colour times share, share
        return warped + warped[:, 3:] * mouth * self.rgb - warped * mouth[:, 3:] * self.rgb

    def _body(self, moved: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
        """How the rest of the picture goes along: a neck stretches only so far, then the shoulders follow the head.

        Args:
            moved: [V, 3] where the head is now; source: [U, V, 3] where it is in each reference.

        Returns:
            zoom [U, 1, 1] and shift [U, 1, 3] (no depth) of all that is at rest.
        """
        faces = len(self.geometry.landmarks)
        here, there = moved[:faces].mean(0), source[:, :faces].mean(1)
        # The points are spread in space, so that turning keeps it.
        spread = (source[:, :faces] - there[:, None]).square().mean((1, 2)).sqrt()
        ratio = (moved[:faces] - here).square().mean().sqrt() / spread
        zoom = ratio / ratio.clamp(1 / FREE_ZOOM, FREE_ZOOM)
        way = (here - there) * self.flat
        length = way.square().sum(1).sqrt() + 1e-6
        shift = way * ((length - FREE_WAY * spread).clamp(0) / length)[:, None]
        # Zoomed about the head, so that it meets the shoulders where it left them.
        shift = shift + there * self.flat * (1 - zoom)[:, None]
        return zoom[:, None, None], shift[:, None]

    def _enlarge(self, small: Tensor) -> Tensor:
        # Bilinear, written as two products with a fixed matrix: in CPU runtimes a third of the time of Resize.
        return torch.matmul(self.enlarge, torch.matmul(small, self.enlarge.T))

    def _open_mouth(self, mouth: Tensor, now: Tensor, then: Tensor, tone: Tensor) -> Tensor:
        return open_mouth(mouth, now, then, tone, self.mouth_tone, self.teeth_tone)


def open_mouth(mouth: Tensor, now: Tensor, then: Tensor, tone: Tensor, dark: Tensor, teeth_tone: Tensor) -> Tensor:
    """Where the mouth is open now and was shut in the reference there is nothing to show: draw a plain inside.

    Args:
        mouth: [U, 3, R, R], 1 in the mouth, from left to right -1..1, from the upper to the lower lip 0..1.
        now: [] opening, canonical units; then: [U, 1, 1, 1] that of the references.
        tone: [U, 3, 1, 1] the cheeks' colour; dark and teeth_tone: [1, 3, 1, 1] shares of it.

    Returns:
        [U, 4, R, R] at the raster's size: colour times share, and the share of the pixel that is drawn.
    """
    flag, across, down = torch.split(mouth, 1, 1)
    low, high = MOUTH_OPEN
    unseen = ((now - low) / (high - low)).clamp(0, 1) * (1 - (then - low) / (high - low)).clamp(0, 1)
    teeth = ((1.1 - down * now / TEETH_HEIGHT) * 4).clamp(0, 1) * (1 - across.square()).clamp(0, 1)
    inside = tone * (dark + (teeth_tone - dark) * teeth)
    share = flag * unseen
    return torch.cat([inside * share, share], 1)
