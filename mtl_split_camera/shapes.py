"""The shapes of everything on the street, in metres: x to the right, y up, z ahead, the origin on the ground."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mtl_split_core.scene import Floats

Colour = tuple[float, float, float]
"""Blue, green, red, 0 to 255, as seen in full light."""
Point = Sequence[float]

FACE, GRID, LIMB, BALL, RING = range(5)

GLASS: Colour = (62, 52, 44)
TYRE: Colour = (28, 28, 28)
TRIM: Colour = (42, 42, 42)
STEEL: Colour = (125, 125, 122)
WHITE: Colour = (238, 238, 236)
TAIL_LAMP: Colour = (36, 30, 190)
HEAD_LAMP: Colour = (232, 232, 225)
SKIN: tuple[Colour, ...] = ((150, 180, 225), (115, 150, 205), (80, 115, 165), (50, 72, 110))
PAINT: tuple[Colour, ...] = (
    (225, 225, 222), (190, 190, 188), (128, 128, 125), (66, 64, 62), (30, 29, 28), (36, 34, 150), (40, 38, 190),
    (140, 70, 30), (100, 48, 24), (190, 130, 60), (60, 90, 40), (120, 160, 190), (60, 150, 210), (40, 60, 90),
)  # fmt: skip
CLOTHES: tuple[Colour, ...] = (
    (40, 38, 36), (75, 60, 50), (120, 70, 40), (50, 50, 150), (45, 120, 200), (200, 200, 205), (110, 110, 112),
    (60, 100, 60), (150, 90, 140), (60, 190, 220), (90, 60, 30), (180, 150, 110),
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """One piece of a shape. first, last: the slice of its points; a grid has four for each of its quadrilaterals.

    detail 0 is always drawn, 1 and 2 only near by; solid: it belongs to the outline that occlusion is measured on.
    """

    kind: int
    first: int
    last: int
    radius: float
    detail: int
    solid: bool


@dataclass(frozen=True)
class Lamp:
    """A light that glares when it is dark. normal: the direction it shines to."""

    at: Floats
    normal: Floats
    colour: Colour
    size: float


@dataclass(frozen=True)
class Shape:
    """What a body looks like.

    points: (P, 3); reach: (P,), the radius round each point; normals, centres, colours: (F, 3), one row for each
    part; glow: (F,), how far the part shines by itself in the dark; two-sided parts have a zero normal.
    """

    points: Floats
    reach: Floats
    parts: tuple[Part, ...]
    normals: Floats
    centres: Floats
    colours: Floats
    glow: Floats
    lamps: tuple[Lamp, ...]
    behind: tuple[np.ndarray, ...]
    """The order of drawing when seen from behind, for each level of detail."""
    ahead: tuple[np.ndarray, ...]
    """The same when seen from ahead: the groups come in the opposite order."""


class Builder:
    """Collects parts; later parts are painted over earlier ones."""

    def __init__(self, side: float = 1.0) -> None:
        self._side = side
        self._points: list[list[float]] = []
        self._reach: list[float] = []
        self._parts: list[Part] = []
        self._rows: list[tuple[Floats, Floats, Colour, float]] = []
        self._groups: list[int] = []
        self._lamps: list[Lamp] = []
        self.group = 0

    def _add(
        self,
        kind: int,
        points: np.ndarray,
        colour: Colour,
        normal: Point,
        radius: float,
        detail: int,
        glow: float,
        solid: bool,
    ) -> None:
        flat = points.reshape(-1, 3) * (self._side, 1, 1)
        first = len(self._points)
        self._points += flat.tolist()
        self._reach += [radius] * len(flat)
        self._parts.append(Part(kind, first, len(self._points), radius, detail, solid))
        direction = np.asarray(normal, np.float32) * np.array((self._side, 1, 1), np.float32)
        self._rows.append((direction, flat.mean(0).astype(np.float32), colour, glow))
        self._groups.append(self.group)

    def face(
        self, points: Sequence[Point], colour: Colour, normal: Point = (0, 0, 0), *, detail: int = 0, glow: float = 0.0
    ) -> None:
        """A flat polygon that shows where its normal points to; a zero normal shows it from both sides."""
        self._add(FACE, np.array(points, float), colour, normal, 0, detail, glow, True)

    def mark(
        self, points: Sequence[Point], colour: Colour, normal: Point, *, detail: int = 1, glow: float = 0.0
    ) -> None:
        """A polygon painted on a face."""
        self._add(FACE, np.array(points, float), colour, normal, 0, detail, glow, False)

    def grid(self, quads: np.ndarray, colour: Colour, normal: Point, *, detail: int = 1, glow: float = 0.0) -> None:
        """Quadrilaterals (N, 4, 3) of one colour painted on a face."""
        if len(quads):
            self._add(GRID, np.asarray(quads, float), colour, normal, 0, detail, glow, False)

    def limb(self, a: Point, b: Point, radius: float, colour: Colour, *, detail: int = 0, glow: float = 0.0) -> None:
        """A round bar between two points."""
        self._add(LIMB, np.array([a, b], float), colour, (0, 0, 0), radius, detail, glow, True)

    def ball(
        self, at: Point, radius: float, colour: Colour, normal: Point = (0, 0, 0), *, detail: int = 0, glow: float = 0.0
    ) -> None:
        """A ball; with a normal, it is seen only from where that points to."""
        self._add(BALL, np.array([at], float), colour, normal, radius, detail, glow, True)

    def ring(self, at: Point, size: float, radius: float, colour: Colour) -> None:
        """A wheel's rim of the given size, standing along z, with a tyre of the given radius."""
        self._add(RING, _disc(at, size, 14), colour, (0, 0, 0), radius, 0, 0, True)

    def lamp(self, at: Point, normal: Point, colour: Colour, size: float) -> None:
        """Glare round a point; size in metres."""
        flip = np.array((self._side, 1, 1), np.float32)
        self._lamps.append(Lamp(np.asarray(at, np.float32) * flip, np.asarray(normal, np.float32) * flip, colour, size))

    def box(self, x: Point, y: Point, z: Point, colour: Colour, *, detail: int = 0) -> None:
        """A block without its underside."""
        (x0, x1), (y0, y1), (z0, z1) = x, y, z
        for c, n in (
            ((x0, z0, x0, z1), (-1, 0, 0)),
            ((x1, z0, x1, z1), (1, 0, 0)),
            ((x0, z0, x1, z0), (0, 0, -1)),
            ((x0, z1, x1, z1), (0, 0, 1)),
        ):
            a, b, d, e = c
            self.face([(a, y0, b), (d, y0, e), (d, y1, e), (a, y1, b)], colour, n, detail=detail)
        self.face([(x0, y1, z0), (x1, y1, z0), (x1, y1, z1), (x0, y1, z1)], colour, (0, 1, 0), detail=detail)

    def build(self) -> Shape:
        """The finished shape."""
        groups = np.array(self._groups)
        details = np.array([part.detail for part in self._parts])

        def orders(by: np.ndarray) -> tuple[np.ndarray, ...]:
            order = np.argsort(by, kind="stable")
            return tuple(order[details[order] <= detail] for detail in range(3))

        return Shape(
            np.array(self._points, np.float32), np.array(self._reach, np.float32), tuple(self._parts),
            np.array([r[0] for r in self._rows], np.float32), np.array([r[1] for r in self._rows], np.float32),
            np.array([r[2] for r in self._rows], np.float32), np.array([r[3] for r in self._rows], np.float32),
            tuple(self._lamps),
            orders(groups), orders(-groups),
        )  # fmt: skip


