"""The road and how traffic moves on it: lanes, junctions, signals, vehicles, people. Nothing is drawn here."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

SIGHT = 190.0
"""How far ahead of the camera the street is alive, in metres."""

LENGTH = {"car": 4.6, "truck": 8.5, "bus": 11.5, "motorcycle": 2.1, "bicycle": 1.8, "pedestrian": 0.5}


@dataclass(frozen=True)
class Road:
    """The cross-section, in metres from the middle of the road; its halves mirror each other, traffic keeps right."""

    scene: str
    lanes: int
    lane_width: float
    median: float
    """Half the width of what parts the two directions."""
    shoulder: float
    """Between the last lane and the parked cars or the kerb; bicycles ride here."""
    parking: float
    pavement: float
    setback: float
    """From the pavement to the houses."""

    @property
    def lane_edge(self) -> float:
        """Where the last lane ends."""
        return self.median + self.lanes * self.lane_width

    @property
    def kerb(self) -> float:
        """Where the carriageway ends."""
        return self.lane_edge + self.shoulder + self.parking

    @property
    def houses(self) -> float:
        """Where the houses stand."""
        return self.kerb + self.pavement + self.setback

    def lane(self, index: int) -> float:
        """The middle of a lane, counted from the middle of the road."""
        return self.median + (index + 0.5) * self.lane_width


def draw_road(scene: str, rng: np.random.Generator) -> Road:
    """A road of the given scene."""
    wide = float(rng.uniform(0.0, 1.0))
    if scene == "city street":
        lanes = int(rng.integers(1, 3))
        return Road(scene, lanes, 3.1 + 0.3 * wide, 0.0, 1.4, 2.3 if rng.random() < 0.8 else 0.0, 3.2 + 1.6 * wide, 0.4)
    if scene == "residential":
        return Road(
            scene, 1, 2.8 + 0.3 * wide, 0.0, 1.0, 2.2 if rng.random() < 0.7 else 0.0, 1.6 + 0.8 * wide, 4.0 + 5 * wide
        )
    if scene == "highway":
        return Road(scene, int(rng.integers(2, 5)), 3.6, 1.4 + 1.2 * wide + 1.0, 2.8, 0.0, 0.0, 14.0)
    raise ValueError(f"scene is {scene!r}, expected one of 'city street', 'residential', 'highway'")


@dataclass(frozen=True)
class Block:
    """A piece of street; a junction, if any, lies at its far end, between end - 2 * half and end."""

    number: int
    start: float
    end: float
    half: float
    """Half the width of the crossing road, 0 where there is none."""
    signals: bool
    clock: float
    """Where in its cycle the junction's signal starts, in seconds."""

    @property
    def junction(self) -> float:
        """The middle of the junction."""
        return self.end - self.half

    @property
    def built_end(self) -> float:
        """Where houses and pavements end."""
        return self.end - 2 * self.half

    def light(self, time: float) -> str:
        """What the signal shows to the main road: 'green', 'yellow' or 'red'."""
        at = (time + self.clock) % 20.0
        return "green" if at < 11 else "yellow" if at < 13 else "red"

    def crossing_may_go(self, time: float) -> bool:
        """Whether the crossing road has a green light."""
        return 14.5 < (time + self.clock) % 20.0 < 18.0


@dataclass(slots=True)
class Mover:
    """Something that moves.

    s, x: where it is along and across the road, in metres; heading: 0 ahead, pi/2 to the right, in radians.
    """

    name: int
    label: str
    look: int
    """Seed of its looks."""
    lane: tuple[str, int]
    s: float
    x: float
    v: float
    wish: float
    heading: float
    length: float
    braking: bool = False
    phase: float = 0.0
    block: int = -1
    """The junction it crosses, -1 for none."""
    crossing: bool = False
    """Whether it has started to cross."""
    sway: float = 0.0


