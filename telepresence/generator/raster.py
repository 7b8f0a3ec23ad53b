"""A z-buffered triangle rasteriser made of operators that every runtime has, for use inside an exported graph.

Testing every triangle at every pixel costs T x H x W; here the picture is cut into small tiles, each tile keeps the
`MAX_PER_TILE` triangles whose boxes overlap it most (TopK), and only those are tested. Shapes are static, there is no
data-dependent control flow, and all of it runs in float32.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

TILE: Final = 4  # pixels
MAX_PER_TILE: Final = 64  # triangles; on 28 face clips, framed from webcam to tight, the median clip's fullest tile
# holds 25, nine in ten hold at most 36, and one in a hundred 76: a tiny face then loses its smallest triangles
_FAR: Final = 1e4  # a depth behind everything
_EDGE: Final = -1e-3  # barycentric slack: neighbours overlap rather than gape


class Rasteriser(nn.Module):
    """Rasterises attributes that are linear over triangles.

    Args:
        size: raster side in pixels, a multiple of TILE.
    """

    pixels: Tensor
    """[N, 3, P] centres of the P pixels of N tiles: x, y, 1."""
    low: Tensor
    """[N, 1, 2] each tile's top left corner."""
    high: Tensor
    """[N, 1, 2] each tile's bottom right corner."""

    def __init__(self, size: int) -> None:
        super().__init__()
        tiles = size // TILE
        centre = (np.arange(size, dtype=np.float32) + 0.5) * 2 / size - 1
        grid = np.stack(np.meshgrid(centre, centre), -1)  # x, y
        grid = grid.reshape(tiles, TILE, tiles, TILE, 2).transpose(0, 2, 1, 3, 4).reshape(tiles * tiles, TILE * TILE, 2)
        homogeneous = np.concatenate([grid, np.ones_like(grid[..., :1])], -1).transpose(0, 2, 1)
        self.register_buffer("pixels", torch.from_numpy(np.ascontiguousarray(homogeneous)), persistent=False)
        half = 1 / size
        self.register_buffer("low", torch.from_numpy(grid.min(1) - half)[:, None], persistent=False)
        self.register_buffer("high", torch.from_numpy(grid.max(1) + half)[:, None], persistent=False)
        self.size, self.tiles = size, tiles

    def forward(self, corners: Tensor, attributes: Tensor) -> Tensor:
        """Rasterise B meshes of the same triangles in much the same places; they share the choice per tile.

        Args:
            corners: [B, T, 3, 3] float32, triangles' corners: x and y in square coordinates, z (smaller is nearer).
            attributes: [B, T, 3, C] float32, values at the corners.

        Returns:
            [B, C, size, size] float32: the nearest triangle's attributes. The caller covers the picture with at least
            one far triangle; where none is, values are of an arbitrary triangle.
        """
        b, t = corners.shape[:2]
        flat_attributes = attributes.reshape(b * t, -1)
        b0, b1, depth = self._planes(corners.reshape(b * t, 3, 3))  # linear functions of (x, y, 1), [B T, 3] each
        shared = self._per_tile(corners)  # [N, M]
        chosen = torch.cat([shared + mesh * t for mesh in range(b)])  # [B N, M]
        w0, w1 = self._at_pixels(b0, chosen), self._at_pixels(b1, chosen)  # [B N, M, P]
        inside = torch.minimum(torch.minimum(w0, w1), 1 - w0 - w1) >= _EDGE
        distance = torch.where(inside, self._at_pixels(depth, chosen), _FAR)
        flat = torch.gather(chosen, 1, distance.argmin(1)).reshape(-1)  # [B N P]
        x_y_1 = self.pixels.transpose(1, 2).reshape(-1, 3).repeat(b, 1)
        v0 = (b0[flat] * x_y_1).sum(1, keepdim=True).clamp(0, 1)
        v1 = (b1[flat] * x_y_1).sum(1, keepdim=True).clamp(0, 1)
        a = flat_attributes[flat].reshape(flat.shape[0], 3, -1)
        mixed = a[:, 0] * v0 + a[:, 1] * v1 + a[:, 2] * (1 - v0 - v1)
        return self._assemble(mixed.reshape(b, -1, mixed.shape[-1]))

    def _at_pixels(self, plane: Tensor, chosen: Tensor) -> Tensor:
        n, m = chosen.shape
        pixels = self.pixels.repeat(n // self.pixels.shape[0], 1, 1)
        return torch.bmm(plane[chosen.reshape(-1)].reshape(n, m, 3), pixels)

    def _planes(self, corners: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, y, z = corners[..., 0], corners[..., 1], corners[..., 2]
        x0, x1, x2 = x[:, 0], x[:, 1], x[:, 2]
        y0, y1, y2 = y[:, 0], y[:, 1], y[:, 2]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        # A triangle seen edge-on has no inside: a huge reciprocal is bounded, and its pixels fail the inside test.
        inverse = 1 / torch.where(area.abs() < 1e-7, 1e-7, area)
        b0 = torch.stack([y1 - y2, x2 - x1, x1 * y2 - x2 * y1], -1) * inverse[:, None]
        b1 = torch.stack([y2 - y0, x0 - x2, x2 * y0 - x0 * y2], -1) * inverse[:, None]
        depth = b0 * (z[:, 0:1] - z[:, 2:3]) + b1 * (z[:, 1:2] - z[:, 2:3])
        depth = torch.cat([depth[:, :2], depth[:, 2:] + z[:, 2:3]], 1)
        return b0, b1, depth

    def _per_tile(self, corners: Tensor) -> Tensor:
        low, high = (
            corners[..., :2].amin((0, 2)),
            corners[..., :2].amax((0, 2)),
        )  # [T, 2] around a triangle in all meshes
        overlap = torch.minimum(self.high - low[None], high[None] - self.low).amin(-1)  # [N, T], negative is apart
        return overlap.topk(min(MAX_PER_TILE, overlap.shape[1]), dim=1).indices

    def _assemble(self, tiled: Tensor) -> Tensor:
        b, t, c = tiled.shape[0], self.tiles, tiled.shape[-1]
        picture = tiled.reshape(b, t, t, TILE, TILE, c).permute(0, 5, 1, 3, 2, 4)
        return picture.reshape(b, c, self.size, self.size)