def _disc(at: Point, size: float, corners: int) -> np.ndarray:
    turn = np.arange(corners) * (2 * math.pi / corners)
    return np.stack([np.full(corners, at[0]), at[1] + size * np.sin(turn), at[2] + size * np.cos(turn)], 1)


def _shade(colour: Colour, by: float) -> Colour:
    return (min(255.0, colour[0] * by), min(255.0, colour[1] * by), min(255.0, colour[2] * by))


def _pick(rng: np.random.Generator, colours: Sequence[Colour], spread: float = 0.12) -> Colour:
    return _shade(colours[int(rng.integers(len(colours)))], float(rng.uniform(1 - spread, 1 + spread)))


def _wheels(b: Builder, where: Sequence[float], radius: float, half: float) -> None:
    for z in where:
        for end in (-1, 1):  # the treads, seen below the bumpers
            for side in (-1, 1):
                x0, x1, ze = side * half * 0.72, side * half * 0.98, z + end * radius * 0.8
                b.face(
                    [(x0, 0, ze), (x1, 0, ze), (x1, radius * 1.5, ze), (x0, radius * 1.5, ze)],
                    TYRE,
                    (0, 0, end),
                    detail=1,
                )


def _hubs(b: Builder, where: Sequence[float], radius: float, half: float, hub: Colour) -> None:
    for z in where:
        for side in (-1, 1):
            x = side * half
            b.mark(_disc((x, radius * 1.08, z), radius * 1.2, 14)[:8].tolist(), TRIM, (side, 0, 0))  # the arch
            b.face(_disc((x * 1.01, radius, z), radius, 14).tolist(), TYRE, (side, 0, 0))
            b.mark(_disc((x * 1.015, radius, z), radius * 0.62, 10).tolist(), hub, (side, 0, 0))
            b.mark(_disc((x * 1.02, radius, z), radius * 0.2, 6).tolist(), TRIM, (side, 0, 0), detail=2)


