"""The simulated street: an endless drive of which every picture and the truth about it are known."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np

from mtl_split_camera import scenery, shapes
from mtl_split_camera.painter import MARKING, ROAD, Body, Camera, Canvas, Ground, Painted
from mtl_split_camera.scenery import Prop
from mtl_split_camera.weather import Lens, draw_air, draw_sky
from mtl_split_camera.world import SIGHT, Block, Mover, World, draw_road
from mtl_split_core.label_map import UNKNOWN, Segmentation, pack
from mtl_split_core.scene import Image, Size, Truth

TIMEOFDAY = ("daytime", "dawn/dusk", "night")
WEATHER = ("clear", "rainy", "foggy", "overcast")
SCENE = ("city street", "residential", "highway")
DRIVABLE = ("background", "drivable area")
LANE_MARKINGS = ("background", "lane marking")
"""The labels of the masks `drivable` and `lane_markings`: the carriageway, of both directions and of crossing roads,
with shoulders and parking lanes; and the paint on it, with stop lines and crossings."""

LEAST_HEIGHT = 12.0
"""Objects lower than this many pixels, in a picture 720 pixels high, are to be ignored."""
LEAST_VISIBLE = 0.3
"""Objects of which less can be seen are to be ignored."""
LEAST_CONTRAST = 0.12
"""Objects of whose colour the haze leaves less count as hidden; of the road, nothing is known there."""

_Outline = tuple[np.ndarray, bool]
_Thing = tuple[str | None, Body, Prop | None, str]
"""Its detection label, if it has one, its body, what it is if it does not move, and its identity."""


class Street:
    """Endless, seeded, deterministic simulated street: iterate over it for (picture, truth).

    size: width and height in pixels; rate: pictures per second of simulated time; timeofday, weather, scene: one of the
    constants of this module, or None to have it drawn from the seed. Raises ValueError for anything else.
    """

    def __init__(
        self, seed: int, size: Size = (1280, 720), rate: float = 30.0, *,
        timeofday: str | None = None, weather: str | None = None, scene: str | None = None,
    ) -> None:  # fmt: skip
        if size[0] < 64 or size[1] < 36:
            raise ValueError(f"size is {size}, expected at least (64, 36)")
        if not rate > 0:
            raise ValueError(f"rate is {rate}, expected pictures per second above 0")
        rng = np.random.default_rng([seed, 0])
        drawn = {"timeofday": TIMEOFDAY, "weather": WEATHER, "scene": SCENE}
        self._classes = {name: str(rng.choice(labels)) for name, labels in drawn.items()}
        for name, label in (("timeofday", timeofday), ("weather", weather), ("scene", scene)):
            if label is not None:
                if label not in drawn[name]:
                    raise ValueError(f"{name} is {label!r}, expected one of {drawn[name]}")
                self._classes[name] = label
        self._seed, self._size, self._rate, self._frame = seed, size, rate, 0
        self._air = draw_air(self._classes["timeofday"], self._classes["weather"], rng)
        self._road = draw_road(self._classes["scene"], rng)
        self._world = World(seed, self._road)
        self._focal = size[0] * float(rng.uniform(0.72, 0.84))
        self._height, self._pitch = float(rng.uniform(1.3, 1.55)), float(rng.uniform(-0.03, 0.02))
        self._shake = rng.uniform(0, 6.3, 6)
        self._sky = draw_sky(self._air, self._classes["scene"], rng, size)
        self._ground = Ground(seed, size, self._road, self._air)
        self._lens = Lens(self._air, rng, size)
        self._canvas = Canvas(size, self._air)
        self._furniture: dict[int, list[tuple[Prop, Body, str]]] = {}
        self._bodies: dict[int, dict[tuple[float, bool, int], list[tuple[str, Body]]]] = {}

    @property
    def focal_length(self) -> float:
        """Of the simulated pinhole camera, in pixels."""
        return self._focal

    def __iter__(self) -> Iterator[tuple[Image, Truth]]:
        return self

    def skip(self, frames: int) -> None:
        """Lets the time of so many pictures pass without drawing them."""
        for _ in range(frames):
            self._world.step(1.0 / self._rate)
            self._frame += 1

    def __next__(self) -> tuple[Image, Truth]:
        """The picture of now and what is in it; then the time of one picture passes."""
        world, canvas = self._world, self._canvas
        camera = self._camera()
        blocks = [b for b in world.blocks if b.start - camera.s < SIGHT and b.end - camera.s > 0]
        things = self._things(camera, blocks)
        tiny = 5.0 * self._size[1] / 720
        shown = [t for t in things if canvas.shows(t[1], camera, tiny if t[0] else 2 * tiny)]
        self._paint_sky(camera)
        self._ground.paint(canvas, camera, blocks, self._lamps(camera, things), self._shadows(camera, things))
        painted: list[tuple[str, str, float, Painted | None]] = []
        for label, body, _, identity in sorted(shown, key=functools.cmp_to_key(functools.partial(_farther, camera))):
            name = len(painted) + 1 if label else 0
            done = canvas.paint(body, camera, name)
            if label:
                painted.append((label, identity, body.s - camera.s, done))
        truth = replace(self._truth(painted), masks=self._masks(camera))
        noise = np.random.default_rng([self._seed, 4, self._frame])  # not the world's: skipping draws none
        picture = self._lens.look_through(canvas.picture, noise, world.time, world.ego_v)
        self.skip(1)
        return picture, truth

    def _camera(self) -> Camera:
        world, shake = self._world, self._shake
        t, v = world.time, world.ego_v
        bounce = (
            0.0014
            * min(1.0, v / 8)
            * (math.sin(t * 9.1 + shake[0]) + 0.6 * math.sin(t * 14.7 + shake[1]) + 0.5 * math.sin(t * 2.3 + shake[2]))
        )
        yaw = 0.012 * math.sin(t * 0.4 + shake[3]) + 0.004 * math.sin(t * 1.7 + shake[4])
        width, height = self._size
        return Camera(
            self._focal, width / 2 - yaw * self._focal, height * 0.5 + (self._pitch + bounce) * self._focal,
            self._height,
            world.ego_s, world.ego_x, world.bend(),
        )  # fmt: skip

    def _paint_sky(self, camera: Camera) -> None:
        width, _ = self._size
        sky, picture = self._sky, self._canvas.picture
        top = round(camera.horizon)
        start = int((self._world.turned / (2 * math.pi)) * sky.shape[1] * 1.5 - camera.centre) % sky.shape[1]
        rows = sky[sky.shape[0] - top :]
        first = min(width, sky.shape[1] - start)
        picture[:top, :first] = rows[:, start : start + first]
        if first < width:
            picture[:top, first:] = rows[:, : width - first]

    # what is on the street

    def _things(self, camera: Camera, blocks: list[Block]) -> list[_Thing]:
        things: list[_Thing] = []
        self._furniture = {n: f for n, f in self._furniture.items() if n >= blocks[0].number}
        for block in blocks:
            if block.number not in self._furniture:
                props = scenery.furnish(self._seed, self._road, block, self._air.lit_windows)
                self._furniture[block.number] = [
                    (prop, Body(prop.shape, prop.heading, self._air).at(prop.s, prop.x), f"{self._seed}/{number}")
                    for prop, number in zip(props, _numbers(block, props), strict=True)
                ]
            light = block.light(self._world.time)
            for prop, body, identity in self._furniture[block.number]:
                if body.s + body.high[2] - camera.s > 0.8 and body.s - camera.s < SIGHT and prop.light in (None, light):
                    things.append((prop.label, body, prop, identity))
        alive = {m.name for m in self._world.movers}
        self._bodies = {n: b for n, b in self._bodies.items() if n in alive}
        for mover in self._world.movers:
            if 0.8 - mover.length < mover.s - camera.s < SIGHT:
                for part, (label, body) in enumerate(self._mover_bodies(mover)):
                    things.append((label, body, None, f"{self._seed}/mover {mover.name}.{part}"))
        return things

    def _mover_bodies(self, mover: Mover) -> list[tuple[str, Body]]:
        moving = mover.v > 0.1
        step = int(mover.phase / (2 * math.pi) * 12) % 12
        state = (mover.heading, mover.braking, step if mover.label in ("pedestrian", "bicycle") and moving else -1)
        known = self._bodies.setdefault(mover.name, {})
        if state not in known:
            phase = step * 2 * math.pi / 12 if moving else math.nan
            known[state] = [(label, Body(shape, mover.heading, self._air)) for label, shape in _shapes(mover, phase)]
        for _, body in known[state]:
            body.at(mover.s, mover.x)
        return known[state]

    def _lamps(self, camera: Camera, things: list[_Thing]) -> list[tuple[float, float]]:
        if self._air.dark < 1:
            return []
        return [
            (b.s, b.x + float(b.lamps[0][1][0]))
            for label, b, _, _ in things
            if label is None and b.lamps and b.s - camera.s < 90
        ]

    def _shadows(self, camera: Camera, things: list[_Thing]) -> list[_Outline]:
        found: list[_Outline] = []
        sun = self._air.sun
        for _, body, prop, _ in things:
            if body.s - camera.s > 110:
                continue
            foot = _footprint(body)
            on_ground = prop is None or prop.label in ("car", "truck", "motorcycle", "bicycle")
            if on_ground:
                found.append((foot, False))
            if sun[1] > 0 and (prop is None or prop.shadow):
                reach = min(body.high[1] / float(sun[1]), 3.0 * body.high[1] + 4)
                shifted = foot - reach * np.array((float(sun[2]), float(sun[0])))
                both = np.concatenate([foot, shifted]).astype(np.float32)
                found.append((cv2.convexHull(both).reshape(-1, 2), True))
        return found

    # the truth

    def _truth(self, painted: list[tuple[str, str, float, Painted | None]]) -> Truth:
        """The boxes hold what can be seen of the things, as people draw them, not what they know is behind."""
        width, height = self._size
        boxes, labels, visible, ignore, ids = [], [], [], [], []
        for label, identity, distance, done in painted:
            if done is None:
                continue
            box, seen = self._canvas.visible(done)
            if not seen:
                continue
            corners = (width, height, width, height)
            whole = done.box[2:] - done.box[:2]
            inside = np.prod(np.clip(done.box, 0, corners)[2:] - np.clip(done.box, 0, corners)[:2]) / whole.prod()
            seen = min(1.0, seen * float(inside))
            clipped = np.clip(box, 0, corners)
            boxes.append(clipped)
            labels.append(label)
            ids.append(identity)
            visible.append(seen)
            low = float(clipped[3] - clipped[1]) < LEAST_HEIGHT * height / 720
            ignore.append(low or seen < LEAST_VISIBLE or float(self._air.left(distance)) < LEAST_CONTRAST)
        return Truth(
            np.array(boxes, np.float32).reshape(-1, 4), tuple(labels), np.array(visible, np.float32),
            np.array(ignore, np.bool_),
            dict(self._classes), ids=tuple(ids),
        )  # fmt: skip

    def _masks(self, camera: Camera) -> dict[str, Segmentation]:
        """Where the road is seen, at half the picture's size."""
        names = self._canvas.names
        below = np.maximum(2 * np.arange(len(names), dtype=np.float32) + 1 - np.float32(camera.horizon), 0.5)
        lost = self._air.left(np.float32(camera.focal * camera.height) / below) < LEAST_CONTRAST
        masks = {}
        for task, labels, least in (("drivable", DRIVABLE, ROAD), ("lane_markings", LANE_MARKINGS, MARKING)):
            places = (names >= least).astype(np.uint8)
            places[(names >= ROAD) & lost[:, None]] = UNKNOWN
            masks[task] = Segmentation(labels, pack(places))
        return masks


