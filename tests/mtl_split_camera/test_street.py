"""The simulated street is deterministic, endless, and tells the truth about its pictures."""

import hashlib
import itertools
import os
import subprocess
import sys

import numpy as np
import pytest

from mtl_split_camera import scenery
from mtl_split_camera.painter import MARKING, ROAD, Body, Camera, Canvas, Ground
from mtl_split_camera.street import SCENE, TIMEOFDAY, WEATHER, Street
from mtl_split_camera.weather import draw_air
from mtl_split_camera.world import Block, draw_road
from mtl_split_core.label_map import UNKNOWN
from mtl_split_core.scene import Image, Truth
from mtl_split_lab.data.simulated import street_pictures

OBJECTS = (
    "pedestrian",
    "rider",
    "car",
    "truck",
    "bus",
    "motorcycle",
    "bicycle",
    "traffic light",
    "traffic sign",
)

SMALL = (320, 180)


def fingerprint(picture: Image, truth: Truth) -> str:
    """A hash of every byte of a picture and its truth."""
    parts = (
        picture.tobytes(),
        truth.boxes.tobytes(),
        truth.visible.tobytes(),
        truth.ignore.tobytes(),
        repr((truth.labels, sorted(truth.classes.items()), truth.masks)).encode(),
    )
    return hashlib.sha256(b"".join(parts)).hexdigest()


def drive(seed: int) -> str:
    """The fingerprints of some pictures of a street."""
    street = Street(seed, SMALL)
    street.skip(40)
    return " ".join(fingerprint(*next(street)) for _ in range(3))


def test_the_same_seed_gives_the_same_bytes_in_another_process() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    other = subprocess.run(
        [sys.executable, __file__], capture_output=True, text=True, check=True, env=environment
    ).stdout.strip()
    assert other == f"{drive(11)} {drive(12)}"
    assert drive(11) != drive(12)


@pytest.mark.parametrize("scene", SCENE)
def test_skipping_equals_drawing(scene: str) -> None:
    drawn, skipped = Street(5, SMALL, scene=scene), Street(5, SMALL, scene=scene)
    for _ in range(8):
        next(drawn)
    skipped.skip(8)
    assert fingerprint(*next(drawn)) == fingerprint(*next(skipped))


@pytest.mark.parametrize(("timeofday", "weather", "scene"), list(itertools.product(TIMEOFDAY, WEATHER, SCENE)))
def test_the_truth_of_every_condition_fits_the_picture(timeofday: str, weather: str, scene: str) -> None:
    street = Street(3, SMALL, timeofday=timeofday, weather=weather, scene=scene)
    street.skip(90)
    picture, truth = next(street)
    assert picture.shape == (180, 320, 3) and picture.dtype == np.uint8
    assert truth.classes == {"timeofday": timeofday, "weather": weather, "scene": scene}
    count = len(truth.labels)
    assert truth.boxes.shape == (count, 4) and truth.visible.shape == truth.ignore.shape == (count,)
    assert set(truth.labels) <= set(OBJECTS) and truth.labelled is None
    x1, y1, x2, y2 = truth.boxes.T
    assert (x1 >= 0).all() and (y1 >= 0).all() and (x2 <= 320).all() and (y2 <= 180).all()
    assert (x1 < x2).all() and (y1 < y2).all()
    assert (truth.visible > 0).all() and (truth.visible <= 1).all()
    drivable, marked = (truth.masks[task].indices() for task in ("drivable", "lane_markings"))
    assert drivable.shape == marked.shape == (90, 160)
    assert set(np.unique(drivable)) <= {0, 1, UNKNOWN} and (drivable[80:] == 1).mean() > 0.5
    assert (drivable[marked == 1] == 1).all() and ((marked == UNKNOWN) == (drivable == UNKNOWN)).all()
    must_ignore = (y2 - y1 < 12 * 180 / 720) | (truth.visible < 0.3)
    assert truth.ignore[must_ignore].all()
    if weather in ("clear", "overcast"):
        assert (drivable != UNKNOWN).all()
    if weather != "foggy":
        assert (truth.ignore == must_ignore).all()


def test_every_category_and_class_comes_up() -> None:
    seen: dict[str, set[str]] = {"detection": set(), "timeofday": set(), "weather": set(), "scene": set()}
    for seed in range(16):
        street = Street(seed, SMALL)
        for _ in range(3):
            street.skip(60)
            _, truth = next(street)
            seen["detection"] |= {
                label for label, ignored in zip(truth.labels, truth.ignore, strict=True) if not ignored
            }
        for task, label in truth.classes.items():
            seen[task].add(label)
    assert seen == {
        "detection": set(OBJECTS),
        "timeofday": set(TIMEOFDAY),
        "weather": set(WEATHER),
        "scene": set(SCENE),
    }