# side outlines from the rear bumper over the roof to the front bumper: z in half lengths, y in metres
_OUTLINES: dict[str, tuple[tuple[float, float], ...]] = {
    "saloon": (
        (-1, 0.28),
        (-1, 0.7),
        (-0.97, 0.96),
        (-0.64, 1.0),
        (-0.34, 1.42),
        (0.1, 1.44),
        (0.42, 1.0),
        (0.9, 0.82),
        (1, 0.66),
        (1, 0.28),
    ),
    "hatch": (
        (-1, 0.28),
        (-1, 0.7),
        (-0.97, 0.96),
        (-0.95, 1.0),
        (-0.72, 1.46),
        (0.08, 1.5),
        (0.45, 1.02),
        (0.88, 0.86),
        (1, 0.68),
        (1, 0.28),
    ),
    "suv": (
        (-1, 0.36),
        (-1, 0.82),
        (-0.98, 1.1),
        (-0.97, 1.14),
        (-0.86, 1.68),
        (0.08, 1.74),
        (0.4, 1.16),
        (0.9, 1.02),
        (1, 0.8),
        (1, 0.36),
    ),
    "van": (
        (-1, 0.34),
        (-1, 0.85),
        (-1, 1.12),
        (-1, 1.18),
        (-0.97, 2.0),
        (0.48, 2.05),
        (0.74, 1.22),
        (0.94, 1.05),
        (1, 0.8),
        (1, 0.34),
    ),
    "pickup": (
        (-1, 0.4),
        (-1, 0.76),
        (-1, 1.06),
        (-0.2, 1.08),
        (-0.12, 1.62),
        (0.2, 1.66),
        (0.46, 1.14),
        (0.92, 1.02),
        (1, 0.8),
        (1, 0.4),
    ),
}
_LENGTHS = {"saloon": 4.6, "hatch": 4.0, "suv": 4.6, "van": 5.2, "pickup": 5.3}


def car(rng: np.random.Generator, braking: bool) -> Shape:
    """A saloon, hatchback, estate-like SUV, van or pickup."""
    kind = str(rng.choice(list(_OUTLINES), p=(0.33, 0.27, 0.24, 0.1, 0.06)))
    paint = _pick(rng, PAINT)
    if kind == "van" and rng.random() < 0.6:
        paint = _shade(WHITE, float(rng.uniform(0.85, 1)))
    half_length = _LENGTHS[kind] / 2 * float(rng.uniform(0.94, 1.07))
    tall, half = float(rng.uniform(0.96, 1.06)), float(rng.uniform(0.86, 0.94)) * (1.08 if kind == "van" else 1)
    z = [p[0] * half_length for p in _OUTLINES[kind]]
    y = [p[1] * tall for p in _OUTLINES[kind]]
    taper = 0.9 if kind == "van" else float(rng.uniform(0.72, 0.8))
    w = [half * k for k in (0.95, 1, 0.99, 0.95, taper, taper, 0.95, 0.97, 0.93, 0.92)]
    radius = 0.33 if kind in ("saloon", "hatch") else 0.38
    axles = (-half_length * 0.6, half_length * 0.62)
    b = Builder()
    _wheels(b, axles, radius, half)
    for end, i in ((-1, 0), (1, 9)):  # the dark underside
        b.face(_quad_z(z[i] * 0.9, -half * 0.85, half * 0.85, 0.18, y[i] + 0.02), TRIM, (0, 0, end))
    for side in (-1.0, 1.0):
        b.face([(side * half * 0.97, y[i], z[i]) for i in (0, 1, 2, 3, 6, 7, 8, 9)], paint, (side, 0, 0))
        b.mark(
            [
                (side * half * 0.98, y[0], z[0]),
                (side * half * 0.98, y[0] + 0.3, z[0]),
                (side * half * 0.98, y[9] + 0.26, z[9]),
                (side * half * 0.98, y[9], z[9]),
            ],
            _shade(paint, 0.78),
            (side, 0, 0),
        )
        b.mark(
            [
                (side * half * 0.985, y[0], z[0] * 0.9),
                (side * half * 0.985, y[0] + 0.09, z[0] * 0.9),
                (side * half * 0.985, y[9] + 0.09, z[9] * 0.9),
                (side * half * 0.985, y[9], z[9] * 0.9),
            ],
            TRIM,
            (side, 0, 0),
        )
    for i in range(9):
        dz, dy = z[i + 1] - z[i], y[i + 1] - y[i]
        normal = (0, dz / math.hypot(dz, dy), -dy / math.hypot(dz, dy))
        b.face(
            [(-w[i], y[i], z[i]), (w[i], y[i], z[i]), (w[i + 1], y[i + 1], z[i + 1]), (-w[i + 1], y[i + 1], z[i + 1])],
            paint,
            normal,
        )
        if (i == 3 and (kind != "van" or rng.random() < 0.5)) or i == 5:

            def on(across: float, up: float, i: int = i) -> Point:
                wide = w[i] + (w[i + 1] - w[i]) * up
                return (wide * across, y[i] + dy * up, z[i] + dz * up)  # noqa: B023  (used at once)

            low, high = (0.1, 0.9) if i == 3 else (0.92, 0.06)
            b.mark([on(-0.88, low), on(0.88, low), on(0.86, high), on(-0.86, high)], GLASS, normal, detail=0)
            b.mark([on(-0.5, low), on(-0.15, low), on(0.3, high), on(-0.05, high)], (105, 95, 86), normal, detail=2)
    for side in (-1.0, 1.0):
        corner = {i: np.array((side * w[i], y[i], z[i])) for i in (3, 4, 5, 6)}

        def at(along: float, up: float, c: dict[int, np.ndarray] = corner) -> Point:
            return ((1 - up) * ((1 - along) * c[3] + along * c[6]) + up * ((1 - along) * c[4] + along * c[5])).tolist()  # type: ignore[no-any-return]

        b.face([at(0, 0), at(0, 1), at(1, 1), at(1, 0)], paint, (side * 0.95, 0.3, 0))
        panes = ((0.72, 0.97),) if kind == "van" else ((0.06, 0.48), (0.54, 0.95))
        for a0, a1 in panes:
            b.mark(
                [at(a0, 0.08), at(a0 + 0.03, 0.86), at(a1 - 0.03, 0.86), at(a1, 0.08)],
                GLASS,
                (side * 0.95, 0.3, 0),
                detail=0,
            )
            b.mark(
                [at(a0 + 0.06, 0.5), at(a0 + 0.1, 0.82), at(a1 - 0.06, 0.82), at(a1 - 0.04, 0.5)],
                (96, 86, 76),
                (side * 0.95, 0.3, 0),
                detail=2,
            )
        x = side * half * 0.99
        for zl in (z[3] * 0.55, 0.05 * half_length, z[6] * 0.95):
            b.mark(
                [(x, y[0] + 0.05, zl), (x, y[3], zl), (x, y[3], zl + 0.03), (x, y[0] + 0.05, zl + 0.03)],
                _shade(paint, 0.5),
                (side, 0, 0),
                detail=2,
            )
        b.mark(
            [(x, y[3] * 0.86, 0.15), (x, y[3] * 0.9, 0.15), (x, y[3] * 0.9, 0.4), (x, y[3] * 0.86, 0.4)],
            _shade(paint, 0.55),
            (side, 0, 0),
            detail=2,
        )
    _hubs(b, axles, radius, half * 0.985, _shade(STEEL, float(rng.uniform(0.6, 1.4))))
    _car_ends(b, y, z, half, braking, paint)
    return b.build()