@dataclass
class World:
    """Moves by step(); everything random comes from the seed."""

    seed: int
    road: Road
    time: float = 0.0
    ego_s: float = 0.0
    ego_v: float = 0.0
    turned: float = 0.0
    """How far the road has turned so far, in radians."""
    movers: list[Mover] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng([self.seed, 1])
        rng = self._rng
        scene = self.road.scene
        self.lane = ("ahead", int(rng.integers(self.road.lanes)))
        self.ego_x = self.road.lane(self.lane[1])
        self._home = self.ego_x + float(rng.uniform(-0.25, 0.25))
        self.ego_wish = {"city street": 11.0, "residential": 8.0, "highway": 26.0}[scene] * float(rng.uniform(0.8, 1.2))
        self.ego_v = self.ego_wish * float(rng.uniform(0.5, 1.0))
        self.busy = float(rng.uniform(0.5, 1.1))
        self._wander = [(float(rng.uniform(0.02, 0.2)), float(rng.uniform(0, 6.3))) for _ in range(3)]
        self._bend = {"city street": 0.0006, "residential": 0.0018, "highway": 0.0009}[scene] * float(
            rng.uniform(0.0, 1.3)
        )
        self._names = 0
        self._due: dict[tuple[str, int], float] = {}
        while not self.blocks or self.blocks[-1].end < SIGHT + 40:
            self._build()
        self._fill()

    # the road

    def bend(self) -> float:
        """Curvature of the road at the camera, in 1/m, positive to the right."""
        s = self.ego_s
        return self._bend * (math.sin(s * 0.011 + self._wander[0][1]) + 0.6 * math.sin(s * 0.0047 + self._wander[1][1]))

    def _build(self) -> None:
        number = len(self.blocks) + self._dropped if self.blocks else 0
        start = self.blocks[-1].end if self.blocks else -40.0
        rng = np.random.default_rng([self.seed, 2, number])
        if self.road.scene == "highway":
            block = Block(number, start, start + 120.0, 0.0, False, 0.0)
        else:
            city = self.road.scene == "city street"
            half = float(rng.uniform(5.0, 7.5)) if city else float(rng.uniform(3.8, 4.8))
            block = Block(
                number,
                start,
                start + float(rng.uniform(55, 95)) + 2 * half,
                half,
                city and rng.random() < 0.85,
                float(rng.uniform(0, 20)),
            )
        self.blocks.append(block)
        self._people(block)

    _dropped = 0

    def _add(
        self, label: str, lane: tuple[str, int], s: float, x: float, v: float, heading: float, block: int = -1
    ) -> Mover:
        rng = self._rng
        self._names += 1
        look = int(rng.integers(2**31))
        length = LENGTH[label] * (1.0 + (look % 100) / 250.0 if label == "truck" else 1.0)
        mover = Mover(
            self._names, label, look, lane, s, x, v, v, heading, length, phase=float(rng.uniform(0, 6.28)), block=block
        )
        self.movers.append(mover)
        return mover

    def _people(self, block: Block) -> None:
        """Pedestrians come with the block they walk on."""
        rng, road = self._rng, self.road
        if road.scene == "highway":
            return
        city = road.scene == "city street"
        length = block.built_end - block.start
        for side in (-1, 1):
            for _ in range(int(rng.poisson(length * (0.026 if city else 0.014) * self.busy))):
                walk = float(rng.uniform(0.8, 1.6)) if rng.random() < 0.8 else 0.0
                ahead = rng.random() < 0.5
                x = side * float(rng.uniform(road.kerb + 0.6, road.kerb + max(road.pavement - 0.5, 0.7)))
                heading = (0.0 if ahead else math.pi) if walk else float(rng.uniform(0, 6.28))
                self._add(
                    "pedestrian",
                    ("pavement", side),
                    float(rng.uniform(block.start + 2, block.built_end)),
                    x,
                    walk,
                    heading,
                )
        if block.half:
            for _ in range(int(rng.poisson((1.5 if city else 0.6) * self.busy))):
                side = 1 if rng.random() < 0.5 else -1
                far = rng.random() < 0.35
                s = (block.end + 1.6 if far else block.built_end - 1.8) + float(rng.uniform(-0.9, 0.9))
                mover = self._add(
                    "pedestrian",
                    ("zebra", -side),
                    s,
                    side * (road.kerb + float(rng.uniform(0.5, 1.4))),
                    float(rng.uniform(1.1, 1.6)),
                    -side * math.pi / 2,
                    block.number,
                )
                mover.v = 0.0

    # traffic

    def _kind(self) -> str:
        share = {
            "city street": (0.58, 0.11, 0.12, 0.19),
            "residential": (0.62, 0.12, 0.09, 0.17),
            "highway": (0.54, 0.2, 0.1, 0.16),
        }[self.road.scene]
        return str(("car", "truck", "bus", "motorcycle")[int(self._rng.choice(4, p=share))])

    def _lanes(self) -> Iterator[tuple[str, int]]:
        for i in range(self.road.lanes):
            yield "ahead", i
            yield "oncoming", i
        if self.road.scene != "highway":
            yield "ahead", -1
            yield "oncoming", -1

    def _gap(self, lane: tuple[str, int]) -> float:
        """A random distance to the next vehicle of a lane."""
        scene = self.road.scene
        if lane[1] < 0:
            mean = 80.0 if scene == "city street" else 85.0
        else:
            mean = {"city street": 58.0, "residential": 80.0, "highway": 80.0}[scene]
        return 9.0 + float(self._rng.exponential(mean / self.busy))

    def _enter(self, lane: tuple[str, int], s: float) -> None:
        rng, road = self._rng, self.road
        sign = 1 if lane[0] == "ahead" else -1
        heading = 0.0 if sign > 0 else math.pi
        if lane[1] < 0:
            mover = self._add(
                "bicycle", lane, s, sign * (road.lane_edge + road.shoulder * 0.5), float(rng.uniform(3.5, 6.0)), heading
            )
        else:
            label = self._kind()
            speed = self.ego_wish * float(rng.uniform(0.75, 1.15)) * (0.88 if label in ("truck", "bus") else 1.0)
            if road.scene == "highway":
                speed *= 0.9 + 0.2 * (road.lanes - lane[1]) / road.lanes
            mover = self._add(label, lane, s, sign * road.lane(lane[1]), speed, heading)
            mover.sway = float(rng.uniform(-0.25, 0.25)) if label != "motorcycle" else float(rng.uniform(-0.8, 0.8))
        mover.x += sign * mover.sway

    def _fill(self) -> None:
        for lane in self._lanes():
            s = -15.0 + self._gap(lane) * 0.5
            while s < SIGHT:
                if lane != self.lane or abs(s) > 12:
                    self._enter(lane, s)
                s += self._gap(lane) + 6

    def _refill(self, by_lane: dict[tuple[str, int], list[Mover]], dt: float) -> None:
        """New vehicles come into sight where the street is far, and from behind where they are faster."""
        for lane in self._lanes():
            row = by_lane.get(lane, [])
            due = self._due.setdefault(lane, self._gap(lane))
            far = max((m.s for m in row), default=-1e9)
            if far < self.ego_s + SIGHT - due - 8:
                self._enter(lane, self.ego_s + SIGHT)
                self._due[lane] = self._gap(lane)
            elif lane[0] == "ahead" and lane != self.lane:
                near = min((m.s - m.length for m in row), default=1e9)
                if near > self.ego_s + due * 0.5 and self._rng.random() < 0.25 * dt:
                    self._enter(lane, self.ego_s - 14)
                    last = self.movers[-1]
                    last.wish = last.v = max(last.v, self.ego_v * 1.1 + 1.5) if lane[1] >= 0 else last.v

    def _crossers(self, dt: float) -> None:
        """Vehicles of the crossing roads."""
        for block in self.blocks:
            if not block.half or not 5 < block.junction - self.ego_s < 120:
                continue
            for side in (-1, 1):
                rate = (0.32 if self.road.scene == "city street" else 0.12) * self.busy
                if self._rng.random() < rate * dt:
                    lane = ("crossing", side)
                    waiting = [m for m in self.movers if m.block == block.number and m.lane == lane]
                    if len(waiting) < 3 and all(abs(m.x) < 38 for m in waiting if m.x * side < 0):
                        label = self._kind() if self._rng.random() < 0.85 else "bicycle"
                        keep = 3.2 if label == "bicycle" and block.half > 4.5 else 1.7
                        speed = float(self._rng.uniform(6, 10)) * (0.55 if label == "bicycle" else 1)
                        self._add(
                            label,
                            lane,
                            block.junction - side * keep,
                            -side * 48.0,
                            speed,
                            side * math.pi / 2,
                            block.number,
                        )

    def step(self, dt: float) -> None:
        """Let dt seconds pass."""
        self.time += dt
        by_lane: dict[tuple[str, int], list[Mover]] = {}
        for m in self.movers:
            by_lane.setdefault(m.lane, []).append(m)
        on_road = [m.s for m in self.movers if m.lane[0] == "zebra" and m.crossing and abs(m.x) < self.road.kerb]
        edge = self.road.kerb
        for m in self.movers:
            if m.lane[0] == "crossing" and abs(m.x) < edge + m.length / 2:
                on_road.append(m.s)
        blocks = {b.number: b for b in self.blocks}
        for lane, row in by_lane.items():
            if lane[0] in ("ahead", "oncoming"):
                self._drive(row, 1 if lane[0] == "ahead" else -1, lane == self.lane, on_road, dt)
            elif lane[0] == "crossing":
                self._cross(row, lane[1], blocks, dt)
        if self.lane not in by_lane:
            self._drive([], 1, True, on_road, dt)
        for m in by_lane.get(("pavement", -1), []) + by_lane.get(("pavement", 1), []):
            m.s += m.v * math.cos(m.heading) * dt
            m.phase += m.v * 4.2 * dt
        for m in by_lane.get(("zebra", -1), []) + by_lane.get(("zebra", 1), []):
            self._walk_across(m, blocks.get(m.block), dt)
        self.ego_s += self.ego_v * dt
        self.turned += self.bend() * self.ego_v * dt
        self.ego_x = self._home + sum(
            a * math.sin(self.time * (0.23 + 0.19 * i) + p) for i, (a, p) in enumerate(self._wander)
        )
        self.movers = [
            m
            for m in self.movers
            if -18 < m.s - self.ego_s < SIGHT + 70 and not (m.lane[0] == "crossing" and abs(m.x) > 50)
        ]
        while self.blocks[0].end < self.ego_s - 25:
            self.blocks.pop(0)
            self._dropped += 1
        while self.blocks[-1].end < self.ego_s + SIGHT + 40:
            self._build()
        self._refill(by_lane, dt)
        self._crossers(dt)

    def _stop(self, s: float, sign: int, v: float, on_road: list[float]) -> float:
        """The distance to the next place where traffic at s must stop, infinite where there is none."""
        best = math.inf
        for block in self.blocks:
            if block.signals and block.light(self.time) != "green":
                line = block.built_end - 4.2 if sign > 0 else block.end + 4.2
                ahead = (line - s) * sign
                if ahead > (-1.0 if block.light(self.time) == "red" and v < 2 else v * v / 9.0):
                    best = min(best, max(ahead, 0.05) if ahead > -1 else math.inf)
        for p in on_road:
            ahead = (p - s) * sign - 5.0
            if ahead > -3.0 and ahead < 60 and ahead > v * v / 14 - 4:
                best = min(best, max(ahead, 0.05))
        return best

    def _drive(self, row: list[Mover], sign: int, with_ego: bool, on_road: list[float], dt: float) -> None:
        """The intelligent driver model along one lane."""
        ordered = sorted(row, key=lambda m: -m.s * sign)
        ego_done = not with_ego
        lead_tail, lead_v = math.inf, 0.0
        for m in ordered:
            if not ego_done and m.s < self.ego_s:
                lead_tail, lead_v = self._drive_ego(lead_tail, lead_v, on_road, dt)
                ego_done = True
            nose = m.s * sign + m.length / 2
            gap = lead_tail - nose
            stop = self._stop(nose * sign, sign, m.v, on_road)
            a = _follow(m.v, m.wish, gap, lead_v) if gap < stop else _follow(m.v, m.wish, stop + 1.5, 0.0)
            m.braking = a < -0.8 or (m.v < 0.3 and a < 0.3)
            m.v = max(0.0, m.v + a * dt)
            m.s += sign * m.v * dt
            if m.label == "bicycle":
                m.phase += m.v * 1.1 * dt
            lead_tail, lead_v = m.s * sign - m.length / 2, m.v
        if not ego_done:
            self._drive_ego(lead_tail, lead_v, on_road, dt)

    def _drive_ego(self, lead_tail: float, lead_v: float, on_road: list[float], dt: float) -> tuple[float, float]:
        nose = self.ego_s + 1.6
        wish = self.ego_wish * (1 + 0.15 * math.sin(self.time * 0.13 + self._wander[2][1]))
        stop = self._stop(nose, 1, self.ego_v, on_road)
        gap = lead_tail - nose
        a = _follow(self.ego_v, wish, gap, lead_v) if gap < stop else _follow(self.ego_v, wish, stop + 1.5, 0.0)
        self.ego_v = max(0.0, self.ego_v + a * dt)
        return self.ego_s - 2.5, self.ego_v

    def _cross(self, row: list[Mover], side: int, blocks: dict[int, Block], dt: float) -> None:
        edge = self.road.kerb + 4.0
        for m in sorted(row, key=lambda m: -m.x * side):
            block = blocks.get(m.block)
            nose = m.x * side + m.length / 2
            lead = min(
                (o.x * side - o.length / 2 - nose for o in row if o.block == m.block and o.x * side > m.x * side),
                default=math.inf,
            )
            if not m.crossing and nose > -edge - 0.5 and block is not None and self._may_cross(block):
                m.crossing = True
            stop = math.inf if m.crossing or nose > -edge + 1 else -edge - nose
            gap = min(lead, stop + 1.5)
            a = _follow(m.v, m.wish, gap, m.v * 0.8 if lead < stop else 0.0)
            m.v = max(0.0, m.v + a * dt)
            m.braking = a < -0.8
            m.x += side * m.v * dt
            if m.label == "bicycle":
                m.phase += m.v * 1.1 * dt

    def _may_cross(self, block: Block) -> bool:
        if block.signals:
            return block.crossing_may_go(self.time)
        if -20 < block.junction - self.ego_s < 6 * self.ego_v + 12:
            return False
        for m in self.movers:
            if m.lane[0] in ("ahead", "oncoming"):
                ahead = (block.junction - m.s) * (1 if m.lane[0] == "ahead" else -1)
                if -12 < ahead < 3.5 * m.v + 12:
                    return False
        return True

    def _walk_across(self, m: Mover, block: Block | None, dt: float) -> None:
        side = m.lane[1]
        if not m.crossing and block is not None:
            at = (self.time + block.clock) % 20.0
            m.crossing = 14.0 < at < 16.5 if block.signals else self._may_cross(block) and at < 1.0
        if m.crossing and m.x * side < self.road.kerb + 1.0:
            m.v = m.wish
            m.x += side * m.v * dt
            m.phase += m.v * 4.2 * dt
        elif m.crossing:
            m.crossing, m.lane, m.heading, m.block = False, ("pavement", side), 0.0 if m.look % 2 else math.pi, -1


def _follow(v: float, wish: float, gap: float, lead_v: float) -> float:
    """The acceleration of the intelligent driver model, in m/s²."""
    free = 1 - (v / max(wish, 0.1)) ** 4
    want = 2.2 + max(0.0, v * 1.2 + v * (v - lead_v) / 4.2)
    return max(-7.5, min(2.0, 1.7 * (free - (want / max(gap, 0.3)) ** 2)))
