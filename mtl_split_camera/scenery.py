"""What stands beside the road and does not move: houses, trees, poles, signals, signs, parked vehicles."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mtl_split_camera import shapes
from mtl_split_camera.shapes import Builder, Colour, Point, Shape
from mtl_split_camera.world import Block, Road

POLE: Colour = (96, 98, 96)
_RED: Colour = (34, 30, 200)
_YELLOW: Colour = (30, 190, 240)
_BLUE: Colour = (170, 80, 20)
_BLACK: Colour = (22, 22, 22)


@dataclass(frozen=True)
class Prop:
    """A shape in its place.

    label: its detection label, if it has one; shadow: whether the sun throws its shadow; light: the signal
    state it shows, if it is a lit signal.
    """

    shape: Shape
    s: float
    x: float
    heading: float = 0.0
    label: str | None = None
    shadow: bool = False
    light: str | None = None


def _quads(
    xs: np.ndarray, ys: np.ndarray, wide: float, tall: float, plane: Callable[[float, float], Point]
) -> np.ndarray:
    return np.array(
        [[plane(a, b), plane(a + wide, b), plane(a + wide, b + tall), plane(a, b + tall)] for a in xs for b in ys],
        float,
    ).reshape(-1, 4, 3)


def building(rng: np.random.Generator, side: int, length: float, height: float, lit: float) -> Shape:
    """A town house: its front stands at x = 0 towards the road, which lies to the left of side 1."""
    walls: tuple[Colour, ...] = (
        (110, 130, 165), (80, 95, 150), (150, 165, 185), (175, 180, 185), (140, 140, 140), (95, 110, 125),
        (190, 205, 215), (120, 150, 180), (70, 78, 120), (160, 150, 135), (105, 112, 118),
    )  # fmt: skip
    wall = shapes._pick(rng, walls, 0.15)
    b = Builder(side)
    half, deep = length / 2, 12.0
    front, near = (-1, 0, 0), (0, 0, -1)
    b.face([(0, 0, -half), (0, 0, half), (0, height, half), (0, height, -half)], wall, front)
    b.face([(0, 0, -half), (deep, 0, -half), (deep, height, -half), (0, height, -half)], shapes._shade(wall, 0.9), near)
    b.face(
        [(0, 0, half), (deep, 0, half), (deep, height, half), (0, height, half)], shapes._shade(wall, 0.9), (0, 0, 1)
    )
    floor = float(rng.uniform(3.0, 3.7))
    ground = 4.0
    floors = max(1, int((height - ground - 0.6) / floor))
    modern = rng.random() < 0.3
    pitch = float(rng.uniform(1.9, 3.2)) if not modern else float(rng.uniform(2.0, 2.8))
    wide, tall = (
        (pitch * 0.9, floor * 0.72)
        if modern
        else (pitch * float(rng.uniform(0.4, 0.6)), floor * float(rng.uniform(0.45, 0.62)))
    )
    glass = shapes._pick(rng, ((88, 74, 62), (70, 62, 56), (130, 110, 92)), 0.15)

    def on_front(a: float, y: float) -> Point:
        return (-0.02, y, a)

    def on_near(a: float, y: float) -> Point:
        return (a, y, -half - 0.02)

    ys = ground + 0.9 + floor * np.arange(floors)
    stains = _quads(rng.uniform(-half, half - 1.5, 7), rng.uniform(0.5, height - 2, 1), 1.4, 1.1, on_front)
    b.grid(stains, shapes._shade(wall, 0.95), front, detail=2)
    b.grid(
        _quads(np.array([-half]), ground + floor * np.arange(floors + 1) - 0.12, length, 0.2, on_front),
        shapes._shade(wall, 0.86 if rng.random() < 0.6 else 1.12),
        front,
    )
    for columns, plane, normal in (
        (np.arange(-half + 0.5, half - wide - 0.2, pitch), on_front, front),
        (np.arange(1.0, deep - wide, pitch * 1.6), on_near, near),
    ):
        panes = _quads(columns, ys, wide, tall, plane)
        if not len(panes):
            continue
        on = rng.random(len(panes)) < lit
        if not modern and plane is on_front:
            sills = _quads(columns - 0.12, ys - 0.14, wide + 0.24, 0.14, plane)
            b.grid(sills, shapes._shade(wall, 1.18), normal, detail=2)
        bright = ~on & (rng.random(len(panes)) < 0.3)
        b.grid(panes[~on], glass, normal)
        b.grid(panes[bright], shapes._shade(glass, 1.5), normal, detail=2)
        b.grid(panes[on], shapes._pick(rng, ((110, 190, 235), (150, 215, 240), (200, 215, 220))), normal, glow=1.0)
    shop = -half + 0.4
    while shop < half - 2.5:  # the ground floor: shops and doors
        w = min(float(rng.uniform(2.5, 5.5)), half - shop - 0.3)
        inside = rng.random() < lit * 1.6
        b.mark(
            [on_front(shop, 0.5), on_front(shop + w, 0.5), on_front(shop + w, 2.8), on_front(shop, 2.8)],
            (150, 205, 230) if inside else (58, 54, 52),
            front,
            glow=1.0 if inside else 0.0,
        )
        b.mark(
            [on_front(shop, 2.9), on_front(shop + w, 2.9), on_front(shop + w, 3.6), on_front(shop, 3.6)],
            shapes._pick(rng, shapes.PAINT + shapes.CLOTHES),
            front,
            glow=0.35 * float(lit > 0),
        )
        b.mark(
            [
                on_front(shop + w * 0.4, 0.1),
                on_front(shop + w * 0.4 + 0.9, 0.1),
                on_front(shop + w * 0.4 + 0.9, 2.4),
                on_front(shop + w * 0.4, 2.4),
            ],
            (40, 40, 46),
            front,
            detail=2,
        )
        if rng.random() < 0.4:
            b.face(
                [(-0.03, 2.9, shop), (-0.03, 2.9, shop + w), (-1.2, 2.4, shop + w), (-1.2, 2.4, shop)],
                shapes._pick(rng, shapes.PAINT + shapes.CLOTHES),
                detail=1,
            )
        shop += w + float(rng.uniform(0.4, 1.4))
    b.face(
        [(-0.3, height - 0.5, -half), (-0.3, height - 0.5, half), (-0.3, height, half), (-0.3, height, -half)],
        shapes._shade(wall, 0.75),
        front,
    )
    return b.build()


def house(rng: np.random.Generator, side: int, lit: float) -> tuple[Shape, float]:
    """A house with a pitched roof and a garden fence or hedge, and its length along the road."""
    length, deep, eaves, ridge = (
        float(rng.uniform(9, 14)),
        9.0,
        float(rng.uniform(3.0, 5.8)),
        float(rng.uniform(1.8, 3.0)),
    )
    walls: tuple[Colour, ...] = (
        (200, 210, 220),
        (150, 175, 205),
        (90, 110, 165),
        (185, 190, 185),
        (170, 200, 215),
        (205, 195, 180),
        (120, 145, 175),
    )
    wall, roof = shapes._pick(rng, walls), shapes._pick(rng, ((70, 80, 140), (75, 75, 80), (60, 70, 95), (95, 95, 100)))
    half = length / 2
    front, near = (-1, 0, 0), (0, 0, -1)
    b = Builder(side)
    b.face([(0, 0, -half), (0, 0, half), (0, eaves, half), (0, eaves, -half)], wall, front)
    for z, n in ((-half, near), (half, (0, 0, 1))):
        b.face(
            [(0, 0, z), (0, eaves, z), (deep / 2, eaves + ridge, z), (deep, eaves, z), (deep, 0, z)],
            shapes._shade(wall, 0.92),
            n,
        )
    b.face(
        [
            (-0.5, eaves - 0.2, -half - 0.4),
            (-0.5, eaves - 0.2, half + 0.4),
            (deep / 2, eaves + ridge, half + 0.4),
            (deep / 2, eaves + ridge, -half - 0.4),
        ],
        roof,
        (-0.6, 0.8, 0),
    )
    tiles = np.array(
        [
            [
                (-0.5 + (deep / 2 + 0.5) * t, eaves - 0.2 + (ridge + 0.2) * t, z)
                for z, t in ((-half - 0.4, u), (half + 0.4, u), (half + 0.4, u + 0.05), (-half - 0.4, u + 0.05))
            ]
            for u in (0.1, 0.25, 0.4, 0.55, 0.7, 0.85)
        ]
    )
    b.grid(tiles, shapes._shade(roof, 0.85), (-0.6, 0.8, 0), detail=2)
    b.box(
        (deep * 0.5, deep * 0.62),
        (eaves + ridge * 0.5, eaves + ridge + 0.9),
        (half * 0.3, half * 0.3 + 0.7),
        shapes._shade(roof, 0.8),
    )

    def on_front(a: float, y: float) -> Point:
        return (-0.02, y, a)

    floors = np.array([0.9] if eaves < 4.4 else [0.9, 3.4])
    columns = np.arange(-half + 0.9, half - 1.6, 2.6)
    panes = _quads(columns, floors, 1.3, 1.25, on_front)
    b.grid(_quads(columns - 0.1, floors - 0.1, 1.5, 1.45, on_front), (225, 228, 228), front)
    on = rng.random(len(panes)) < lit * 1.3
    b.grid(panes[~on], (78, 66, 58), front)
    b.grid(panes[on], (110, 190, 235), front, glow=1.0)
    b.grid(_quads(columns + 0.62, floors, 0.07, 1.25, on_front), (225, 228, 228), front, detail=2)
    b.grid(_quads(np.array([2.0, 5.2]), floors, 1.1, 1.2, lambda a, y: (a, y, -half - 0.02)), (78, 66, 58), near)
    door = float(columns[len(columns) // 2]) if len(columns) else 0.0
    b.mark(
        [on_front(door, 0.1), on_front(door + 1.0, 0.1), on_front(door + 1.0, 2.2), on_front(door, 2.2)],
        shapes._pick(rng, shapes.PAINT),
        front,
    )
    if rng.random() < 0.5:
        b.mark(
            [on_front(half - 3.0, 0), on_front(half - 0.4, 0), on_front(half - 0.4, 2.3), on_front(half - 3.0, 2.3)],
            (200, 202, 205),
            front,
        )
    return b.build(), length


def tree(rng: np.random.Generator, tall: float) -> Shape:
    """A tree: a trunk, a ragged crown and its leaves in three shades."""
    b = Builder()
    leaf = shapes._pick(rng, ((40, 92, 58), (36, 80, 66), (48, 100, 52), (38, 88, 90), (46, 110, 80)), 0.15)
    crown, base = tall * float(rng.uniform(0.6, 0.72)), tall
    radius = crown * float(rng.uniform(0.42, 0.55))
    middle = base - crown / 2
    conical = rng.random() < 0.2
    b.limb((0, 0, 0), (0, middle, 0), 0.03 * tall, (46, 62, 78))

    def outline(by: float, dx: float, dy: float, n: int) -> list[Point]:
        turn = np.arange(n) * (2 * math.pi / n)
        far = by * (1 + rng.uniform(-0.16, 0.16, n))
        x, y = np.cos(turn) * radius * far, np.sin(turn) * crown / 2 * far
        if conical:
            x = x * np.clip(0.75 - y / crown, 0.08, 1.2)
        return [(float(a) + dx, middle + float(c) + dy, 0.0) for a, c in zip(x, y, strict=True)]

    b.face(outline(1.0, 0, 0, 26), shapes._shade(leaf, 0.72))
    b.face(outline(0.74, -radius * 0.1, crown * 0.09, 18), leaf)
    for by, count, size, shift in ((0.62, 44, 0.075, 0.0), (1.3, 44, 0.07, 0.12), (1.75, 18, 0.05, 0.2)):
        turn, far = rng.uniform(0, 2 * math.pi, count), np.sqrt(rng.uniform(0, 0.9, count))
        x, y = np.cos(turn) * radius * far, middle + np.sin(turn) * crown / 2 * far * 0.9 + shift * crown * 0.4
        if conical:
            x = x * np.clip(0.75 - (y - middle) / crown, 0.08, 1.2)
        r = radius * size * rng.uniform(0.7, 1.5, count)
        quads = np.stack(
            [
                np.stack([x - r, y, 0 * x], 1),
                np.stack([x, y - r * 0.8, 0 * x], 1),
                np.stack([x + r, y + r * 0.2, 0 * x], 1),
                np.stack([x, y + r, 0 * x], 1),
            ],
            1,
        )
        b.grid(quads, shapes._shade(leaf, by), (0, 0, 0))
    return b.build()


def lamp_post(side: int, tall: float, reach: float) -> Shape:
    """A street lamp whose arm reaches over the road."""
    b = Builder(side)
    b.limb((0, 0, 0), (0, tall, 0), 0.07, POLE)
    b.limb((0, tall, 0), (-reach, tall + 0.25, 0), 0.05, POLE)
    b.limb((-reach, tall + 0.22, -0.25), (-reach, tall + 0.22, 0.25), 0.1, (150, 205, 235), glow=1.0)
    b.lamp((-reach, tall + 0.15, 0), (0, 0, 0), (120, 195, 245), 1.7)
    return b.build()


_LAMPS: dict[str, tuple[int, Colour, Colour]] = {
    "red": (0, (50, 40, 250), (60, 50, 255)),
    "yellow": (1, (40, 200, 255), (50, 200, 255)),
    "green": (2, (150, 235, 70), (150, 235, 80)),
}


def traffic_light(light: str, middle: float) -> Shape:
    """A signal that faces the coming traffic; middle: the height of its middle."""
    b = Builder()
    tall, half = 1.15, 0.21
    b.box((-half, half), (middle - tall / 2, middle + tall / 2), (0, 0.3), _BLACK)
    for i in range(3):
        y = middle + (1 - i) * tall * 0.31
        on, colour, glare = _LAMPS[light]
        turn = np.arange(10) * (2 * math.pi / 10)
        disc = [(0.15 * math.cos(t), y + 0.15 * math.sin(t), -0.02) for t in turn]
        b.mark(disc, colour if i == on else (44, 48, 46), (0, 0, -1), detail=0, glow=1.0 if i == on else 0.0)
        b.mark(
            [(-0.17, y + 0.1, -0.03), (0.17, y + 0.1, -0.03), (0.13, y + 0.19, -0.03), (-0.13, y + 0.19, -0.03)],
            (12, 12, 12),
            (0, 0, -1),
            detail=2,
        )
        if i == on:
            b.lamp((0, y, -0.05), (0, 0, -1), glare, 0.6)
    return b.build()


def pole(tall: float, radius: float = 0.05, arm: float = 0.0) -> Shape:
    """A pole, with an arm to the left (arm > 0) or right."""
    b = Builder()
    b.limb((0, 0, 0), (0, tall, 0), radius, POLE)
    if arm:
        b.limb((0, tall - 0.1, 0), (-arm, tall, 0), radius * 0.8, POLE)
    return b.build()


_SEGMENTS = {
    "3": "abgcd",
    "4": "fgbc",
    "5": "afgcd",
    "6": "afgedc",
    "7": "abc",
    "8": "abcdefg",
    "9": "abfgcd",
    "0": "abcdef",
    "1": "bc",
    "2": "abged",
}


def _digits(b: Builder, text: str, y: float, size: float, colour: Colour) -> None:
    w, step, t = size * 0.5, size * 0.68, size * 0.13
    for i, digit in enumerate(text):
        x = (i - (len(text) - 1) / 2) * step - w / 2
        for name in _SEGMENTS[digit]:
            across = {"a": size, "g": size / 2, "d": 0.0}
            if name in across:
                x0, x1, y0 = x, x + w, y - size / 2 + across[name]
                quad = [
                    (x0, y0 - t / 2, -0.02),
                    (x1, y0 - t / 2, -0.02),
                    (x1, y0 + t / 2, -0.02),
                    (x0, y0 + t / 2, -0.02),
                ]
            else:
                x0, y0 = (x + w if name in "bc" else x), (y if name in "bf" else y - size / 2)
                quad = [
                    (x0 - t / 2, y0, -0.02),
                    (x0 + t / 2, y0, -0.02),
                    (x0 + t / 2, y0 + size / 2, -0.02),
                    (x0 - t / 2, y0 + size / 2, -0.02),
                ]
            b.mark(quad, colour, (0, 0, -1), glow=0.5)


def sign(rng: np.random.Generator, kind: str, middle: float) -> Shape:
    """A traffic sign that faces the coming traffic: one of SIGNS."""
    b = Builder()
    size = float(rng.uniform(0.40, 0.50))

    def plate(corners: int, by: float, turn: float, colour: Colour, z: float, dy: float = 0.0) -> None:
        at = [
            (
                by * size * math.cos(turn + 2 * math.pi * i / corners),
                middle + dy + by * size * math.sin(turn + 2 * math.pi * i / corners),
                z,
            )
            for i in range(corners)
        ]
        (b.face if z == 0 else b.mark)(at, colour, (0, 0, -1), glow=0.5)

    def bar(x0: float, x1: float, y0: float, y1: float, colour: Colour) -> None:
        b.mark(
            [
                (x0 * size, middle + y0 * size, -0.02),
                (x1 * size, middle + y0 * size, -0.02),
                (x1 * size, middle + y1 * size, -0.02),
                (x0 * size, middle + y1 * size, -0.02),
            ],
            colour,
            (0, 0, -1),
            glow=0.5,
        )

    if kind == "stop":
        plate(8, 1.08, math.pi / 8, shapes.WHITE, 0)
        plate(8, 0.98, math.pi / 8, _RED, -0.01)
        for x in (-0.66, -0.3, 0.08, 0.44):
            bar(x, x + 0.08, -0.22, 0.22, shapes.WHITE)
            bar(x, x + 0.24, 0.14, 0.22, shapes.WHITE)
            bar(x + 0.16, x + 0.24, -0.22, 0.0, shapes.WHITE)
    elif kind == "limit":
        plate(18, 1.0, 0, _RED, 0)
        plate(18, 0.78, 0, shapes.WHITE, -0.01)
        _digits(b, str(rng.choice(["30", "50", "60", "80", "100"])), middle, size * 0.7, _BLACK)
    elif kind == "warning":
        plate(3, 1.15, math.pi / 2, _RED, 0, -0.1)
        plate(3, 0.78, math.pi / 2, shapes.WHITE if rng.random() < 0.6 else _YELLOW, -0.01, -0.1)
        bar(-0.07, 0.07, -0.25, 0.2, _BLACK)
        bar(-0.07, 0.07, -0.42, -0.32, _BLACK)
    elif kind == "give way":
        plate(3, 1.15, -math.pi / 2, _RED, 0, 0.1)
        plate(3, 0.75, -math.pi / 2, shapes.WHITE, -0.01, 0.1)
    elif kind == "order":
        plate(18, 1.0, 0, _BLUE, 0)
        bar(-0.09, 0.09, -0.5, 0.3, shapes.WHITE)
        plate(3, 0.4, math.pi / 2, shapes.WHITE, -0.02, 0.15)
    elif kind == "parking":
        plate(4, 1.2, math.pi / 4, _BLUE, 0)
        bar(-0.3, -0.12, -0.5, 0.5, shapes.WHITE)
        bar(-0.12, 0.25, 0.34, 0.5, shapes.WHITE)
        bar(-0.12, 0.25, -0.05, 0.1, shapes.WHITE)
        bar(0.15, 0.32, 0.0, 0.45, shapes.WHITE)
    elif kind == "no entry":
        plate(18, 1.0, 0, _RED, 0)
        bar(-0.65, 0.65, -0.16, 0.16, shapes.WHITE)
    else:
        plate(4, 1.15, 0, shapes.WHITE, 0)
        plate(4, 1.05, 0, _BLACK, -0.01)
        plate(4, 0.95, 0, _YELLOW, -0.02)
        if rng.random() < 0.6:
            bar(-0.08, 0.08, -0.4, 0.45, _BLACK)
            bar(-0.3, 0.3, 0.0, 0.14, _BLACK)
    return b.build()


SIGNS = ("stop", "limit", "warning", "order", "diamond", "parking", "no entry", "give way")


def board(rng: np.random.Generator, wide: float, tall: float, bottom: float) -> Shape:
    """A direction sign of the motorway."""
    b = Builder()
    colour: Colour = (70, 100, 20) if rng.random() < 0.6 else _BLUE
    top = bottom + tall

    def rect(x0: float, x1: float, y0: float, y1: float) -> list[Point]:
        return [(x0, y0, -0.02), (x1, y0, -0.02), (x1, y1, -0.02), (x0, y1, -0.02)]

    b.face(
        [(-wide / 2, bottom, 0), (wide / 2, bottom, 0), (wide / 2, top, 0), (-wide / 2, top, 0)],
        shapes.WHITE,
        (0, 0, -1),
        glow=0.5,
    )
    b.mark(rect(-wide / 2 + 0.07, wide / 2 - 0.07, bottom + 0.07, top - 0.07), colour, (0, 0, -1), detail=0, glow=0.5)
    rows = max(1, int(tall / 0.75))
    for i in range(rows):
        y, x, end = top - 0.55 - i * 0.75, -wide / 2 + 0.3, wide / 2 - float(rng.uniform(0.6, 1.4))
        letters = []
        while x < end:
            w = float(rng.uniform(0.12, 0.26))
            letters.append(rect(x, x + w, y, y + float(rng.choice([0.24, 0.34]))))
            x += w + 0.09
        b.grid(np.array(letters).reshape(-1, 4, 3), shapes.WHITE, (0, 0, -1), glow=0.6)
    return b.build()


def gantry(left: float, right: float) -> Shape:
    """Two posts and a beam across the carriageway; x is measured from the middle of the road."""
    b = Builder()
    for x in (left, right):
        b.limb((x, 0, 0), (x, 7.4, 0), 0.16, POLE)
    for y in (6.4, 7.2):
        b.limb((left, y, 0), (right, y, 0), 0.09, POLE)
    for x in np.arange(left, right, 1.6):
        b.limb((x, 6.4, 0), (x + 0.8, 7.2, 0), 0.05, POLE, detail=1)
        b.limb((x + 0.8, 7.2, 0), (x + 1.6, 6.4, 0), 0.05, POLE, detail=1)
    return b.build()


def block_shape(x: Point, y: Point, z: Point, colour: Colour) -> Shape:
    """A plain block: a hedge, a wall, a bin, a bench, a barrier."""
    b = Builder()
    b.box(x, y, z, colour)
    return b.build()


def bollards(count: int) -> Shape:
    """A row of bollards along z."""
    b = Builder()
    for z in np.arange(count - 1, -1, -1) * 1.5:
        b.box((-0.07, 0.07), (0, 0.85), (z - 0.07, z + 0.07), (70, 72, 74))
    return b.build()


def rail(length: float) -> Shape:
    """A piece of guard rail along z."""
    b = Builder()
    for z in np.arange(-length / 2, length / 2, 4.0):
        b.limb((0, 0, z), (0, 0.65, z), 0.06, (110, 112, 112), detail=1)
    for y0, y1, k in ((0.42, 0.54, 150), (0.54, 0.62, 105), (0.62, 0.76, 172)):
        b.face([(0, y0, -length / 2), (0, y0, length / 2), (0, y1, length / 2), (0, y1, -length / 2)], (k, k, k))
    return b.build()


def furnish(seed: int, road: Road, block: Block, lit: float) -> list[Prop]:
    """Everything that stands along one block; lit: the share of windows with light."""
    rng = np.random.default_rng([seed, 3, block.number])
    if road.scene == "highway":
        return _highway(rng, road, block)
    props: list[Prop] = []
    for side in (-1, 1):
        (_town if road.scene == "city street" else _gardens)(rng, road, block, side, lit, props)
        _parked(rng, road, block, side, props)
    _junction(rng, road, block, props)
    return props


def _town(rng: np.random.Generator, road: Road, block: Block, side: int, lit: float, props: list[Prop]) -> None:
    s = block.start + 0.5
    style = float(rng.uniform(0.6, 1.4))
    while s < block.built_end - 6:
        length = min(float(rng.uniform(9, 20)), block.built_end - s)
        tall = float(rng.uniform(9, 24)) * style * (1.6 if rng.random() < 0.15 else 1)
        gap = rng.random() < 0.06
        if not gap:
            shape = building(rng, side, length, tall, lit)
            props.append(
                Prop(
                    shape,
                    s + length / 2,
                    side * (road.houses + float(rng.uniform(0, 0.5))),
                    shadow=True,
                )
            )
        s += length + (float(rng.uniform(0.0, 0.3)))
    trees = rng.random() < 0.5
    s = block.start + float(rng.uniform(4, 12))
    while s < block.built_end - 5:
        x = side * (road.kerb + 0.7)
        if trees and rng.random() < 0.6:
            tall = float(rng.uniform(4.5, 7))
            props.append(Prop(tree(rng, tall), s, x, shadow=True))
        else:
            what = rng.random()
            if what < 0.4:
                props.append(
                    Prop(
                        block_shape(
                            (-0.25, 0.25),
                            (0, 0.95),
                            (-0.25, 0.25),
                            shapes._pick(rng, ((60, 80, 40), (70, 70, 72), (40, 130, 200))),
                        ),
                        s,
                        x,
                    )
                )
            elif what < 0.6:
                props.append(Prop(bollards(5), s, side * (road.kerb + 0.3)))
        s += float(rng.uniform(8, 14))
    for s in np.arange(block.start + 6, block.built_end, 24.0):
        props.append(Prop(lamp_post(side, 7.2, 2.2), float(s), side * (road.kerb + 0.45)))
    _signs(rng, road, block, side, 1.4, props)


def _gardens(rng: np.random.Generator, road: Road, block: Block, side: int, lit: float, props: list[Prop]) -> None:
    s = block.start + 2.0
    while s < block.built_end - 9:
        shape, length = house(rng, side, lit)
        x = road.houses + float(rng.uniform(-1, 1.5))
        if rng.random() < 0.9 and s + length < block.built_end + 1:
            props.append(Prop(shape, s + length / 2, side * x, shadow=True))
        edge = road.kerb + road.pavement + 0.3
        what = rng.random()
        if what < 0.7:
            low = float(rng.uniform(0.6, 1.3))
            colour: Colour = (
                shapes._pick(rng, ((44, 84, 50), (38, 76, 60)))
                if what < 0.4
                else shapes._pick(rng, ((205, 208, 210), (100, 120, 150), (120, 130, 135)))
            )
            wide = (0.0, 0.7) if what < 0.4 else (0.0, 0.15)
            props.append(
                Prop(
                    block_shape(
                        (wide[0] * side, wide[1] * side) if side > 0 else (wide[1] * side, wide[0]),
                        (0, low),
                        (-length / 2 + 1.6, length / 2 - 0.4),
                        colour,
                    ),
                    s + length / 2,
                    side * edge,
                )
            )
        for _ in range(int(rng.integers(0, 3))):
            tall = float(rng.uniform(3, 8))
            props.append(
                Prop(
                    tree(rng, tall),
                    s + float(rng.uniform(0, length)),
                    side * float(rng.uniform(edge + 1, road.houses - 1.5)),
                    shadow=True,
                )
            )
        if rng.random() < 0.5:
            tall = float(rng.uniform(7, 12))
            props.append(
                Prop(
                    tree(rng, tall),
                    s + float(rng.uniform(0, length)),
                    side * (road.houses + float(rng.uniform(10, 16))),
                )
            )
        s += length + float(rng.uniform(2.5, 7))
    for s in np.arange(block.start + 10, block.built_end, 38.0):
        props.append(Prop(lamp_post(side, 5.6, 1.2), float(s) + (9 if side > 0 else 0), side * (road.kerb + 0.4)))
    _signs(rng, road, block, side, 0.9, props)


def _signs(rng: np.random.Generator, road: Road, block: Block, side: int, many: float, props: list[Prop]) -> None:
    if side < 0:
        many *= 0.35
    for _ in range(int(rng.poisson(many))):
        s, x = float(rng.uniform(block.start + 3, block.built_end - 4)), side * (road.kerb + 0.5)
        middle = float(rng.uniform(2.2, 2.8))
        kinds = [str(k) for k in rng.choice(SIGNS, 2, replace=False)]
        props.append(Prop(pole(middle + 0.4), s + 0.03, x))
        props.append(Prop(sign(rng, kinds[0], middle), s, x, label="traffic sign"))
        if rng.random() < 0.25:
            props.append(Prop(sign(rng, kinds[1], middle - 1.02), s, x, label="traffic sign"))


def _parked(rng: np.random.Generator, road: Road, block: Block, side: int, props: list[Prop]) -> None:
    heading = 0.0 if side > 0 else math.pi
    if road.parking:
        fill = float(rng.uniform(0.05, 0.45)) * (1.0 if road.scene == "city street" else 0.6)
        s = block.start + 7.0
        while s < block.built_end - 9:
            x = side * (road.kerb - 1.1 + float(rng.uniform(-0.15, 0.1)))
            what = rng.random()
            if what < fill * 0.93:
                props.append(
                    Prop(
                        shapes.car(rng, False),
                        s + 2.6,
                        x,
                        heading if rng.random() < 0.9 else math.pi - heading,
                        "car",
                        True,
                    )
                )
            elif what < fill:
                length = float(rng.uniform(6.5, 8))
                props.append(Prop(shapes.truck(rng, False, length), s + length / 2, x, heading, "truck", True))
                s += length - 5
            elif what < fill + 0.04:
                props.append(
                    Prop(
                        shapes.motorcycle(rng, False),
                        s + 1,
                        side * (road.kerb - 0.8),
                        heading + float(rng.uniform(-0.9, 0.9)),
                        "motorcycle",
                        True,
                    )
                )
            s += float(rng.uniform(5.6, 6.6))
    if rng.random() < 0.25:
        s = float(rng.uniform(block.start + 5, block.built_end - 6))
        for k in range(int(rng.integers(1, 4))):
            turn = float(rng.uniform(0.3, 1.2)) * (1 if rng.random() < 0.5 else -1)
            props.append(Prop(shapes.bicycle(rng), s + k * 2.1, side * (road.kerb + 1.2), turn, "bicycle", True))


def _junction(rng: np.random.Generator, road: Road, block: Block, props: list[Prop]) -> None:
    if block.signals:
        lights = [(block.built_end - 3.6, road.kerb + 0.5, 3.0), (block.end + 1.0, -road.kerb - 0.5, 3.0)]
        arm = road.kerb - road.lane(road.lanes - 1) + 0.5
        lights.append((block.end + 0.6, road.kerb + 0.5 - arm, 5.4))
        if rng.random() < 0.5:
            lights.append((block.end + 1.0, road.kerb + 0.5, 3.0))
        props.append(Prop(pole(6.1, 0.09, arm), block.end + 0.9, road.kerb + 0.5))
        for s, x, middle in lights:
            if middle < 4:
                props.append(Prop(pole(middle + 0.6, 0.07), s + 0.4, x))
            for state in _LAMPS:
                props.append(Prop(traffic_light(state, middle), s, x, label="traffic light", light=state))
    elif block.half:
        kind = str(rng.choice(["stop", "give way", "diamond"]))
        props.append(Prop(pole(2.9), block.built_end - 2.97, road.kerb + 0.6))
        props.append(Prop(sign(rng, kind, 2.5), block.built_end - 3.0, road.kerb + 0.6, label="traffic sign"))


def _highway(rng: np.random.Generator, road: Road, block: Block) -> list[Prop]:
    props: list[Prop] = []
    edge = road.kerb + 0.7
    for s in np.arange(block.start + 10, block.end, 20.0):
        for x in (edge, -edge):
            props.append(Prop(rail(20.0), float(s), x))
        props.append(
            Prop(
                rail(20.0) if road.median < 3 else block_shape((-0.25, 0.25), (0, 0.85), (-10, 10), (150, 152, 154)),
                float(s),
                0.0,
            )
        )
    wooded = float(rng.uniform(0.2, 1.0))
    for side in (-1, 1):
        for _ in range(int(14 * wooded)):
            tall = float(rng.uniform(4, 12))
            props.append(
                Prop(
                    tree(rng, tall),
                    float(rng.uniform(block.start, block.end)),
                    side * (edge + float(rng.uniform(4, 30))),
                    shadow=True,
                )
            )
        if rng.random() < 0.25:
            shape = block_shape(
                (-8, 8),
                (0, float(rng.uniform(5, 9))),
                (-20, 20),
                shapes._pick(rng, ((170, 170, 168), (140, 150, 165), (190, 185, 175))),
            )
            props.append(Prop(shape, (block.start + block.end) / 2, side * (edge + 42)))
    if rng.random() < 0.6:
        for s in np.arange(block.start + 20, block.end, 40.0):
            props.append(Prop(lamp_post(1, 9.5, 2.5), float(s), edge + 0.6))
    if rng.random() < 0.5:
        s = float(rng.uniform(block.start + 10, block.end - 10))
        props.append(Prop(gantry(0.0, edge + 0.8), s + 0.3, 0.0))
        for i in range(int(rng.integers(1, road.lanes + 1))):
            wide = float(rng.uniform(2.6, 3.4))
            props.append(
                Prop(board(rng, wide, float(rng.uniform(1.5, 2.4)), 5.6), s, road.lane(i), label="traffic sign")
            )
    for side in (1, -1):
        for _ in range(int(rng.poisson(2.2 if side > 0 else 0.8))):
            s, x = float(rng.uniform(block.start + 2, block.end - 2)), edge + 0.9 if side > 0 else 0.0
            middle = float(rng.uniform(2.4, 3.0))
            kind = str(rng.choice(["limit", "limit", "warning", "diamond", "order"]))
            if rng.random() < 0.25 and side > 0:
                wide, tall = float(rng.uniform(1.8, 3.0)), float(rng.uniform(1.2, 2.2))
                for dx in (-wide / 3, wide / 3):
                    props.append(Prop(pole(1.6 + tall), s + 0.05, x + 1.4 + dx))
                props.append(Prop(board(rng, wide, tall, 1.6), s, x + 1.4, label="traffic sign"))
            else:
                props.append(Prop(pole(middle + 0.5), s + 0.03, x))
                props.append(Prop(sign(rng, kind, middle), s, x, label="traffic sign"))
    return props