def _car_ends(b: Builder, y: list[float], z: list[float], half: float, braking: bool, paint: Colour) -> None:
    def rect(x0: float, x1: float, y0: float, y1: float, ze: float) -> list[Point]:
        return [(x0, y0, ze), (x1, y0, ze), (x1, y1, ze), (x0, y1, ze)]

    back, front = (0, 0, -1), (0, 0, 1)
    rear, nose = z[0] * 1.004, z[9] * 1.004
    b.mark(rect(-half * 0.92, half * 0.92, y[0], y[0] + 0.16, rear), TRIM, back)
    b.mark(rect(-half * 0.9, half * 0.9, y[1] - 0.02, y[1] + 0.01, rear), _shade(paint, 0.55), back, detail=2)
    b.mark(rect(-0.27, 0.27, y[1] - 0.17, y[1] - 0.05, rear), WHITE, back, glow=0.25)
    red = (40, 40, 250) if braking else TAIL_LAMP
    for side in (-1, 1):
        b.mark(
            rect(side * half * 0.55, side * half * 0.97, y[1] + 0.02, y[2] - 0.05, rear),
            red,
            back,
            detail=0,
            glow=1.0 if braking else 0.75,
        )
        b.mark(
            rect(side * half * 0.57, side * half * 0.7, y[1] + 0.04, y[1] + 0.1, rear), (200, 205, 220), back, detail=2
        )
        b.lamp((side * half * 0.78, (y[1] + y[2]) / 2, rear), back, (40, 40, 255), 0.85 if braking else 0.5)
        b.mark(
            [
                (side * half * 0.5, y[8] + 0.02, z[8]),
                (side * half * 0.92, y[8] + 0.02, z[8]),
                (side * half * 0.94, y[7] - 0.03, z[7] * 1.01),
                (side * half * 0.58, y[7] - 0.03, z[7] * 1.01),
            ],
            HEAD_LAMP,
            (0, 0.3, 0.95),
            detail=0,
            glow=1.0,
        )
        b.lamp((side * half * 0.74, (y[7] + y[8]) / 2, nose), front, (225, 240, 255), 1.3)
        b.mark(
            rect(side * half * 0.62, side * half * 0.85, y[9] + 0.08, y[9] + 0.16, nose),
            (170, 170, 165),
            front,
            detail=2,
        )
        mirror = side * half
        b.face(
            [
                (mirror, y[6] - 0.02, z[6] * 0.8),
                (mirror + side * 0.17, y[6], z[6] * 0.8),
                (mirror + side * 0.17, y[6] + 0.13, z[6] * 0.8),
                (mirror, y[6] + 0.12, z[6] * 0.8),
            ],
            TRIM,
            detail=1,
        )
    b.mark(rect(-half * 0.46, half * 0.46, y[8] - 0.16, y[8] - 0.01, nose), (24, 24, 24), front)
    b.mark(rect(-half * 0.9, half * 0.9, y[9], y[9] + 0.14, nose), TRIM, front)
    b.mark(rect(-0.26, 0.26, y[9] + 0.12, y[9] + 0.23, nose), WHITE, front, glow=0.2)


