"""The pinhole camera, and how bodies and the ground are painted through it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mtl_split_camera.shapes import BALL, FACE, GRID, LIMB, RING, Lamp, Shape
from mtl_split_camera.weather import Air, clouds
from mtl_split_camera.world import Block, Road
from mtl_split_core.scene import Floats, Image, Size

NEAR = 0.3
ROAD, MARKING = 0xFFFE, 0xFFFF
"""Names of the road's surface and of the paint on it, where nothing else is seen."""

_NO_SURFACE = 0
_SHIFT = 4  # OpenCV's fixed point: 1/16 pixel in the picture; the half-size buffer of names uses one bit more
_ONE = 1 << _SHIFT
_LEAST_MARKING = 1.0
"""Paint on the road with fewer pixels from side to side has no name: at half size it would be drawn too wide."""


@dataclass(frozen=True)
class Painted:
    """Where something was painted.

    box: x1, y1, x2, y2 in pixels, not clipped; count: how many places of the canvas's names were given its name;
    sides: the first and last columns and rows of them.
    """

    name: int
    box: Floats
    count: int
    sides: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Camera:
    """Where the camera is.

    focal, centre, horizon in pixels; height, s, x in metres; bend: curvature of the road ahead in 1/m.
    """

    focal: float
    centre: float
    horizon: float
    height: float
    s: float
    x: float
    bend: float

    def project(self, x: Floats, y: Floats | np.float32, z: Floats) -> tuple[Floats, Floats, Floats]:
        """Columns, rows and pixels per metre of points at x across the road, y above it, z ahead of the camera."""
        scale = np.float32(self.focal) / z
        u = np.float32(self.centre) + (x - np.float32(self.x)) * scale + np.float32(0.5 * self.bend * self.focal) * z
        return u, np.float32(self.horizon) + (np.float32(self.height) - y) * scale, scale


class Body:
    """A shape in its place, with the colours that its light gives it."""

    def __init__(self, shape: Shape, heading: float, air: Air) -> None:
        c, s = math.cos(heading), math.sin(heading)
        turn = np.array(((c, 0, -s), (0, 1, 0), (s, 0, c)), np.float32)
        self.shape = shape
        self.ahead = (s, c)
        self.points = shape.points @ turn
        self.normals = shape.normals @ turn
        self.centres = shape.centres @ turn
        self.lamps = [(lamp, lamp.at @ turn, lamp.normal @ turn) for lamp in shape.lamps]
        self.thick = bool(shape.reach.any())
        self.low: list[float] = self.points.min(0).tolist()
        self.high: list[float] = self.points.max(0).tolist()
        self.open = ~self.normals.any(1)
        towards = np.where(self.open, 0.55 * float(air.sun.any()), np.clip(self.normals @ air.sun, 0, 1))[
            :, None
        ].astype(np.float32)
        form = (0.82 + 0.18 * self.normals[:, 1] + 0.07 * np.abs(self.normals[:, 0]) + 0.08 * self.open)[
            :, None
        ].astype(np.float32)
        lit = shape.colours * (air.ambient * form + air.sunlight * towards)
        glow = shape.colours * shape.glow[:, None] * np.float32(min(1.0, air.dark * 1.3))
        self.lit = np.maximum(lit, glow).astype(np.float32)
        self.x = self.s = 0.0

    def at(self, s: float, x: float) -> Body:
        """Moves it."""
        self.s, self.x = s, x
        return self