def test_what_hides_behind_something_nearer_counts_as_less_visible() -> None:
    rng = np.random.default_rng(1)
    air = draw_air("daytime", "overcast", rng)
    camera = Camera(focal=1000, centre=640, horizon=360, height=1.4, s=0, x=0, bend=0)
    canvas = Canvas((1280, 720), air)
    wall = scenery.block_shape((-2, 2), (0, 3), (-0.1, 0.1), (90, 90, 90))
    painted = canvas.paint(Body(wall, 0.0, air).at(30.0, 0.0), camera, 1)
    assert painted is not None
    box = painted.box
    assert box == pytest.approx((640 - 2000 / 29.9, 360 - 1600 / 29.9, 640 + 2000 / 29.9, 360 + 1400 / 29.9), abs=0.5)
    assert painted.count == pytest.approx((box[2] - box[0]) * (box[3] - box[1]) / 4, rel=0.05)
    seen, fraction = canvas.visible(painted)
    assert fraction == 1 and (seen == box).all()
    # From its left edge, 0.1 m left of the middle, the nearer wall hides all that is behind it.
    canvas.paint(Body(wall, 0.0, air).at(15.0, 1.9), camera, 0)
    seen, fraction = canvas.visible(painted)
    assert 0.4 < fraction < 0.6
    assert seen[2] == pytest.approx(640 - 100 / 14.9, abs=2)
    assert (seen[[0, 1, 3]] == box[[0, 1, 3]]).all()
    canvas.paint(Body(wall, 0.0, air).at(15.0, 0.0), camera, 0)
    assert canvas.visible(painted)[1] == 0


@pytest.mark.parametrize("name", [0, 7])
def test_what_stands_in_front_of_the_road_hides_it(name: int) -> None:
    """Whether or not it has a name of its own."""
    rng = np.random.default_rng(1)
    air, road = draw_air("daytime", "overcast", rng), draw_road("city street", rng)
    camera = Camera(focal=1000, centre=640, horizon=360, height=1.4, s=0, x=0, bend=0)
    canvas = Canvas((1280, 720), air)
    block = Block(0, -10.0, 190.0, 0.0, False, 0.0)
    Ground(1, (1280, 720), road, air).paint(canvas, camera, [block], [], [])
    assert (canvas.names[190:] >= ROAD).mean() > 0.7 and (canvas.names[:175] == 0).all()
    assert 0 < (canvas.names == MARKING).mean() < 0.05
    wall = scenery.block_shape((-1, 1), (0, 3), (-0.1, 0.1), (90, 90, 90))
    canvas.paint(Body(wall, 0.0, air).at(10.0, 0.0), camera, name)
    # Its foot, 1.4 m below the camera and 10 m away, is 140 pixels below the horizon; it is 200 pixels wide.
    assert (canvas.names[200:248, 272:368] == name).all()
    assert (canvas.names[255:] >= ROAD).mean() > 0.9


def test_in_fog_the_road_is_not_known_where_it_is_not_seen() -> None:
    street = Street(3, (640, 360), weather="foggy", timeofday="daytime", scene="highway")
    _, truth = next(street)
    lost = truth.masks["drivable"].indices() == UNKNOWN
    rows = np.flatnonzero(lost.any(axis=1))
    assert len(rows) and rows.min() > 80 and rows.max() < 110  # just below the horizon, which is at half the height


def test_objects_persist_from_picture_to_picture() -> None:
    street = Street(4, timeofday="daytime", weather="clear", scene="city street")
    street.skip(30)
    _, before = next(street)
    followed = missed = 0
    for _ in range(10):
        _, after = next(street)
        for box, label, ignored in zip(before.boxes, before.labels, before.ignore, strict=True):
            if ignored or box[0] < 60 or box[2] > 1220:
                continue
            near = [
                b
                for b, other in zip(after.boxes, after.labels, strict=True)
                if other == label and np.abs(b - box).max() < 25
            ]
            followed, missed = followed + bool(near), missed + (not near)
        before = after
    assert followed > 50 and missed < 0.03 * followed


def test_an_object_is_known_again_by_its_identity() -> None:
    """A light that changes its colour, and what is hidden for a while, stay the same object."""
    for seed, scene in ((4, "city street"), (6, "highway")):
        street = Street(seed, (640, 360), 10.0, scene=scene)
        seen: dict[str, tuple[str, np.ndarray]] = {}
        again = 0
        for _ in range(12):
            _, truth = next(street)
            assert len(truth.ids) == len(truth.labels) and len(set(truth.ids)) == len(truth.ids)
            for identity, label, box in zip(truth.ids, truth.labels, truth.boxes, strict=True):
                assert identity.startswith(f"{seed}/")
                before = seen.get(identity)
                if before is not None:
                    assert before[0] == label
                    again += 1
                seen[identity] = (label, box)
        assert again > 3 * len(seen)


def test_time_passes_in_the_picture() -> None:
    street = Street(8, SMALL)
    first, _ = next(street)
    second, _ = next(street)
    assert (first != second).mean() > 0.2


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeofday": "noon"},
        {"weather": "snowy"},
        {"scene": "tunnel"},
        {"size": (10, 10)},
        {"rate": 0.0},
        {"rate": float("nan")},
    ],
)
def test_bad_arguments_are_named(wrong: dict[str, object]) -> None:
    name, value = next(iter(wrong.items()))
    with pytest.raises(ValueError, match=name) as caught:
        Street(0, **wrong)  # type: ignore[arg-type]
    assert str(value) in str(caught.value)


if __name__ == "__main__":
    print(drive(11), drive(12))


def test_a_row_at_the_horizon_has_a_texture() -> None:
    """This street once drew a row whose distance, rounded, lay beyond the farthest texture."""
    assert len(list(street_pictures(1_000_286))) == 10