def _quad_x(x: float, y0: float, y1: float, z0: float, z1: float) -> list[Point]:
    return [(x, y0, z0), (x, y0, z1), (x, y1, z1), (x, y1, z0)]


def _quad_z(z: float, x0: float, x1: float, y0: float, y1: float) -> list[Point]:
    return [(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)]


def _rear_lamps(b: Builder, rear: float, half: float, y: float, braking: bool) -> None:
    for side in (-1, 1):
        b.mark(
            _quad_z(rear, side * half * 0.72, side * half * 0.96, y, y + 0.18),
            (40, 40, 250) if braking else TAIL_LAMP,
            (0, 0, -1),
            detail=0,
            glow=1.0 if braking else 0.75,
        )
        b.lamp((side * half * 0.84, y + 0.09, rear), (0, 0, -1), (40, 40, 255), 0.9 if braking else 0.55)


def _front_lamps(b: Builder, nose: float, half: float, y: float) -> None:
    for side in (-1, 1):
        b.mark(
            _quad_z(nose, side * half * 0.62, side * half * 0.94, y, y + 0.22), HEAD_LAMP, (0, 0, 1), detail=0, glow=1.0
        )
        b.lamp((side * half * 0.78, y + 0.11, nose), (0, 0, 1), (225, 240, 255), 1.4)


def truck(rng: np.random.Generator, braking: bool, length: float) -> Shape:
    """A lorry with a box, a tank or an open bed behind its cab."""
    half, radius = 1.22, 0.48
    tail, nose = -length / 2, length / 2
    cab = nose - float(rng.uniform(1.8, 2.3))
    cab_top, top = float(rng.uniform(2.5, 3.0)), float(rng.uniform(3.1, 3.8))
    paint, load = (
        _pick(rng, PAINT),
        _shade(WHITE, float(rng.uniform(0.75, 1))) if rng.random() < 0.6 else _pick(rng, PAINT),
    )
    axles = (tail + 1.1, tail + 2.2, nose - 1.0) if length > 8.5 else (tail + 1.6, nose - 1.0)
    b = Builder()
    _wheels(b, axles, radius, half)
    b.box((-half * 0.85, half * 0.85), (0.45, 1.0), (tail + 0.1, nose - 0.2), TRIM)
    b.box((-half * 0.97, half * 0.97), (0.6, cab_top), (cab, nose), paint)
    front, back = (0, 0, 1), (0, 0, -1)
    b.mark(_quad_z(nose + 0.01, -half * 0.86, half * 0.86, cab_top - 1.15, cab_top - 0.3), GLASS, front, detail=0)
    b.mark(_quad_z(nose + 0.01, -half * 0.7, half * 0.7, 0.95, 1.35), TRIM, front)
    b.mark(_quad_z(nose + 0.01, -half * 0.95, half * 0.95, 0.6, 0.75), TRIM, front)
    _front_lamps(b, nose + 0.015, half, 0.78)
    for side in (-1, 1):
        x = side * half * 0.98
        b.mark(_quad_x(x, cab_top - 1.15, cab_top - 0.35, cab + 0.5, nose - 0.15), GLASS, (side, 0, 0), detail=0)
        b.mark(_quad_x(x, 0.8, cab_top - 0.2, cab + 0.42, cab + 0.46), _shade(paint, 0.5), (side, 0, 0), detail=2)
        b.face(_quad_z(nose - 0.1, side * half, side * (half + 0.25), cab_top - 1.2, cab_top - 0.6), TRIM, detail=1)
    b.group = 1
    z1 = cab - 0.2
    kind = float(rng.random())
    if kind < 0.62:
        b.box((-half, half), (1.0, top), (tail, z1), load)
        b.mark(_quad_z(tail - 0.01, -0.02, 0.02, 1.05, top - 0.05), _shade(load, 0.55), back)
        for x in (-0.5, 0.5):
            b.mark(_quad_z(tail - 0.01, x * half, x * half + 0.05, 1.1, top - 0.1), _shade(load, 0.7), back, detail=2)
        stripe = _pick(rng, PAINT)
        for side in (-1, 1):
            b.mark(
                _quad_x(side * half * 1.005, 1.5, 1.5 + (top - 1) * 0.35, tail + 0.4, z1 - 0.4), stripe, (side, 0, 0)
            )
            quads = np.array(
                [
                    _quad_x(side * half * 1.008, 1.0, top, float(z), float(z) + 0.05)
                    for z in np.arange(tail + 0.6, z1, 1.2)
                ]
            )
            b.grid(quads, _shade(load, 0.8), (side, 0, 0), detail=2)
    elif kind < 0.82:
        turn = np.arange(11) * (2 * math.pi / 10) + math.pi / 10
        xs, ys = 1.15 * np.cos(turn), 2.05 + 1.0 * np.sin(turn)
        steel = _shade((205, 205, 200), float(rng.uniform(0.8, 1.1)))
        for i in range(10):
            mid = turn[i] + math.pi / 10
            b.face(
                [(xs[i], ys[i], tail), (xs[i + 1], ys[i + 1], tail), (xs[i + 1], ys[i + 1], z1), (xs[i], ys[i], z1)],
                steel,
                (math.cos(mid), math.sin(mid), 0),
            )
        for z, n in ((tail, back), (z1, front)):
            b.face([(xs[i], ys[i], z) for i in range(10)], _shade(steel, 0.9), n)
        b.mark(_quad_z(tail - 0.02, -0.35, 0.35, 1.8, 2.2), (40, 140, 240), back)
    else:
        b.box((-half, half), (1.0, 2.1), (tail, z1), load)
        b.face(
            [
                (-half * 0.85, 2.1, tail + 0.4),
                (half * 0.8, 2.1, tail + 0.4),
                (half * 0.3, 2.75, tail + 1.5),
                (-half * 0.5, 2.6, tail + 1.4),
            ],
            (60, 85, 110),
        )
        for side in (-1, 1):
            quads = np.array(
                [
                    _quad_x(side * half * 1.005, 1.05, 2.1, float(z), float(z) + 0.1)
                    for z in np.arange(tail + 0.5, z1, 0.9)
                ]
            )
            b.grid(quads, _shade(load, 0.7), (side, 0, 0))
    b.face(_quad_z(tail - 0.01, -half * 0.95, half * 0.95, 0.5, 0.66), (60, 60, 200), back)
    for x in (-0.6, -0.2, 0.2, 0.6):
        b.mark(_quad_z(tail - 0.02, x - 0.1, x + 0.1, 0.5, 0.66), WHITE, back)
    b.mark(_quad_z(tail - 0.01, -half, half, 0.78, 1.0), TRIM, back)
    _rear_lamps(b, tail - 0.03, half, 0.8, braking)
    _hubs(b, axles, radius, half, STEEL)
    return b.build()


