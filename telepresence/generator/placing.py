"""Where everything of a person lies in a picture: vertices, what pictures are compared by, and one raster for all.

The prior rasterises one mesh per reference; here the mesh of the new picture is rasterised once, and what differs
between references (where a vertex lies in each) are attributes. So looking up a further reference costs a product and
no raster. For that, every vertex is one material point: its place in any picture follows from the head's pose there
and from where the body is in the first reference. Shapes: K references, U of them used, V vertices, S picture side,
R raster side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from telepresence.face.basis import default_basis
from telepresence.face.topology import (
    EYE_LEFT,
    EYE_OPENING_LEFT,
    EYE_OPENING_RIGHT,
    EYE_RIGHT,
    IRIS_LEFT,
    IRIS_RIGHT,
    MOUTH_CORNERS,
    MOUTH_OPENING,
)
from telepresence.generator.mesh import RINGS, Mesh, Ring, build_mesh
from telepresence.generator.prior import (
    COPY_GAP,
    FREE_WAY,
    FREE_ZOOM,
    MOUTH_TONE,
    SAME_REFERENCE,
    SHARPNESS,
    TEETH_TONE,
    open_mouth,
)
from telepresence.generator.raster import Rasteriser
from telepresence.generator.sampling import bilinear, resize

RASTER: Final = 64  # R
EYES: Final = ((33, 133, IRIS_RIGHT[0]), (362, 263, IRIS_LEFT[0]))  # both corners and the iris' centre
SIGNATURE: Final = 15
TOLD_SIGNATURE: Final = 12  # of these, what the network is told: all but where the head is
# What makes two mouths, or two pairs of eyes, look alike: opening, width, both lids, gaze across and down, where the
# head points (which lights and shows both), and where it is, across and down, and how near. Shoulders stay while the
# head moves: jaw, neck and collar meet as they do now only in a reference whose head is in the same place.
MOUTH_WEIGHTS: Final = (3.0, 1.5, 0.0, 0.0, 0.0, 0.0) + (1.0,) * 6 + (0.6, 0.6, 2.5)
EYE_WEIGHTS: Final = (0.0, 0.0, 2.0, 2.0, 1.5, 0.8) + (0.6,) * 6 + (0.0, 0.0, 0.0)
LOWER_LID, UNDER_NOSE = 145, 2  # between their heights the choice passes from the eyes' references to the mouth's
LIDS_SHUT: Final = (0.35, 0.7)  # of the references' opening: from drawn shut to as they are
# A shut eye is thinner than a raster cell: a triangle between its lids is hit or missed by chance, and what is looked
# up over a whole cell shows the eye half open. So shut lids are drawn along their seam, on a finer grid of their own.
FILL: Final = 128  # side of what is drawn by rule
SEAMS: Final = tuple(  # of the right and of the left eye, corner to corner: pairs of a lower and an upper lid's point
    ((ring[0], ring[0]), (ring[2], ring[14]), (ring[4], ring[12]), (ring[6], ring[10]), (ring[8], ring[8]))
    for ring in (EYE_RIGHT, EYE_LEFT)
)
SEAM: Final = (0.08, 0.2)  # of the eye's width: where skin beside the seam begins to fade, and its end
LASHES: Final = (0.03, 0.09)  # the same of the dark line on it
LASH_SHADE: Final = 0.55  # of the lid
LID_SHADE: Final = 0.95  # of the skin around the eye
# Hair above the eyes goes with the head mostly, whatever its length; loose ends beside the neck do not. The room only
# begins behind the last ring, so that nothing tears when the head comes nearer or goes back.
LIVE_RINGS: Final = (*RINGS[:2], Ring(2.0, 0.25, 0.3, 0.6, (-0.6, 0.0)), Ring(3.2, 0.25, 0.0, 0.0))
DELTA_CHANNELS, COMMON_CHANNELS = 3, 9
TOLD: Final = 7  # of the common channels, which the network is told; the last two only steer


@dataclass(frozen=True, slots=True)
class Choice:
    """Which references a picture is made of; U = 2 or 4, the mouth's first."""

    indices: Tensor
    """[U] int64."""
    mouth: Tensor
    """[U] float32, weights where the mouth is; sum 1."""
    eyes: Tensor
    """[U] float32, weights where the eyes are; sum 1."""