def _numbers(block: Block, props: list[Prop]) -> list[str]:
    """Name what stands in a block; the states of one signal, of which one is shown at a time, have the same name."""
    numbers: dict[object, int] = {}
    keys = [index if prop.light is None else (prop.s, prop.x) for index, prop in enumerate(props)]
    return [f"{block.number}.{numbers.setdefault(key, len(numbers))}" for key in keys]


def _shapes(mover: Mover, phase: float) -> list[tuple[str, shapes.Shape]]:
    rng = np.random.default_rng(mover.look)
    match mover.label:
        case "car":
            return [("car", shapes.car(rng, mover.braking))]
        case "truck":
            return [("truck", shapes.truck(rng, mover.braking, mover.length))]
        case "bus":
            return [("bus", shapes.bus(rng, mover.braking, mover.length))]
        case "motorcycle":
            return [("motorcycle", shapes.motorcycle(rng, mover.braking)), ("rider", shapes.rider(rng, 0.0, True))]
        case "bicycle":
            return [
                ("bicycle", shapes.bicycle(rng)),
                ("rider", shapes.rider(rng, 0.0 if math.isnan(phase) else phase, False)),
            ]
        case _:
            return [("pedestrian", shapes.person(rng, phase))]


def _footprint(body: Body) -> np.ndarray:
    """The ground that a body stands on, (4, 2): s and x of the corners."""
    near, far = body.s + body.low[2], body.s + body.high[2]
    left, right = body.x + body.low[0], body.x + body.high[0]
    return np.array(((near, left), (near, right), (far, right), (far, left)))


def _farther(camera: Camera, a: _Thing, b: _Thing) -> int:
    """Negative where a lies behind b: farther ahead, or, side by side, farther from the line of sight."""
    one, two = a[1], b[1]
    near_one, far_one = one.s + one.low[2], one.s + one.high[2]
    near_two, far_two = two.s + two.low[2], two.s + two.high[2]
    if near_one >= far_two:
        return -1 if near_one > far_two or one.s > two.s else 0
    if near_two >= far_one:
        return 1
    aside_one, aside_two = _aside(one, camera), _aside(two, camera)
    if aside_one != aside_two:
        return -1 if aside_one > aside_two else 1
    return (two.s > one.s) - (two.s < one.s)


def _aside(body: Body, camera: Camera) -> float:
    left, right = body.x + body.low[0] - camera.x, body.x + body.high[0] - camera.x
    return max(left, -right, 0.0)