def bus(rng: np.random.Generator, braking: bool, length: float) -> Shape:
    """A city bus or coach."""
    half, radius, top = 1.26, 0.48, float(rng.uniform(2.95, 3.35))
    tail, nose = -length / 2, length / 2
    paint = _pick(
        rng,
        ((40, 40, 190), (215, 215, 212), (60, 175, 225), (150, 90, 30), (80, 140, 60), (190, 140, 60), (50, 120, 220)),
    )
    band = _pick(rng, PAINT)
    axles = (tail + 2.6, nose - 2.5)
    b = Builder()
    _wheels(b, axles, radius, half)
    b.box((-half, half), (0.35, top), (tail, nose), paint)
    for side in (-1, 1):
        x, n = side * half * 1.004, (side, 0, 0)
        b.mark(_quad_x(x, 0.35, 0.75, tail, nose), band, n)
        b.mark(_quad_x(x, 1.35, top - 0.55, tail + 0.5, nose - 0.3), (40, 36, 32), n, detail=0)
        panes = np.array(
            [
                _quad_x(x * 1.002, 1.42, top - 0.62, float(z), float(z) + 1.28)
                for z in np.arange(tail + 0.6, nose - 1.5, 1.4)
            ]
        )
        b.grid(panes, (84, 76, 68), n, glow=0.55)
        doors = (nose - 1.6, -0.6) if side > 0 else ()
        for z in doors:
            b.mark(_quad_x(x * 1.006, 0.45, top - 0.5, z, z + 1.15), (52, 46, 42), n)
            b.mark(_quad_x(x * 1.008, 0.45, top - 0.5, z + 0.55, z + 0.6), paint, n, detail=2)
    for ze, end in ((nose + 0.01, 1), (tail - 0.01, -1)):
        n = (0, 0, end)
        b.mark(_quad_z(ze, -half, half, 0.35, 0.75), band, n)
        b.mark(
            _quad_z(ze, -half * 0.92, half * 0.92, 1.1 if end > 0 else 1.7, top - 0.55), GLASS, n, detail=0, glow=0.15
        )
        b.mark(_quad_z(ze, -half * 0.7, half * 0.7, top - 0.45, top - 0.15), (20, 20, 20), n)
        b.mark(
            _quad_z(ze * 1.001, -half * 0.5, half * 0.35, top - 0.38, top - 0.22), (40, 170, 250), n, detail=1, glow=1.0
        )
        b.mark(_quad_z(ze, -0.27, 0.27, 0.5, 0.62), WHITE, n, detail=2)
    b.mark(_quad_z(tail - 0.015, -half * 0.6, half * 0.6, 0.85, 1.45), _shade(paint, 0.75), (0, 0, -1))
    _rear_lamps(b, tail - 0.02, half, 1.0, braking)
    _front_lamps(b, nose + 0.02, half, 0.8)
    for side in (-1, 1):
        b.limb((side * half, top - 0.4, nose), (side * (half + 0.2), top - 0.9, nose + 0.15), 0.06, TRIM, detail=1)
    _hubs(b, axles, radius, half, STEEL)
    return b.build()