class Canvas:
    """A picture, and beside it, at half size, the name of what is seen at each place: 0 for what has no name.

    The ground's names are ROAD and MARKING.
    """

    def __init__(self, size: Size, air: Air) -> None:
        width, height = size
        self.size = size
        self.picture: Image = np.zeros((height, width, 3), np.uint8)
        self.names = np.zeros(((height + 1) // 2, (width + 1) // 2), np.uint16)
        self._air = air
        self._sprites: dict[tuple[int, int, tuple[float, float, float]], Image] = {}

    def paint(self, body: Body, camera: Camera, name: int) -> Painted | None:
        """Paints a body over what is there; returns where, if it has a name (not 0) and is in the picture."""
        width, height = self.size
        shape, air = body.shape, self._air
        middle = body.s - camera.s
        z = body.points[:, 2] + np.float32(middle)
        np.maximum(z, NEAR, out=z)
        u, v, scale = camera.project(body.points[:, 0] + np.float32(body.x), body.points[:, 1], z)
        if name:
            reach = shape.reach * scale if body.thick else np.float32(0)
            box = np.array(((u - reach).min(), (v - reach).min(), (u + reach).max(), (v + reach).max()), np.float32)
            if box[0] >= width or box[2] <= 0 or box[1] >= height or box[3] <= 0:
                return None
        places = np.empty((len(u), 2), np.float32)
        places[:, 0], places[:, 1] = u, v
        flat = _fixed(places)
        cz = np.maximum(body.centres[:, 2] + np.float32(middle), NEAR)
        cx = body.centres[:, 0] + np.float32(body.x - camera.x) - np.float32(0.5 * camera.bend) * cz * cz
        n = body.normals
        seen = body.open | (
            cx * n[:, 0] + (body.centres[:, 1] - np.float32(camera.height)) * n[:, 1] + cz * n[:, 2] < 0
        )
        fine = camera.focal / max(middle + body.low[2], 2.0)
        detail = 2 if fine > 26 else 1 if fine > 9 else 0
        from_behind = body.ahead[0] * (camera.x - body.x) - body.ahead[1] * middle < 0
        order = (shape.behind if from_behind else shape.ahead)[detail]
        order = order[seen[order]]
        colours = body.lit[order]
        if air.dark >= 1:
            aside = (body.x - camera.x) / max(middle, 1.0)
            colours = colours + shape.colours[order] * np.float32(
                0.6 * math.exp(-middle / 26) * math.exp(-aside * aside * 5)
            )
        tints = (air.haze + (colours - air.haze) * air.left(cz[order])[:, None]).tolist()
        round_points = flat.tolist() if body.thick else []
        scales = scale.tolist() if body.thick else []
        picture, names, parts = self.picture, self.names, shape.parts
        for i, tint in zip(order.tolist(), tints, strict=True):
            part = parts[i]
            kind, first = part.kind, part.first
            if kind == FACE:
                at = flat[first : part.last]
                cv2.fillPoly(picture, [at], tint, cv2.LINE_AA, _SHIFT)
                if part.solid:
                    cv2.fillPoly(names, [at], name, cv2.LINE_8, _SHIFT + 1)
            elif kind == GRID:
                cv2.fillPoly(picture, list(flat[first : part.last].reshape(-1, 4, 2)), tint, cv2.LINE_8, _SHIFT)
            elif kind == LIMB:
                thick = min(400.0, part.radius * (scales[first] + scales[first + 1]))
                cv2.line(
                    picture,
                    round_points[first],
                    round_points[first + 1],
                    tint,
                    max(1, round(thick)),
                    cv2.LINE_AA,
                    _SHIFT,
                )
                cv2.line(
                    names,
                    round_points[first],
                    round_points[first + 1],
                    name,
                    max(1, round(thick / 2)),
                    cv2.LINE_8,
                    _SHIFT + 1,
                )
            elif kind == BALL:
                r = max(8, int(min(400.0, part.radius * scales[first]) * _ONE))
                cv2.circle(picture, round_points[first], r, tint, -1, cv2.LINE_AA, _SHIFT)
                cv2.circle(names, round_points[first], r, name, -1, cv2.LINE_8, _SHIFT + 1)
            elif kind == RING:
                at = flat[first : part.last]
                cv2.polylines(
                    picture,
                    [at],
                    True,
                    tint,
                    max(1, min(200, round(2 * part.radius * scales[first]))),
                    cv2.LINE_AA,
                    _SHIFT,
                )
                cv2.fillPoly(names, [at], name, cv2.LINE_8, _SHIFT + 1)
        if air.dark and body.lamps:
            for lamp, where, normal in body.lamps:
                self._glare(lamp, where, normal, body, camera)
        return Painted(name, box, *self._find(box, name)) if name else None

    def _find(self, box: Floats, name: int) -> tuple[int, npt.NDArray[np.int64]]:
        """How many places inside a box bear a name, and the first and last columns and rows of them."""
        x0, y0, x1, y1 = (int(edge / 2) for edge in box.tolist())
        left, top = max(x0 - 1, 0), max(y0 - 1, 0)
        there = self.names[top : max(y1 + 3, 0), left : max(x1 + 3, 0)] == name
        columns, rows = np.flatnonzero(there.any(axis=0)), np.flatnonzero(there.any(axis=1))
        if not len(columns):
            return 0, np.zeros(4, np.int64)
        return int(np.count_nonzero(there)), np.array(
            [left + columns[0], top + rows[0], left + columns[-1], top + rows[-1]], np.int64
        )

    def visible(self, painted: Painted) -> tuple[Floats, float]:
        """The box (x1, y1, x2, y2, not clipped) of what can still be seen of something painted, and how much that is.

        The latter is a fraction of what was painted; where it is 0 the box means nothing.
        """
        count, sides = self._find(painted.box, painted.name)
        # A place is two pixels wide: a side that nothing hides is known better.
        hidden = sides != painted.sides
        first, last = painted.box[:2], painted.box[2:]
        first = np.where(hidden[:2], np.minimum(np.float32(2) * sides[:2], last - 1), first)
        last = np.where(hidden[2:], np.maximum(np.float32(2) * sides[2:] + 2, first + 1), last)
        return np.concatenate([first, last]), count / max(painted.count, 1)

    def shows(self, body: Body, camera: Camera, least: float) -> bool:
        """Whether a body may be in the picture, at least so many pixels high."""
        near, far = body.s - camera.s + body.low[2], body.s - camera.s + body.high[2]
        if (body.high[1] - body.low[1]) * camera.focal < least * near:
            return False
        if near < 2.0:
            return far > NEAR
        left, right = body.x - camera.x + body.low[0] - 1.0, body.x - camera.x + body.high[0] + 1.0
        bend = 0.5 * camera.bend
        most, least_aside = (
            max(right / near + bend * near, right / far + bend * far),
            min(left / near + bend * near, left / far + bend * far),
        )
        return camera.centre + camera.focal * most > 0 and camera.centre + camera.focal * least_aside < self.size[0]

    def _glare(self, lamp: Lamp, where: Floats, normal: Floats, body: Body, camera: Camera) -> None:
        z = float(where[2]) + body.s - camera.s
        if z < 2:
            return
        x, y = float(where[0]) + body.x, float(where[1])
        if normal.any():
            dx = x - camera.x - 0.5 * camera.bend * z * z
            facing = -(float(normal[0]) * dx + float(normal[2]) * z) / math.hypot(dx, z)
            if facing < 0.15:
                return
        else:
            facing = 1.0
        scale = camera.focal / z
        u = camera.centre + (x - camera.x) * scale + 0.5 * camera.bend * camera.focal * z
        v = camera.horizon + (camera.height - y) * scale
        air = self._air
        wide = lamp.size * (1.8 if air.weather == "foggy" else 1.0) * facing * (scale + 0.012 * camera.focal)
        strength = air.dark * float(air.left(z)) ** 0.5
        self._add_light(u, v, wide, wide, lamp.colour, strength)
        if air.wet and z < 70:
            low = camera.horizon + (camera.height + y) * scale
            self._add_light(
                u,
                (low + camera.horizon + camera.height * scale) / 2,
                wide * 0.45,
                max(wide, (y + 0.6) * scale * 1.2),
                lamp.colour,
                strength * 0.45,
            )

    def _add_light(
        self, u: float, v: float, wide: float, tall: float, colour: tuple[float, float, float], strength: float
    ) -> None:
        w, h = (min(18, max(4, round(2 * math.log2(max(d, 1.0))))) for d in (wide, tall))
        key = (w, h, (*colour[:2], colour[2] + 1000 * round(strength * 8)))
        sprite = self._sprites.get(key)
        if sprite is None:
            rw, rh = round(2 ** (w / 2)), round(2 ** (h / 2))
            x, y = np.linspace(-1, 1, 2 * rw + 1, dtype=np.float32), np.linspace(-1, 1, 2 * rh + 1, dtype=np.float32)
            r2 = x[None, :] ** 2 + y[:, None] ** 2
            fall = np.clip(0.75 * np.exp(-r2 * 22) + 0.28 * np.exp(-r2 * 4.5) - 0.005, 0, 1) * round(strength * 8) / 8
            sprite = np.clip(fall[:, :, None] * np.array(colour, np.float32), 0, 255).astype(np.uint8)
            self._sprites[key] = sprite
        h2, w2 = sprite.shape[:2]
        x0, y0 = round(u) - w2 // 2, round(v) - h2 // 2
        xa, ya, xb, yb = max(x0, 0), max(y0, 0), min(x0 + w2, self.size[0]), min(y0 + h2, self.size[1])
        if xa < xb and ya < yb:
            place = self.picture[ya:yb, xa:xb]
            cv2.add(place, sprite[ya - y0 : yb - y0, xa - x0 : xb - x0], dst=place)


class Ground:
    """The road and the land beside it, with the texture of its surface, shadows, and the light of lamps upon it."""

    def __init__(self, seed: int, size: Size, road: Road, air: Air) -> None:
        rng = np.random.default_rng([seed, 5])
        self._seed, self._size, self._road, self._air = seed, size, road, air
        self._tile = _surface(rng)
        self._dither = rng.random((size[1] // 2 + 1, size[0] // 2 + 1), dtype=np.float32)
        k = rng.uniform(0.85, 1.12)
        wet = 0.72 if air.wet else 1.0
        self._asphalt = np.array((90, 88, 86), np.float32) * k * wet * (1.1 if road.scene == "highway" else 1)
        self._walk = np.array((142, 146, 150), np.float32) * rng.uniform(0.85, 1.1) * wet
        self._grass = np.array((58, 112, 88), np.float32) * rng.uniform(0.8, 1.15, 3) * (0.85 if air.wet else 1)
        self._night = air.dark >= 1
        light = air.ambient + air.sunlight * air.sun[1]
        self._light = np.minimum(light * 3.2, 1.0) if self._night else light
        self._level = 40.0 if self._night else 128.0
        self._shadow = 128.0 * float((air.ambient / light).mean())
        rows = size[1]
        z = np.float32(1.4 * _focal(size)) / (np.arange(rows, dtype=np.float32) + 0.5)
        lost = 1 - air.left(z)[:, None] * np.ones(3, np.float32)
        shine = (
            air.haze * (0.10 + 0.38 * np.exp(-np.arange(rows, dtype=np.float32) / (0.13 * rows)))[:, None]
            if air.wet
            else 0.0
        )
        veil = np.clip(air.haze * lost + shine * (1 - lost), 0, 255).astype(np.uint8)
        self._veil = np.ascontiguousarray(np.repeat(veil[:, None, :], size[0], 1))
        glow = np.linspace(-1, 1, 65, dtype=np.float32)
        self._pool = np.clip(np.exp(-(glow[:, None] ** 2 + glow[None, :] ** 2) * 3.2) - 0.04, 0, 1) * 88
        self._zs = np.geomspace(2.2, 500.0, 18).astype(np.float32)
        self._patches: dict[int, list[tuple[float, float, float, float, float]]] = {}

    def paint(
        self, canvas: Canvas, camera: Camera, blocks: list[Block], lamps: list[tuple[float, float]],
        shadows: list[tuple[np.ndarray, bool]],
    ) -> None:  # fmt: skip
        """Paints everything below the horizon, and names it.

        lamps: (s, x) of street lamps; shadows: outlines on the ground, (N, 2) as s and x, and whether the sun throws
        them (or they lie under something).
        """
        road, picture = self._road, canvas.picture
        canvas.names[:] = _NO_SURFACE
        top = round(camera.horizon)
        land = self._grass if road.scene != "city street" else self._walk * np.float32(0.9)
        cv2.rectangle(picture, (0, top), (self._size[0], self._size[1]), self._tint(land), -1)
        strips = self._strips()
        edges = np.array([(a, b) for a, b, *_ in strips], np.float32)
        u, v, _ = camera.project(edges.T[:, :, None], np.float32(0), self._zs[None, None, :])
        rows = np.broadcast_to(v[0], u.shape[1:])
        for i, (_, _, colour, surface) in enumerate(strips):
            outline = np.stack([np.concatenate([u[0, i], u[1, i, ::-1]]), np.concatenate([rows[i], rows[i, ::-1]])], 1)
            self._fill(canvas, [_fixed(outline)], colour, surface)
        self._patchwork(canvas, camera, blocks)
        self._markings(canvas, camera, blocks)
        self._finish(picture[top:], camera, top, lamps, shadows)

    def _tint(self, colour: np.ndarray) -> list[float]:
        return np.clip(colour * self._light, 0, 255).tolist()  # type: ignore[no-any-return]

    def _fill(self, canvas: Canvas, outlines: list[np.ndarray], colour: Floats, surface: int) -> None:
        cv2.fillPoly(canvas.picture, outlines, self._tint(colour), cv2.LINE_AA, _SHIFT)
        cv2.fillPoly(canvas.names, outlines, surface, cv2.LINE_8, _SHIFT + 1)

    def _strips(self) -> list[tuple[float, float, Floats, int]]:
        """From x to x, the colour and the name of each strip along the road, those below others first."""
        road, asphalt = self._road, self._asphalt
        kerb, strips = road.kerb, []
        if road.scene == "highway":
            strips.append((-kerb - 0.4, kerb + 0.4, asphalt, ROAD))
            strips.append(
                (
                    -road.median + 0.9,
                    road.median - 0.9,
                    self._grass * np.float32(0.9) if road.median > 3 else asphalt * np.float32(0.85),
                    _NO_SURFACE,
                )
            )
        else:
            walk = kerb + road.pavement
            for side in (-1, 1):
                strips.append((side * kerb, side * walk, self._walk, _NO_SURFACE))
                strips.append((side * (walk - 0.12), side * walk, self._walk * np.float32(0.8), _NO_SURFACE))
            strips.append((-kerb, kerb, asphalt, ROAD))
            for side in (-1, 1):
                if road.parking:
                    strips.append((side * (kerb - road.parking), side * kerb, asphalt * np.float32(0.93), ROAD))
                strips.append((side * (kerb - 0.25), side * kerb, asphalt * np.float32(0.8), ROAD))
                strips.append((side * kerb, side * (kerb + 0.16), self._walk * np.float32(1.12), _NO_SURFACE))
        for side in (-1, 1):
            for i in range(road.lanes):
                for track in (-0.75, 0.75):
                    middle = side * road.lane(i) + track
                    strips.append((middle - 0.3, middle + 0.3, asphalt * np.float32(0.94), ROAD))
        return strips

    def _quads(self, canvas: Canvas, camera: Camera, quads: np.ndarray, colour: Floats, surface: int) -> None:
        """quads: (N, 4), from s to s and from x to x."""
        if not len(quads):
            return
        z = quads[:, (0, 0, 1, 1)].astype(np.float32) - np.float32(camera.s)
        keep = z.max(1) > 2.2
        z = np.maximum(z[keep], 2.2)
        u, v, _ = camera.project(quads[keep][:, (2, 3, 3, 2)].astype(np.float32), np.float32(0), z)
        outlines = _fixed(np.stack([u, v], 2))
        cv2.fillPoly(canvas.picture, list(outlines), self._tint(colour), cv2.LINE_AA, _SHIFT)
        if surface == MARKING:
            outlines = outlines[np.minimum(u[:, 1] - u[:, 0], v[:, 0] - v[:, 2]) >= _LEAST_MARKING]
        cv2.fillPoly(canvas.names, list(outlines), surface, cv2.LINE_8, _SHIFT + 1)

    def _patchwork(self, canvas: Canvas, camera: Camera, blocks: list[Block]) -> None:
        kerb = self._road.kerb
        for block in blocks:
            if block.number not in self._patches:
                rng = np.random.default_rng([self._seed, 6, block.number])
                self._patches = {k: p for k, p in self._patches.items() if k > block.number - 8}
                self._patches[block.number] = []
                for _ in range(9):
                    s, x = float(rng.uniform(block.start, block.end)), float(rng.uniform(-kerb, kerb))
                    wide, long = (
                        (0.35, 0.35) if rng.random() < 0.4 else (float(rng.uniform(0.5, 1.4)), float(rng.uniform(1, 9)))
                    )
                    self._patches[block.number].append(
                        (
                            s,
                            min(s + long, block.end),
                            max(x - wide, -kerb),
                            min(x + wide, kerb),
                            float(rng.choice([0.72, 0.84, 0.88, 1.1])),
                        )
                    )
            for s0, s1, x0, x1, by in self._patches[block.number]:
                if s1 - camera.s > 3 and s0 - camera.s < 70:
                    self._quads(canvas, camera, np.array([(s0, s1, x0, x1)]), self._asphalt * np.float32(by), ROAD)
            if block.half and block.end - camera.s > 3:
                self._quads(
                    canvas,
                    camera,
                    np.array([(block.built_end, block.end, -150, 150)]),
                    self._asphalt * np.float32(0.97),
                    ROAD,
                )
                walk = [
                    (s - 2, s, side * kerb, side * 150) for s in (block.built_end, block.end + 2) for side in (-1, 1)
                ]
                self._quads(canvas, camera, np.array(walk), self._walk * np.float32(0.97), _NO_SURFACE)

    def _markings(self, canvas: Canvas, camera: Camera, blocks: list[Block]) -> None:
        road = self._road
        white, yellow = np.array((205, 208, 208), np.float32), np.array((60, 165, 205), np.float32)
        highway = road.scene == "highway"
        solid: list[tuple[float, float, float, float]] = []
        middle: list[tuple[float, float, float, float]] = []
        dashes: list[tuple[float, float, float, float]] = []
        on, period = (4.0, 12.0) if highway else (3.0, 9.0)
        inner = [side * (road.median + i * road.lane_width) for side in (-1, 1) for i in range(1, road.lanes)]
        for block in blocks:
            end = block.built_end - (4.4 if block.half else 0)
            start = block.start + (3.2 if block.half else 0)
            if end < camera.s or start > camera.s + 260:
                continue
            starts = np.arange(math.ceil(start / period) * period, end - on, period)
            for x in inner:
                dashes += [(s, s + on, x - 0.075, x + 0.075) for s in starts.tolist() if 0 < s + on - camera.s < 150]
            cuts = np.unique(np.clip(np.concatenate([[start, end], camera.s + self._zs]), start, end))
            for s0, s1 in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
                for side in (-1, 1):
                    x = side * road.lane_edge
                    solid.append((s0, s1, x - 0.07, x + 0.07))
                    if highway:
                        middle.append((s0, s1, side * (road.median - 0.1) - 0.08, side * (road.median - 0.1) + 0.08))
                    elif road.lanes > 1:
                        middle.append((s0, s1, side * 0.16 - 0.06, side * 0.16 + 0.06))
            if road.scene == "residential" or (not highway and road.lanes == 1):
                dashes += [(s, s + on, -0.07, 0.07) for s in starts.tolist() if 0 < s + on - camera.s < 150]
            if block.half and block.end - camera.s > 2:
                solid.append((block.built_end - 4.6, block.built_end - 4.2, 0.1, road.lane_edge))
                solid.append((block.end + 4.2, block.end + 4.6, -road.lane_edge, -0.1))
                if block.signals:
                    stripes = np.arange(-road.kerb + 0.4, road.kerb - 0.5, 1.1).tolist()
                    for s in (block.built_end - 3.0, block.end + 0.5):
                        solid += [(s, s + 2.5, x, x + 0.55) for x in stripes]
                solid += [
                    (
                        block.junction - 0.07,
                        block.junction + 0.07,
                        side * (road.kerb + 3 + 4.0 * k),
                        side * (road.kerb + 5.2 + 4 * k),
                    )
                    for side in (-1, 1)
                    for k in range(6)
                ]
        if road.scene != "residential":
            self._quads(canvas, camera, np.array(solid), white, MARKING)
            colour = yellow if self._seed % 2 and not highway else white
            self._quads(canvas, camera, np.array(middle), colour, MARKING)
        else:
            self._quads(
                canvas,
                camera,
                np.array([q for q in solid if q[1] - q[0] < 4.5 and q[1] - q[0] > 0.3 and abs(q[3] - q[2]) > 0.3]),
                white,
                MARKING,
            )
        self._quads(canvas, camera, np.array(dashes), white, MARKING)

    def _finish(
        self,
        land: Image,
        camera: Camera,
        top: int,
        lamps: list[tuple[float, float]],
        shadows: list[tuple[np.ndarray, bool]],
    ) -> None:
        """Texture, shadows, lamps and haze, worked out at half size."""
        rows, cols = (land.shape[0] + 1) // 2, (land.shape[1] + 1) // 2
        row = np.maximum(np.arange(rows, dtype=np.float32) * 2 + 1 + top - np.float32(camera.horizon), 0.5)
        z = np.float32(camera.focal * camera.height) / row
        across = (np.arange(cols, dtype=np.float32) * 2 + 1 - np.float32(camera.centre)) / np.float32(camera.focal)
        x = np.outer(z, across * np.float32(_GRAIN)) + ((camera.x - 0.5 * camera.bend * z * z) * _GRAIN)[
            :, None
        ].astype(np.float32)
        # Below 4, so that the sum with the dither, below 1, is not rounded up to a sixth level.
        far = np.clip(1.25 * np.log2(z / 6.0), 0, 3.99).astype(np.float32)[:, None]
        level = (far + self._dither[:rows, :cols]).astype(np.int32)  # mixed, so that no edge shows between two of them
        along = ((z + camera.s % 1024.0) * _GRAIN).astype(np.int32) & 511
        texture = self._tile.take((x.astype(np.int32) & 255) + ((level << 17) + (along << 8)[:, None]))
        close = int(np.searchsorted(-z, -9.0))
        cv2.blur(texture[close:], (7, 5), dst=texture[close:])
        shade = np.full((rows, cols), self._level, np.float32 if self._night else np.uint8)
        if self._night:
            beam = 150.0 * np.exp(-z / 17.0) * np.clip(z / 7.0, 0.35, 1.0)
            shade += np.outer(beam, np.exp(-((across / 0.33) ** 2))).astype(np.float32)
            for s, x_lamp in lamps:
                self._lamp_pool(shade, camera, top, s - camera.s, x_lamp)
            shade = np.clip(shade, 0, 255).astype(np.uint8)
        dim = self._level * 0.42
        for thrown in (True, False):
            value = self._shadow if thrown else dim
            for outline, by_sun in shadows:
                if by_sun is not thrown:
                    continue
                sz = np.maximum(outline[:, 0].astype(np.float32) - np.float32(camera.s), 2.2)
                u, v, _ = camera.project(outline[:, 1].astype(np.float32), np.float32(0), sz)
                cv2.fillPoly(shade, [_fixed(np.stack([u, v - top], 1))], value, cv2.LINE_8, _SHIFT + 1)
        shade = cv2.blur(shade, (5, 3))
        left = (self._air.left(z) * 255).astype(np.uint8)[:, None]
        half = cv2.multiply(cv2.multiply(texture, shade, scale=1 / 128), np.repeat(left, cols, 1), scale=1 / 255)
        full = cv2.resize(half, (cols * 2, rows * 2), interpolation=cv2.INTER_LINEAR)[: land.shape[0], : land.shape[1]]
        cv2.multiply(land, cv2.cvtColor(full, cv2.COLOR_GRAY2BGR), dst=land, scale=1 / 128)
        cv2.add(land, self._veil[: land.shape[0]], dst=land)

    def _lamp_pool(self, shade: Floats, camera: Camera, top: int, z: float, x: float) -> None:
        radius = 7.0
        far, near = max(z + radius, 4.0), max(z - radius, 2.4)
        if far <= near:
            return
        y0, y1 = ((camera.horizon - top + camera.focal * camera.height / d) / 2 for d in (far, near))
        middle = max(z, 3.0)
        u = (camera.centre + camera.focal * ((x - camera.x) / middle + 0.5 * camera.bend * middle)) / 2
        wide = camera.focal * radius / middle / 2
        w, h = int(min(2 * wide, 1400)), int(min(y1 - y0, 900))
        if w < 2 or h < 2:
            return
        x0, top_row = int(u - w / 2), int(y0)
        xa, ya, xb, yb = max(x0, 0), max(top_row, 0), min(x0 + w, shade.shape[1]), min(top_row + h, shade.shape[0])
        if xa < xb and ya < yb:
            pool = cv2.resize(self._pool, (w, h))
            shade[ya:yb, xa:xb] += pool[ya - top_row : yb - top_row, xa - x0 : xb - x0]


_GRAIN = 20.0  # texture points per metre


def _focal(size: Size) -> float:
    return 0.78 * size[0]


def _fixed(points: Floats) -> np.ndarray:
    fixed = points * np.float32(_ONE)
    np.minimum(fixed, 6e5, out=fixed)
    np.maximum(fixed, -6e5, out=fixed)
    return fixed.astype(np.int32)


def _surface(rng: np.random.Generator) -> np.ndarray:
    """Asphalt seen from above at five distances, uint8 (5 * 512 * 256,), 128 on average."""
    grain = rng.standard_normal((512, 256)).astype(np.float32) * 13
    speckle = (rng.random((512, 256)) < 0.012).astype(np.float32) * 40
    stains = (clouds(rng, 512, 256, ((4, 4), (8, 8), (24, 16))) - 0.5) * 50
    cracks = np.zeros((512, 256), np.float32)
    for _ in range(5):
        way = np.cumsum(rng.integers(-7, 8, (14, 2)), 0) + rng.integers(40, 210, 2) * (1, 2)
        cv2.polylines(cracks, [way.astype(np.int32)], False, -38.0, 1, cv2.LINE_AA)
    base = grain + speckle + cracks
    levels = []
    for long, wide in ((5, 1), (11, 1), (31, 3), (91, 5), (201, 9)):
        fine = cv2.blur(np.concatenate([base] * 3), (wide, long))[512:1024] * (1 + 0.25 * math.log2(long))
        levels.append(np.clip(128 + fine + stains, 0, 255).astype(np.uint8))
    return np.stack(levels).ravel()