class Placing(nn.Module):
    """Geometry of pictures; no learned weights."""

    affine_fit: Tensor
    landmarks: Tensor
    triangles: Tensor
    oval: Tensor
    oval_mean: Tensor
    ring_mean: Tensor
    ring_shape: Tensor
    moves: Tensor
    """[V, 1] share of the head's motion that a vertex makes."""
    mean: Tensor
    """[V, 3] vertices of the mean face, canonical."""
    common: Tensor
    """[T + 2, 3, 9] attributes that are constants: canonical place, 1 on the mesh, mouth (3), share of the mouth's
    references, and 1 between the lids of the right eye, -1 of the left."""
    sheet: Tensor
    """[2, 3, 3] triangles behind everything: the room does not move."""
    flat: Tensor
    mouth_weights: Tensor
    eye_weights: Tensor
    seams: Tensor
    """[2, 5, 2] int64, `SEAMS`."""
    centres: Tensor
    """[FILL] of the columns, or rows, of what is drawn by rule."""
    finer: Tensor
    """[FILL, R]."""
    dark: Tensor
    teeth: Tensor

    def __init__(self, raster: int = RASTER) -> None:
        super().__init__()
        mesh = build_mesh(LIVE_RINGS)
        mean = default_basis().mean
        self.faces = len(mesh.landmarks)
        vertices = np.concatenate([mean[mesh.landmarks], mesh.ring_mean])
        moves = np.concatenate([np.ones(self.faces, np.float32), mesh.ring_motion])
        sheet = np.array([[[-3, -3, 50], [3, -3, 50], [-3, 3, 50]], [[3, 3, 50], [3, -3, 50], [-3, 3, 50]]], np.float32)
        constants = {
            "affine_fit": mesh.affine,
            "landmarks": mesh.landmarks,
            "triangles": mesh.triangles,
            "oval": mesh.oval,
            "oval_mean": mesh.oval_mean,
            "ring_mean": mesh.ring_mean,
            "ring_shape": mesh.ring_shape[:, None],
            "moves": moves[:, None],
            "mean": vertices,
            "common": _common(vertices, moves, mesh, mean),
            "dark": np.array(MOUTH_TONE, np.float32).reshape(1, 3, 1, 1),
            "teeth": np.array(TEETH_TONE, np.float32).reshape(1, 3, 1, 1),
            "sheet": sheet,
            "flat": np.array([1, 1, 0], np.float32),
            "mouth_weights": np.array(MOUTH_WEIGHTS, np.float32),
            "eye_weights": np.array(EYE_WEIGHTS, np.float32),
        }
        for name, value in constants.items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(value)), persistent=False)
        self.raster = Rasteriser(raster)
        centres = (torch.arange(FILL, dtype=torch.float32) + 0.5) * 2 / FILL - 1
        self.register_buffer("seams", torch.tensor(SEAMS), persistent=False)
        self.register_buffer("centres", centres, persistent=False)
        self.register_buffer("finer", bilinear(FILL, raster), persistent=False)

    def vertices(self, keypoints: Tensor) -> tuple[Tensor, Tensor]:
        """Keypoints [478, 3] -> vertices [V, 3] in square coordinates as if all of the head were rigid, and [V, 3] how
        they differ from the mean face turned the same way, in units of the head's scale: the expression (and the
        person's own shape)."""
        affine = self.affine_fit @ keypoints  # [4, 3]
        oval_rigid = self.oval_mean @ affine[:3] + affine[3]
        rings = self.ring_mean @ affine[:3] + affine[3] + self.ring_shape * (keypoints[self.oval] - oval_rigid)
        vertices = torch.cat([keypoints[self.landmarks], rings])
        scale = affine[0].square().sum().sqrt()
        return vertices, (vertices - (self.mean @ affine[:3] + affine[3])) / scale

    def signature(self, keypoints: Tensor) -> Tensor:
        """Keypoints [478, 3] -> [15] what pictures are compared by."""
        axes = (self.affine_fit @ keypoints)[:3]  # [3, 3]: images of the canonical axes
        scale = axes[0].square().sum().sqrt()
        lengths = [
            (keypoints[a] - keypoints[b]).square().sum().sqrt() / scale
            for a, b in (MOUTH_OPENING, MOUTH_CORNERS, EYE_OPENING_RIGHT, EYE_OPENING_LEFT)
        ]
        unit = axes[:2] / scale
        offsets = [(keypoints[iris] - (keypoints[a] + keypoints[b]) / 2) / scale for a, b, iris in EYES]
        gaze = unit @ (offsets[0] + offsets[1])  # [2]: across and down in the head's own axes
        place = keypoints[self.landmarks, :2].mean(0) / scale
        return torch.cat([torch.stack(lengths), gaze, (axes[:, :2] / scale).reshape(-1), place, scale[None]])

    def choose(self, now: Tensor, signatures: Tensor, used: int) -> Choice:
        """Which of [K, 15] references suit [15] best: one (`used` 2) or two (4) for the mouth, as many for the eyes."""
        # Free slots hold the first reference again. Were a copy to come second, the picture would jump where another
        # reference begins to be the nearer one.
        count = signatures.shape[0]
        same = (signatures[:, None] - signatures[None]).abs().amax(2) < SAME_REFERENCE
        earlier = torch.ones(count, count, device=signatures.device).tril(-1)
        penalty = COPY_GAP * torch.where(same, earlier, 0.0).amax(1)
        each = used // 2
        picked = []
        for weights in (self.mouth_weights, self.eye_weights):
            gap = ((signatures - now) * weights).square().sum(1) + penalty
            score, nearest = (-gap).topk(each)
            picked.append((nearest, torch.softmax(score * SHARPNESS, 0)))
        (mouth, mouth_share), (eyes, eye_share) = picked
        nothing = torch.zeros_like(mouth_share)
        return Choice(torch.cat([mouth, eyes]), torch.cat([mouth_share, nothing]), torch.cat([nothing, eye_share]))

    def draw(self, now: Tensor, first: Tensor, used: Tensor, deltas: Tensor) -> Tensor:
        """Rasterise the picture's mesh.

        Args:
            now: [V, 3] vertices in the new picture.
            first: [V, 3] in the first reference: where the body is.
            used: [U, V, 3] in the references that are looked up.
            deltas: [U, V, 3] expression now less expression there.

        Returns:
            [U * 5 + 9, R, R]: per used reference where to look in it (2, square coordinates) and the change of
            expression (3); then canonical place (3), 1 on the mesh, mouth (3), share of the mouth's references, and
            1 between the lids of the right eye, -1 of the left.
        """
        count = used.shape[0]
        target, target_sheet = self.place(now[None], first)
        source, source_sheet = self.place(used, first)
        corners = torch.cat([target[:, self.triangles], target_sheet], 1)  # [1, T + 2, 3, 3]
        flow = torch.cat([source[:, self.triangles], source_sheet], 1)[..., :2]  # [U, T + 2, 3, 2]
        change = torch.cat([deltas[:, self.triangles], torch.zeros_like(source_sheet)], 1)
        own = torch.cat([flow, change], -1).permute(1, 2, 0, 3).reshape(flow.shape[1], 3, count * 5)
        raster: Tensor = self.raster(corners, torch.cat([own, self.common], -1)[None])
        return raster[0]

    def fill(
        self, raster: Tensor, choice: Choice, keypoints: Tensor, now: Tensor, shown: Tensor, tones: Tensor
    ) -> Tensor:
        """What no reference can show, drawn plainly by rule: the inside of an opened mouth, the lids of shut eyes.

        Args:
            raster: from `draw`.
            choice: which references.
            keypoints: [478, 3] of the picture; now: [15] its signature; shown: [U, 15] of the references.
            tones: [U, 9] colours of cheeks and lids in the references, 0..1.

        Returns:
            [4, FILL, FILL] colour times share, and the share of the pixel that is drawn.
        """
        mouth, lids = raster[None, -5:-2], raster[-1]
        then = choice.mouth @ shown[:, 0]
        cheeks = (choice.mouth @ tones[:, :3])[None, :, None, None]
        inside = open_mouth(mouth, now[0], then[None, None, None, None], cheeks, self.dark, self.teeth)[0]
        ratio = now[2:4] / (choice.eyes @ shown[:, 2:4] + 1e-4)  # right, left
        shut = ((LIDS_SHUT[1] - ratio) / (LIDS_SHUT[1] - LIDS_SHUT[0])).clamp(0, 1)
        between = resize(torch.stack([lids, -lids]), self.finer).clamp(0, 1)
        skin, lashes = self._seams(keypoints)
        share = torch.maximum(between, skin) * shut[:, None, None]  # [2, FILL, FILL]
        colours = (choice.eyes @ tones[:, 3:]).reshape(2, 3, 1, 1) * LID_SHADE
        drawn = colours * (share * (1 - (1 - LASH_SHADE) * lashes))[:, None]
        return resize(inside, self.finer) + torch.cat([drawn.sum(0), share.sum(0, keepdim=True)])

    def _seams(self, keypoints: Tensor) -> tuple[Tensor, Tensor]:
        """Keypoints [478, 3] -> skin beside the right and left lids' seam and lashes on it, each [2, FILL, FILL]."""
        points = keypoints[self.seams, :2].mean(2)  # [2, 5, 2]
        across = points[:, -1] - points[:, 0]
        across = across / (across.square().sum(-1, keepdim=True) + 1e-9)  # units: the eye's width
        down = torch.stack([-across[:, 1], across[:, 0]], -1)
        axes = torch.stack([across, down], 1)  # [2, 2, 2]
        middle = (axes * (points[:, :1] + points[:, -1:]) / 2).sum(-1)  # [2, 2]
        x, y = axes[:, :, 0, None, None] * self.centres, axes[:, :, 1, None, None] * self.centres[:, None]
        along, off = torch.split(x + y - middle[:, :, None, None], 1, 1)  # [2, 1, FILL, FILL]
        # The seam is a parabola through both corners that fits the points between them best.
        between = (axes[:, None] * points[:, 1:-1, None]).sum(-1) - middle[:, None]  # [2, 3, 2]
        bow = 1 - 4 * between[..., 0].square()
        height = (bow * between[..., 1]).sum(1) / (bow.square().sum(1) + 1e-6)
        far = (off - height[:, None, None, None] * (1 - 4 * along.square())).abs() + (along.abs() - 0.5).clamp(min=0)
        skin, lashes = ((end - far[:, 0]) / (end - full) for full, end in (SEAM, LASHES))
        return skin.clamp(0, 1), lashes.clamp(0, 1)

    def place(self, vertices: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
        """Where material points lie: a neck stretches only so far, then the shoulders follow the head.

        Args:
            vertices: [N, V, 3] as if all of the head were rigid.
            first: [V, 3] the same in the first reference.

        Returns:
            [N, V, 3] places in the pictures and [N, 2, 3, 3] corners of the room's two triangles.
        """
        here, there = vertices[:, : self.faces].mean(1), first[: self.faces].mean(0)  # [N, 3], [3]
        # The points are spread in space, so that turning keeps it.
        spread = (first[: self.faces] - there).square().mean().sqrt()
        ratio = (vertices[:, : self.faces] - here[:, None]).square().mean((1, 2)).sqrt() / spread
        zoom = (ratio / ratio.clamp(1 / FREE_ZOOM, FREE_ZOOM))[:, None]
        way = (here - there) * self.flat
        length = way.square().sum(1, keepdim=True).sqrt() + 1e-6
        shift = way * ((length - FREE_WAY * spread).clamp(0) / length)
        # Zoomed about the head, so that it meets the shoulders where it left them.
        shift = shift + there * self.flat * (1 - zoom)
        rest = first * zoom[:, None] + shift[:, None]
        sheet = self.sheet * zoom[:, None, None] + shift[:, None, None]
        return rest + self.moves * (vertices - rest), sheet


def _common(
    vertices: NDArray[np.float32], moves: NDArray[np.float32], mesh: Mesh, mean: NDArray[np.float32]
) -> NDArray[np.float32]:
    top, bottom = mean[LOWER_LID, 1], mean[UNDER_NOSE, 1]
    lower = np.clip((vertices[:, 1:2] - top) / (bottom - top), 0, 1) * (moves[:, None] > 0)
    per_vertex = np.concatenate([vertices, np.ones_like(lower), lower], 1)
    corners = per_vertex[mesh.triangles]  # [T, 3, 5]
    common = np.concatenate([corners[..., :4], mesh.mouth, corners[..., 4:], _between_lids(mesh)], -1)
    room = np.zeros((2, 3, COMMON_CHANNELS), np.float32)
    out: NDArray[np.float32] = np.concatenate([common, room]).astype(np.float32)
    return out


def _between_lids(mesh: Mesh) -> NDArray[np.float32]:
    """[T, 3, 1] 1 for triangles of the right eye's opening, -1 for the left's."""
    names = np.concatenate([mesh.landmarks, np.full(len(mesh.ring_motion), -1)])[mesh.triangles]  # [T, 3]
    out = np.zeros((*mesh.triangles.shape, 1), np.float32)
    for eye, sign in ((EYE_RIGHT + IRIS_RIGHT, 1.0), (EYE_LEFT + IRIS_LEFT, -1.0)):
        out[np.isin(names, eye).all(1)] = sign
    return out