def _legs_walking(b: Builder, swing: float, trousers: Colour, shoe: Colour) -> None:
    for side, a in ((-1, swing), (1, -swing)):
        knee = (side * 0.1, 0.92 - 0.45 * math.cos(a), 0.45 * math.sin(a) + 0.03)
        bent = a - 0.35 * abs(swing) - (0.5 * abs(swing) if a < 0 else 0)
        foot = (side * 0.1, max(0.06, knee[1] - 0.43 * math.cos(bent)), knee[2] + 0.43 * math.sin(bent))
        b.limb((side * 0.09, 0.92, 0), knee, 0.085, trousers)
        b.limb(knee, foot, 0.062, trousers)
        b.limb(foot, (foot[0], max(0.04, foot[1] - 0.02), foot[2] + 0.15), 0.045, shoe, detail=2)


def person(rng: np.random.Generator, phase: float) -> Shape:
    """Somebody on foot. phase: of the walk, in radians; standing still is NaN."""
    swing = 0.0 if math.isnan(phase) else 0.52 * math.sin(phase)
    top, trousers, shoe = (
        _pick(rng, CLOTHES),
        _pick(rng, CLOTHES[:7]),
        _pick(rng, ((30, 30, 30), (200, 200, 200), (40, 60, 90))),
    )
    skin, hair = (
        SKIN[int(rng.integers(len(SKIN)))],
        _pick(rng, ((25, 25, 28), (40, 55, 80), (80, 130, 170), (150, 150, 150))),
    )
    coat, bag, wide = rng.random() < 0.35, rng.random() < 0.35, float(rng.uniform(0.9, 1.15))
    b = Builder()
    _legs_walking(b, swing, trousers, shoe)
    if bag:
        b.limb((0, 1.08, -0.2), (0, 1.34, -0.2), 0.13, _pick(rng, CLOTHES))
    for side in (-1, 1):
        a = side * swing * 0.9
        elbow = (side * 0.24 * wide, 1.4 - 0.28 * math.cos(a), 0.28 * math.sin(a))
        b.limb((side * 0.2 * wide, 1.4, 0), elbow, 0.055, _shade(top, 0.85), detail=1)
        hand = (side * 0.23 * wide, elbow[1] - 0.24 * math.cos(a + 0.3), elbow[2] + 0.24 * math.sin(a + 0.3))
        b.limb(elbow, hand, 0.045, _shade(top, 0.8), detail=1)
        b.ball(hand, 0.045, skin, detail=2)
    b.limb((0, 0.96 if not coat else 0.72, 0), (0, 1.3, 0), 0.155 * wide, top)
    b.limb((-0.12 * wide, 1.38, 0), (0.12 * wide, 1.38, 0), 0.09, top)
    b.limb((0, 1.42, 0), (0, 1.54, 0.01), 0.05, skin, detail=1)
    b.ball((0, 1.63, 0.02), 0.105, skin)
    b.ball((0, 1.67, -0.025), 0.105, hair, detail=1)
    return _scaled(b.build(), float(rng.uniform(0.88, 1.08)))


def _scaled(shape: Shape, by: float) -> Shape:
    return Shape(
        shape.points * np.float32(by),
        shape.reach,
        shape.parts,
        shape.normals,
        shape.centres * np.float32(by),
        shape.colours,
        shape.glow,
        shape.lamps,
        shape.behind,
        shape.ahead,
    )


def rider(rng: np.random.Generator, phase: float, motor: bool) -> Shape:
    """Somebody on a bicycle or a motorcycle. phase: of the pedals, in radians."""
    top, trousers = _pick(rng, CLOTHES), _pick(rng, CLOTHES[:7])
    skin, helmet = SKIN[int(rng.integers(len(SKIN)))], _pick(rng, PAINT)
    seat, hip, lean = ((0, 0.86, -0.25), 0.9, 0.05) if motor else ((0, 0.98, -0.25), 0.98, 0.18)
    shoulder = (0, hip + 0.47, lean)
    b = Builder()
    for side in (-1, 1):
        if motor:
            knee, foot = (side * 0.3, 0.68, 0.18), (side * 0.29, 0.28, -0.05)
        else:
            turn = phase + (math.pi if side > 0 else 0)
            foot = (side * 0.12, 0.3 + 0.16 * math.sin(turn), 0.03 + 0.16 * math.cos(turn))
            knee = (side * 0.13, (hip + foot[1]) / 2 + 0.1, 0.22)
        b.limb((side * 0.1, hip - 0.02, -0.23), knee, 0.085, trousers)
        b.limb(knee, foot, 0.065, trousers)
        b.limb(foot, (foot[0], foot[1] - 0.02, foot[2] + 0.14), 0.045, TRIM, detail=2)
    b.limb(seat, (0, hip + 0.36, lean * 0.7), 0.16, top)
    b.limb((-0.13, shoulder[1], lean), (0.13, shoulder[1], lean), 0.085, top)
    for side in (-1, 1):
        grip = (side * 0.3, 1.02, 0.42 if not motor else 0.36)
        elbow = (side * 0.3, (shoulder[1] + grip[1]) / 2 - 0.04, (lean + grip[2]) / 2)
        b.limb((side * 0.19, shoulder[1], lean), elbow, 0.058, _shade(top, 0.85))
        b.limb(elbow, grip, 0.05, _shade(top, 0.8), detail=1)
    b.limb((0, shoulder[1] + 0.04, lean + 0.02), (0, shoulder[1] + 0.14, lean + 0.06), 0.05, skin)
    b.ball((0, shoulder[1] + 0.23, lean + 0.09), 0.11, skin)
    b.ball((0, shoulder[1] + (0.25 if motor else 0.28), lean + 0.06), 0.145 if motor else 0.12, helmet)
    return b.build()


