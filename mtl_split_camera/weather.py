"""Light and air: what the time of day and the weather do to colours, to the sky, to the ground and to the lens."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from mtl_split_core.scene import Floats, Image, Size

_RGB = tuple[float, float, float]

# ambient light, direct sun, haze, sky at the zenith (blue, green, red), and at what distance in metres haze leaves 37 %
_AIR: dict[tuple[str, str], tuple[_RGB, _RGB, _RGB, _RGB, float]] = {
    ("daytime", "clear"): ((0.62, 0.58, 0.55), (0.42, 0.50, 0.55), (232, 214, 196), (205, 138, 72), 900),
    ("daytime", "overcast"): ((0.76, 0.74, 0.73), (0, 0, 0), (196, 192, 188), (172, 166, 162), 420),
    ("daytime", "rainy"): ((0.60, 0.57, 0.55), (0, 0, 0), (166, 160, 154), (132, 126, 120), 150),
    ("daytime", "foggy"): ((0.74, 0.73, 0.72), (0, 0, 0), (206, 204, 201), (212, 210, 208), 46),
    ("dawn/dusk", "clear"): ((0.36, 0.30, 0.31), (0.10, 0.26, 0.46), (98, 148, 226), (120, 78, 66), 600),
    ("dawn/dusk", "overcast"): ((0.37, 0.33, 0.35), (0, 0, 0), (112, 106, 128), (84, 76, 82), 360),
    ("dawn/dusk", "rainy"): ((0.31, 0.28, 0.28), (0, 0, 0), (94, 84, 92), (68, 60, 62), 140),
    ("dawn/dusk", "foggy"): ((0.36, 0.34, 0.37), (0, 0, 0), (122, 118, 138), (112, 108, 124), 46),
    ("night", "clear"): ((0.155, 0.13, 0.12), (0, 0, 0), (34, 24, 19), (20, 11, 7), 500),
    ("night", "overcast"): ((0.15, 0.145, 0.15), (0, 0, 0), (52, 50, 57), (38, 38, 44), 320),
    ("night", "rainy"): ((0.13, 0.12, 0.125), (0, 0, 0), (38, 34, 37), (22, 20, 23), 130),
    ("night", "foggy"): ((0.16, 0.155, 0.165), (0, 0, 0), (68, 66, 74), (56, 54, 62), 44),
}


@dataclass(frozen=True)
class Air:
    """The light of one street.

    Colours are blue, green, red; sun points to the sun (x, y, z) and is zero where there are no shadows.
    """

    timeofday: str
    weather: str
    ambient: Floats
    sunlight: Floats
    sun: Floats
    haze: Floats
    zenith: Floats
    reach: float
    dark: float
    """0 by day, 1 at night: how much lamps count."""
    lit_windows: float
    wet: bool
    noise: float
    gain: float
    blur: float

    def left(self, distance: float | np.ndarray) -> Floats:
        """The share of a colour that the haze leaves at a distance in metres."""
        return np.exp(np.asarray(distance, np.float32) * np.float32(-1.0 / self.reach))


def draw_air(timeofday: str, weather: str, rng: np.random.Generator) -> Air:
    """The light of a time of day and a weather, varied a little."""
    if (timeofday, weather) not in _AIR:
        raise ValueError(f"timeofday is {timeofday!r} and weather {weather!r}, expected one of {sorted(_AIR)}")
    ambient, sunlight, haze, zenith, reach = (np.array(v, np.float32) for v in _AIR[timeofday, weather])
    balance = rng.uniform(0.95, 1.05, 3).astype(np.float32)
    light = float(rng.uniform(0.9, 1.1))
    night, dusk = timeofday == "night", timeofday == "dawn/dusk"
    turn = float(rng.uniform(-2.2, 2.2))
    high = float(rng.uniform(0.14, 0.25)) if dusk else float(rng.uniform(0.6, 1.1))
    sun = np.array((math.sin(turn) * math.cos(high), math.sin(high), math.cos(turn) * math.cos(high)), np.float32)
    return Air(
        timeofday, weather, ambient * balance * light, sunlight * balance * light, sun * float(sunlight.any()),
        haze * balance * (0.5 + 0.5 * light), zenith * balance, float(reach) * float(rng.uniform(0.8, 1.25)),
        1.0 if night else 0.55 if dusk else 0.25 if weather in ("rainy", "foggy") else 0.0,
        float(rng.uniform(0.25, 0.45)) if night else float(rng.uniform(0.1, 0.25)) if dusk else 0.0, weather == "rainy",
        float(rng.uniform(*((2.5, 4.5) if night else (1.5, 2.8) if dusk else (0.8, 2.0)))),
        float(rng.uniform(0.93, 1.07)), float(rng.uniform(0.35, 0.85)),
    )  # fmt: skip


def clouds(rng: np.random.Generator, rows: int, columns: int, octaves: tuple[tuple[int, int], ...]) -> Floats:
    """Smooth noise of 0 to 1, (rows, columns), that wraps round from right to left."""
    total = np.zeros((rows, columns), np.float32)
    weight, sum_of_weights = 1.0, 0.0
    for r, c in octaves:
        c = min(c, columns)
        grid = rng.random((r, c)).astype(np.float32)
        grid = np.concatenate([grid, grid[:, :3]], 1)
        step = columns // c
        fine = cv2.resize(grid, (step * (c + 3), rows), interpolation=cv2.INTER_CUBIC)
        total += weight * cv2.resize(fine[:, step : step * (c + 1)], (columns, rows))
        sum_of_weights += weight
        weight *= 0.55
    return np.clip(total / sum_of_weights, 0, 1)


def draw_sky(air: Air, scene: str, rng: np.random.Generator, size: Size) -> Image:
    """The sky all round, uint8 (rows, 3 widths, 3): its bottom row is the horizon, with the scene's skyline on it."""
    width, rows = size[0] * 3, int(size[1] * 0.66)
    small = 2  # drawn at half size: skies are smooth
    w, h = width // small, rows // small
    up = np.linspace(1, 0, h, dtype=np.float32)[:, None, None]
    sky = air.haze + (air.zenith - air.haze) * np.clip(up * 1.6, 0, 1) ** 0.7 + np.zeros((h, w, 3), np.float32)
    along = np.arange(w, dtype=np.float32)[None, :]
    azimuth = math.atan2(float(air.sun[0]), float(air.sun[2]))
    where = (azimuth / (2 * math.pi) % 1.0) * w
    apart = np.minimum(np.abs(along - where), w - np.abs(along - where)) / size[0] * small
    if air.sun.any():
        dusk = air.timeofday == "dawn/dusk"
        top = (1 - up[:, :, 0]) * h
        height = np.abs(top - (h - float(air.sun[1]) * h * (1.2 if dusk else 0.8))) / size[0] * small
        glow = np.exp(-(apart**2 + (height * (2.2 if dusk else 1.0)) ** 2) / (0.12 if dusk else 0.06))[:, :, None]
        sky += glow * np.array((30, 95, 150) if dusk else (40, 50, 55), np.float32)
        sky += np.exp(-(apart**2 + height**2) / 0.0009)[:, :, None] * np.float32(160)
    fine = clouds(rng, h, w, ((3, 12), (6, 30), (12, 60), (24, 120), (48, 240)))
    soft = clouds(rng, h, w, ((5, 6), (9, 16), (16, 40)))
    if air.weather == "clear":
        cover = float(rng.uniform(0.47, 0.6))
        alpha = np.clip((fine - cover) * 6, 0, 0.9)[:, :, None] * np.clip(up * 4, 0.15, 1)
        tint = {"daytime": (246, 243, 240), "dawn/dusk": (120, 132, 205), "night": (34, 27, 25)}[air.timeofday]
        sky += (np.array(tint, np.float32) * (0.82 + 0.3 * soft[:, :, None]) - sky) * alpha
        if air.timeofday == "night":
            n = 420
            sky[rng.integers(0, int(h * 0.85), n), rng.integers(0, w, n)] += rng.uniform(40, 190, (n, 1)).astype(
                np.float32
            )
            cv2.circle(sky, (int(rng.integers(w)), int(h * 0.3)), max(2, h // 32), (205, 222, 228), -1, cv2.LINE_AA)
    elif air.weather in ("overcast", "rainy"):
        deep = 0.62 if air.weather == "overcast" else 0.4
        sky *= 1 + deep * ((0.55 * fine + 0.45 * soft)[:, :, None] - 0.5) * np.clip(up * 3, 0.35, 1)
    _skyline(sky, air, scene, rng, h)
    return cv2.resize(np.clip(sky, 0, 255).astype(np.uint8), (width, rows), interpolation=cv2.INTER_LINEAR)


def _skyline(sky: Floats, air: Air, scene: str, rng: np.random.Generator, h: int) -> None:
    w = sky.shape[1]
    left = float(air.left(330.0))
    if left < 0.03:
        return
    for layer in range(3):
        keep = left * (0.45 + 0.2 * layer)
        green = np.array((48, 78, 62) if scene != "city street" else (92, 92, 96), np.float32) * air.ambient
        colour = air.haze + (green - air.haze) * keep
        if scene == "city street":
            x = 0
            while x < w:
                wide = max(1, int(rng.uniform(0.01, 0.035) * w / 2))
                tall = max(1, int(h * rng.uniform(0.04, 0.30 - 0.07 * layer)))
                sky[h - tall :, x : x + wide] = colour * float(rng.uniform(0.92, 1.08))
                if air.lit_windows and layer and keep > 0.2:
                    ys, xs = rng.integers(h - tall, h, 14), rng.integers(x, x + wide, 14) % w
                    sky[ys, xs] = air.haze + (np.array((90, 170, 215), np.float32) - air.haze) * keep * 0.8
                x += wide + int(rng.uniform(0, 0.02) * w)
        else:
            rough = clouds(rng, 2, w, ((2, 10), (2, 40), (2, 160), (2, 640)))[0]
            tall = h * (0.02 + (0.16 - 0.04 * layer) * rough)
            rows = np.arange(h)[:, None]
            mask = rows > h - tall[None, :]
            sky[mask] = (colour * (0.94 + 0.12 * rng.random())).astype(np.float32)


class Lens:
    """What happens to the picture between the street and the file: rain, blur, exposure, noise."""

    def __init__(self, air: Air, rng: np.random.Generator, size: Size) -> None:
        width, height = size
        self._air, self._size = air, size
        tile = rng.standard_normal((256, 256, 3), dtype=np.float32)
        grey = tile.mean(2, keepdims=True) * 1.2
        tile = (cv2.GaussianBlur(tile, (0, 0), 0.6) * 1.3 * 0.7 + grey * 0.7) * air.noise
        tile = np.clip(tile + 32, 0, 64).astype(np.uint8)
        self._noise = np.tile(tile, (height // 256 + 2, width // 256 + 2, 1))
        self._rain = (
            _streaks(rng, (width + 256, height + 256), 0.35 + 0.65 * float(air.ambient.mean())) if air.wet else None
        )
        self._wind = float(rng.uniform(0.15, 0.4))
        self._breath = float(rng.uniform(0, 6.3))

    def look_through(self, picture: Image, rng: np.random.Generator, time: float, speed: float) -> Image:
        """The picture that the camera takes; speed of the camera in m/s. The given picture is spoilt."""
        width, height = self._size
        if self._rain is not None:
            for _ in range(2):
                y, x = int(rng.integers(256)), int(rng.integers(256))
                cv2.add(picture, self._rain[y : y + height, x : x + width], dst=picture)
        if speed > 4:  # the sides stream past
            far, near = width // 14, int(width / 14 * 2.2)
            k = 3 + 2 * int(speed > 18)
            for x0, x1, kernel in (
                (0, far, k + 2),
                (far, near, k),
                (width - near, width - far, k),
                (width - far, width, k + 2),
            ):
                cv2.blur(picture[:, x0:x1], (kernel, 1), dst=picture[:, x0:x1])
        cv2.GaussianBlur(picture, (3, 3), self._air.blur, dst=picture)
        gain = self._air.gain * (1 + 0.03 * math.sin(time * 0.7 + self._breath))
        y, x = int(rng.integers(256)), int(rng.integers(256))
        taken = np.empty_like(picture)
        cv2.addWeighted(picture, gain, self._noise[y : y + height, x : x + width], 1.0, -32.0, dst=taken)
        return taken


def _streaks(rng: np.random.Generator, size: Size, light: float) -> Image:
    width, height = size
    layer = np.zeros((height, width), np.uint8)
    slant = float(rng.uniform(-0.12, 0.12))
    scale = height / 976
    for _ in range(int(width * height / 1900 / scale**2)):
        x, y = float(rng.uniform(0, width)), float(rng.uniform(-20, height))
        long = float(rng.uniform(14, 46)) * scale
        cv2.line(
            layer,
            (int(x), int(y)),
            (int(x + slant * long), int(y + long)),
            int(rng.uniform(22, 75) * light),
            1,
            cv2.LINE_AA,
        )
    return np.repeat(cv2.blur(layer, (1, 3))[:, :, None], 3, 2).astype(np.uint8)
