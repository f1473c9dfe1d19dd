"""H3's grid as lattices: the faces of its icosahedron, and on each the hexagons of a resolution.

H3 projects the sphere onto the icosahedron whose corners are its twelve pentagons, gnomonically (a great circle
becomes a straight line), and lays one lattice of hexagons on each face (h3geo.org, "Coordinate systems used by the
library"). At an even resolution r a face's corner lies 2 * 7^(r/2) steps from its middle; at an odd one the lattice is
that of the next even one, thinned to a seventh. All follows from where the pentagons are, and
tests/property/test_places_table.py compares the lattice with the library's cells.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
from h3.api import basic_int as h3

from geo_offers.places.earth import FloatArray

FACES = 20


@dataclass(frozen=True, slots=True)
class Lattices:
    """Of each face the direction of its middle, shape (20, 3); of each level and face, shape (levels, 20, 3), the rest.

    A direction v has the axial coordinates (v . q, v . r) / (v . middle); the lattice's point (a, b) has the direction
    middle + a * step_q + b * step_r, not of length one. A direction nearer to a middle than `sure` (a cosine) is on
    that face whatever the others say.
    """

    middle: FloatArray
    q: FloatArray
    r: FloatArray
    step_q: FloatArray
    step_r: FloatArray
    sure: float


def lattices(*resolutions: int) -> Lattices:
    """The lattices of the resolutions, in that order."""
    corners = np.array([_direction(*h3.cell_to_latlng(cell)) for cell in sorted(h3.get_pentagons(0))])
    threes = itertools.combinations(range(12), 3)
    faces = [_turned(corners[list(three)]) for three in threes if _is_face(corners, three)]
    middles = np.array([_unit(face.sum(axis=0)) for face in faces])
    steps = np.array(
        [[_steps(face, middle, res) for face, middle in zip(faces, middles, strict=True)] for res in resolutions]
    )
    duals = np.array([[np.linalg.pinv(pair.T) for pair in level] for level in steps])
    sure = max(float(middle @ _unit(face[0] + face[1])) for face, middle in zip(faces, middles, strict=True))
    return Lattices(middles, duals[:, :, 0], duals[:, :, 1], steps[:, :, 0], steps[:, :, 1], sure)


def _direction(lat: float, lon: float) -> FloatArray:
    phi, lam = math.radians(lat), math.radians(lon)
    return np.array((math.cos(phi) * math.cos(lam), math.cos(phi) * math.sin(lam), math.sin(phi)))


def _unit(vector: FloatArray) -> FloatArray:
    return vector / np.linalg.norm(vector)


def _is_face(corners: FloatArray, three: tuple[int, ...]) -> bool:
    """Corners that share an edge are 63.4 degrees apart, others 116.6 or more."""
    return all(corners[a] @ corners[b] > 0 for a, b in itertools.combinations(three, 2))


def _turned(face: FloatArray) -> FloatArray:
    """The corners counter-clockwise as seen from outside."""
    return face if np.linalg.det(face) > 0 else face[::-1]


def _steps(face: FloatArray, middle: FloatArray, resolution: int) -> FloatArray:
    """One step of q and one of r on the face's plane, 60 degrees apart; shape (2, 3)."""
    on_plane = face / (face @ middle)[:, None] - middle
    away = 2 * 7 ** math.ceil(resolution / 2)
    q, r = on_plane[0] / away, -on_plane[2] / away
    return np.array((2 * q + r, 3 * r - q) if resolution % 2 else (q, r))