def bicycle(rng: np.random.Generator) -> Shape:
    """A bicycle without its rider."""
    paint = _pick(rng, PAINT)
    b = Builder()
    for z in (-0.52, 0.54):
        b.ring((0, 0.34, z), 0.31, 0.03, TYRE)
    for a, c in (
        ((0, 0.34, -0.52), (0, 0.32, 0)),
        ((0, 0.34, -0.52), (0, 0.84, -0.2)),
        ((0, 0.32, 0), (0, 0.84, -0.2)),
        ((0, 0.32, 0), (0, 0.8, 0.4)),
        ((0, 0.78, -0.18), (0, 0.82, 0.38)),
        ((0, 0.34, 0.54), (0, 0.98, 0.38)),
    ):
        b.limb(a, c, 0.024, paint)
    b.limb((-0.28, 1.02, 0.38), (0.28, 1.02, 0.38), 0.022, TRIM)
    b.limb((0, 0.9, -0.3), (0, 0.92, -0.12), 0.05, TRIM)
    b.limb((0, 0.32, -0.05), (0, 0.32, 0.05), 0.07, STEEL, detail=1)
    b.ball((0, 0.72, -0.36), 0.05, (40, 40, 230), (0, 0, -1), detail=1, glow=0.9)
    b.ball((0, 0.88, 0.48), 0.05, WHITE, (0, 0, 1), detail=1, glow=0.9)
    if rng.random() < 0.4:
        b.limb((0, 0.78, -0.6), (0, 0.78, -0.3), 0.12, _pick(rng, CLOTHES))
    b.lamp((0, 0.72, -0.38), (0, 0, -1), (40, 40, 255), 0.35)
    b.lamp((0, 0.88, 0.5), (0, 0, 1), (225, 240, 255), 0.5)
    return b.build()


def motorcycle(rng: np.random.Generator, braking: bool) -> Shape:
    """A motorcycle or scooter without its rider."""
    paint = _pick(rng, PAINT)
    b = Builder()
    for z in (-0.66, 0.7):
        b.ring((0, 0.32, z), 0.26, 0.065, TYRE)
        b.limb((0, 0.32, z - 0.02), (0, 0.32, z + 0.02), 0.11, STEEL, detail=1)
    b.limb((0, 0.42, -0.22), (0, 0.46, 0.28), 0.19, TRIM)
    b.limb((0, 0.34, -0.66), (0, 0.5, -0.1), 0.06, STEEL)
    b.limb((0.16, 0.34, -0.75), (0.16, 0.36, 0.0), 0.06, STEEL)
    b.limb((0, 0.74, -0.74), (0, 0.72, -0.1), 0.12, TRIM)
    b.limb((0, 0.64, -0.6), (0, 0.66, -0.2), 0.18, paint)
    b.limb((0, 0.78, 0.02), (0, 0.82, 0.3), 0.17, paint)
    b.limb((-0.07, 0.32, 0.7), (-0.07, 0.95, 0.42), 0.035, STEEL)
    b.limb((0.07, 0.32, 0.7), (0.07, 0.95, 0.42), 0.035, STEEL)
    b.limb((-0.36, 1.04, 0.34), (0.36, 1.04, 0.34), 0.03, TRIM)
    if rng.random() < 0.5:
        b.limb((0, 0.5, 0.55), (0, 1.05, 0.46), 0.2, paint)
        b.limb((0, 1.1, 0.44), (0, 1.28, 0.36), 0.14, (150, 140, 130))
    b.limb((0, 0.62, -0.84), (0, 0.44, -0.88), 0.15, TRIM)
    b.mark(_quad_z(-0.99, -0.11, 0.11, 0.4, 0.55), WHITE, (0, 0, -1), glow=0.3)
    b.ball((0, 0.7, -0.84), 0.075, (40, 40, 250) if braking else TAIL_LAMP, (0, 0, -1), glow=1.0)
    b.ball((0, 0.92, 0.56), 0.1, HEAD_LAMP, (0, 0, 1), glow=1.0)
    b.limb((-0.36, 1.05, 0.34), (-0.42, 1.22, 0.3), 0.045, TRIM, detail=1)
    b.limb((0.36, 1.05, 0.34), (0.42, 1.22, 0.3), 0.045, TRIM, detail=1)
    b.lamp((0, 0.7, -0.88), (0, 0, -1), (40, 40, 255), 0.7)
    b.lamp((0, 0.92, 0.62), (0, 0, 1), (225, 240, 255), 1.3)
    return b.build()
