"""Replay without ROS: deterministic, complete, on every kind of input; and the gate that compares two reports."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mtl_split_camera.street import Street
from mtl_split_core.bundle import Bundle, load_bundle
from mtl_split_core.errors import InputError
from mtl_split_core.halves import EdgeHalf, ServerHalf
from mtl_split_core.share import bundle_folder
from mtl_split_core.tracks import BYTETRACK, Tracks, needed_score
from mtl_split_lab.command import main
from mtl_split_lab.kinds.detection import SHOWN_SCORE
from mtl_split_lab.recordings.inputs import open_input
from mtl_split_lab.recordings.replay import FRAMES, REPORT, default_ways, replay
from mtl_split_lab.scoring.frames import NOTHING_KNOWN, Frame

from ...bags import START, write_bag
from .test_bags import image, picture, truth

TIMES = ("stages_ms", "total_ms")
WAYS = "split,split:coarse,whole,jpeg:50,raw"


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    messages = [one for number in range(12) for one in [("/image_raw", image(number)), *truth(number)]]
    messages.append(("/image_raw", image(12, "unheard of")))
    return write_bag(tmp_path_factory.mktemp("bags") / "bag", messages)


def run(source: Path | str, bundle: Bundle, out: Path, *arguments: str) -> dict[str, Any]:
    main(["replay", str(source), "--bundle", str(bundle.folder), "--out", str(out), *arguments])
    report: dict[str, Any] = json.loads((out / REPORT).read_text())
    return report


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_times(inner) for key, inner in value.items() if key not in TIMES}
    return value


def lines(out: Path) -> list[Any]:
    return [json.loads(line) for line in (out / FRAMES).read_text().splitlines()]


def test_twice_is_the_same_but_for_the_times(tmp_path: Path, bundle: Bundle, bag: Path) -> None:
    one = run(bag, bundle, tmp_path / "one", "--ways", WAYS, "--at-once", "1")
    two = run(bag, bundle, tmp_path / "two", "--ways", WAYS, "--at-once", "3")
    assert without_times(one) == without_times(two) | {"frames_at_once": 1}
    assert list(map(without_times_of_ways, lines(tmp_path / "one"))) == list(
        map(without_times_of_ways, lines(tmp_path / "two"))
    )


def without_times_of_ways(line: dict[str, Any]) -> dict[str, Any]:
    return line | {"ways": without_times(line.get("ways", {}))}


def test_the_report_says_what_the_halves_do(tmp_path: Path, bundle: Bundle, bag: Path) -> None:
    report = run(bag, bundle, tmp_path, "--ways", WAYS)
    edge, server = EdgeHalf(bundle), ServerHalf(bundle)
    payloads = [edge.encode(picture(number)).payload for number in range(12)]
    split = report["ways"]["split"]
    assert (split["frames"], report["refused"]["count"]) == (12, 1)
    assert report["frames_with_truth"] == {"objects": 12, "colour": 12}
    assert split["bytes"] == {
        name: np.percentile([len(payload) for payload in payloads], percentile)
        for name, percentile in (("median", 50), ("p98", 98), ("p99", 99), ("max", 100))
    }
    answers = [line["ways"]["split"]["results"] for line in lines(tmp_path) if "ways" in line]
    for payload, answer in zip(payloads, answers, strict=True):
        results = server.decode(payload, (64, 32))
        assert answer["detection"]["boxes"] == results["detection"].boxes.tolist()  # type: ignore[union-attr]
        assert list(answer["colour"].values()) == results["colour"].scores.tolist()
    red = sum(max(answer["colour"], key=answer["colour"].__getitem__) == "red" for answer in answers)
    assert split["classification"] == {"colour": round(red / 12, 4)}
    assert sum(split["confusion"]["colour"]["red"].values()) == 12
    assert split["stages_ms"].keys() == {"prepare", "prefix", "encode", "decode", "suffix", "post", "track"}
    totals = [sum(line["ways"]["split"]["stages_ms"].values()) for line in lines(tmp_path) if "ways" in line]
    assert split["total_ms"]["p50"] == pytest.approx(np.median(totals), abs=0.01)
    assert report["ways"]["raw"]["bytes"]["max"] == 64 * 32 * 3 and report["ways"]["whole"]["bytes"]["max"] == 0
    assert report["ways"]["raw"]["map50"] == report["ways"]["whole"]["map50"]
    assert report["bundle"]["fingerprint"] == bundle.fingerprint and report["input"]["image topic"] == "/image_raw"
    assert "'unheard of', expected one of bgr8" in report["refused"]["first"][0]
    assert all("results" not in line["ways"]["whole"] for line in lines(tmp_path) if "ways" in line)
    page = (tmp_path / "report.html").read_text()
    for part in (
        "<td>jpeg:50</td>",
        "1 times refused",
        "colour: true labels",
        "data:image/png;base64,",
        "Frames, as split answers them",
        'name="viewport"',
    ):
        assert part in page
    assert "http" not in page.replace("http-equiv", "")  # self-contained


def test_identities_are_those_that_a_server_gives(tmp_path: Path, bundle: Bundle) -> None:
    """Through the same halves and the same tracks, at the server's own threshold."""
    # The brightness of a picture is the score of what the tiny bundle finds in it.
    pictures = [np.full((32, 64, 3), grey, np.uint8) for grey in (230, 60, 90, 20, 120, 60, 200)]
    messages = []
    for number, shown in enumerate(pictures):
        message = image(number)
        message.data = array("B", shown.tobytes())
        messages.append(("/image_raw", message))
    run(write_bag(tmp_path / "drive", messages), bundle, tmp_path / "out", "--ways", "split,whole", "--at-once", "2")
    edge, server = EdgeHalf(bundle), ServerHalf(bundle, score_threshold=needed_score(BYTETRACK, 0.3))
    tracks = Tracks(bundle.tasks, BYTETRACK, 0.3)
    given = []
    for shown, line in zip(pictures, lines(tmp_path / "out"), strict=True):
        results = server.decode(edge.encode(shown).payload, (64, 32))
        live = tracks.follow(results, int(line["frame"]))["detection"]
        offline = line["ways"]["split"]["results"]["detection"]
        assert live.ids == tuple(offline["ids"][: len(live.ids)])
        given.append(live.ids)
    one = (f"{START // 10**6}-1",)
    assert given == [one, (), one, (), one, (), one]
    run(tmp_path / "drive", bundle, tmp_path / "none", "--ways", "split", "--tracking", "none")
    assert all("ids" not in line["ways"]["split"]["results"]["detection"] for line in lines(tmp_path / "none"))


def test_drives_with_identities_are_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["replay", "sim:7:2:4", "--ways", "split", "--out", str(tmp_path)])
    report = json.loads((tmp_path / REPORT).read_text())
    figures = report["ways"]["split"]["tracking"]
    assert report["ways"]["split"]["frames"] == 8 and figures.keys() == {"idf1", "hota", "deta", "assa", "switches"}
    assert 0 < figures["idf1"] <= 1
    assert "| IDF1 | HOTA |" in capsys.readouterr().out
    page = (tmp_path / "report.html").read_text()
    assert "Tracking, whatever the label" in page and "identity switches" in page
    ids = {one for line in lines(tmp_path) for one in line["ways"]["split"]["results"]["detection"]["ids"] if one}
    assert ids and all(one.partition("-")[0] == "0" for one in ids)
    worse = json.loads((tmp_path / REPORT).read_text())
    worse["ways"]["split"]["tracking"]["idf1"] = 0.0
    (tmp_path / "worse.json").write_text(json.dumps(worse))
    with pytest.raises(SystemExit, match="worse: split: IDF1"):
        main(["compare", str(tmp_path / REPORT), str(tmp_path / "worse.json")])
    with pytest.raises(SystemExit) as end:
        main(["replay", "sim:7:2:1", "--out", str(tmp_path)])
    assert end.value.code == 1 and "expected at least 4" in capsys.readouterr().err


def test_every_kind_of_input(tmp_path: Path, bundle: Bundle) -> None:
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    for number in range(3):
        cv2.imwrite(str(folder / "images" / f"{number}.png"), picture(number))
    box = {"category": "thing", "box2d": {"x1": 16, "y1": 8, "x2": 48, "y2": 24}}
    attributes = {"colour": "red", "weather": "clear"}
    entries = [{"name": f"{number}.png", "labels": [box], "attributes": attributes} for number in range(3)]
    (folder / "labels.json").write_text(json.dumps(entries))
    bdd100k = run(folder, bundle, tmp_path / "bdd100k", "--ways", "split")["ways"]["split"]
    assert bdd100k["frames"] == 3 and bdd100k["ap50"] == {"thing": 1.0} and bdd100k["map50_by_size"] == {"small": 1.0}
    coco = {
        "images": [{"id": number, "file_name": f"{number}.png"} for number in range(3)],
        "annotations": [{"image_id": number, "category_id": 7, "bbox": [16, 8, 32, 16]} for number in range(3)],
        "categories": [{"id": 7, "name": "thing"}],
    }
    (folder / "coco.json").write_text(json.dumps(coco))
    assert run(folder / "coco.json", bundle, tmp_path / "coco", "--ways", "split")["ways"]["split"]["map50"] == 1.0
    streets = run("sim:7:3", bundle, tmp_path / "sim", "--ways", "split", "--frames", "2")
    assert streets["ways"]["split"]["frames"] == 2 and streets["input"]["frames"] == 3
    # The street's labels are not this bundle's.
    assert "objects of classes that the bundle does not know" in streets["input"]["skipped"]
    with pytest.raises(InputError, match=r"found coco\.json, labels\.json"):
        open_input(str(folder), bundle.tasks, tmp_path, 1)


def test_masks_of_labelled_pictures_are_scored_with_the_labels_of_their_numbers(tmp_path: Path) -> None:
    street = load_bundle(bundle_folder("street"))
    drawn = run("sim:7:2", street, tmp_path / "drawn", "--ways", "split")
    [folder] = (tmp_path / "drawn" / "pictures").iterdir()

    def figures(*arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = run(folder, street, tmp_path / "out", "--ways", "split", *arguments)["ways"]["split"]
        return found["miou"]

    assert figures("--masks", f"drivable={folder}/masks/drivable") == drawn["ways"]["split"]["miou"]
    swapped = f"drivable={folder}/masks/drivable:drivable area,background"
    assert figures("--masks", swapped)["drivable"] < 0.1
    for masks, words in (("weather=masks", "a segmentation task of the bundle: drivable"), ("drivable=w", "no mask")):
        with pytest.raises(InputError, match=words):
            open_input(str(folder), street.tasks, tmp_path, 1, masks=dict([masks.split("=")]))


@pytest.fixture(scope="module")
def streets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures of simulated streets."""
    folder = tmp_path_factory.mktemp("streets") / "images"
    folder.mkdir()
    for seed in range(4):
        cv2.imwrite(str(folder / f"{seed}.png"), next(Street(seed, (640, 360)))[0])
    return folder


def test_agreement_is_accuracy_where_the_whole_network_is_right(
    streets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What `whole` answered, written down as labels, gives the figures that were called agreement."""
    street = load_bundle(bundle_folder("street"))
    unlabelled = run(f"images:{streets}", street, tmp_path / "unlabelled", "--ways", "whole,split:coarsest,raw")
    printed = capsys.readouterr().out
    assert "agreement, mAP50 |" in printed and "| mAP50" not in printed and "agreement is not accuracy" in printed
    assert unlabelled["frames_with_truth"] == {} and "agreement" not in unlabelled["ways"]["whole"]
    assert all(way["map50"] is None and way["classification"] == {} for way in unlabelled["ways"].values())
    entries = []
    for line in lines(tmp_path / "unlabelled"):
        answer = line["ways"]["whole"]["results"]
        found, _ = answer.pop("detection"), answer.pop("drivable")  # a file of labels has no masks
        shown = [i for i, score in enumerate(found["scores"]) if score >= SHOWN_SCORE]
        boxes = [dict(zip(("x1", "y1", "x2", "y2"), found["boxes"][i], strict=True)) for i in shown]
        objects = [{"category": found["labels"][i], "box2d": box} for i, box in zip(shown, boxes, strict=True)]
        classes = {task: max(scores, key=scores.__getitem__) for task, scores in answer.items()}
        entries.append({"name": Path(line["frame"]).name, "labels": objects, "attributes": classes})
    assert sum(len(entry["labels"]) for entry in entries) > 4
    (tmp_path / "labels.json").write_text(json.dumps(entries))
    arguments = "--ways", "split:coarsest,whole", "--images", str(streets)
    labelled = run(tmp_path / "labels.json", street, tmp_path / "labelled", *arguments)
    assert "| mAP50" in capsys.readouterr().out
    agreement, accuracy = unlabelled["ways"]["split:coarsest"]["agreement"], labelled["ways"]["split:coarsest"]
    assert 0.5 < agreement.pop("miou")["drivable"] < 1 and agreement.pop("iou").keys() == {"drivable"}
    assert agreement == {key: accuracy[key] for key in agreement} and 0 < agreement["map50"] < 1
    assert labelled["ways"]["whole"]["map50"] == unlabelled["ways"]["raw"]["agreement"]["map50"] == 1.0


def test_a_departure_from_the_whole_network_is_shown_and_judged(streets: Path, tmp_path: Path) -> None:
    street = load_bundle(bundle_folder("street"))
    report = run(streets, street, tmp_path, "--ways", "split:coarsest,whole")
    before = write_report(tmp_path / "before.json", report)
    report["ways"]["split:coarsest"]["agreement"]["map50"] = 0.01
    after = write_report(tmp_path / "after.json", report)
    main(["compare", str(after), str(before)])
    with pytest.raises(SystemExit, match="worse: split:coarsest: agreement, mAP50"):
        main(["compare", str(before), str(after)])
    page = (tmp_path / "report.html").read_text()
    assert "the departures of split:coarsest from whole" in page and "which is not accuracy" in page
    run(streets / "0.png", street, tmp_path, "--ways", "split")
    page = (tmp_path / "report.html").read_text()
    assert "nothing is known; with whole among the ways" in page and "Agreement" not in page


def test_what_is_not_labelled_is_replayed(tmp_path: Path, bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "pictures" / "deep"
    folder.mkdir(parents=True)
    video = cv2.VideoWriter(str(tmp_path / "drive.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10.0, (64, 32))
    for number in range(6):
        cv2.imwrite(str(folder / f"{number}.png"), picture(number))
        video.write(np.full((32, 64, 3), 200, np.uint8))
    video.release()
    (folder / "6.png").write_bytes(b"no picture")
    write_bag(tmp_path / "bag", [("/image_raw", image(number)) for number in range(5)])
    for name, kind, frames in (
        ("pictures", "images", 6), ("pictures/deep/0.png", "", 1), ("drive.mp4", "video", 6), ("bag", "", 5)
    ):  # fmt: skip
        for prefix in {"", kind and f"{kind}:"}:
            report = run(f"{prefix}{tmp_path / name}", bundle, tmp_path / "out", "--ways", "split,whole")
            split = report["ways"]["split"]
            assert (split["frames"], report["frames_with_truth"]) == (frames, {}), name
            assert split["agreement"]["classification"].keys() == {"colour"}
            assert ("tracking" in split["agreement"]) == (name in ("drive.mp4", "bag")), name
            assert ("1 times refused, such as" in capsys.readouterr().out) == (name == "pictures"), name
    stamps = [frame.stamp for frame in open_input(str(tmp_path / "drive.mp4"), bundle.tasks, tmp_path, 1)]
    assert stamps == [number * 10**8 for number in range(6)]


def test_a_video_that_is_cut_short_says_so(
    tmp_path: Path, bundle: Bundle, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    video = cv2.VideoWriter(str(tmp_path / "drive.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (64, 32))
    for number in range(5):
        video.write(picture(number))
    video.release()
    monkeypatch.setattr("mtl_split_camera.sources.frame_count", lambda _: 50)
    report = run(tmp_path / "drive.avi", bundle, tmp_path / "out", "--ways", "split")
    assert report["ways"]["split"]["frames"] == 5 and report["input"]["rate"] == "10 frames/s"
    assert "of 50 frames that it promises, 5 can be read" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["nowhere", "picture.png", "sim:1", "nowhere.json"])
def test_nothing_to_replay(name: str, bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected"):
        open_input(name, bundle.tasks, tmp_path, 1)


class Broken:
    """An input of frames that cannot be read."""

    name, count = "broken", 2

    def __init__(self) -> None:
        self.facts: dict[str, str] = {}
        self.skipped: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Frame]:
        def read() -> Any:
            raise InputError("burnt")

        yield from [Frame(str(number), NOTHING_KNOWN, read) for number in range(2)]


def test_no_usable_frame_is_an_error(tmp_path: Path, bundle: Bundle) -> None:
    with pytest.raises(InputError, match="no frame could be used: 0: burnt"):
        replay(bundle, Broken(), ["split"], tmp_path, 1200, 1, threading.Event())
    with pytest.raises(InputError, match="way is 'pigeon', expected split"):
        replay(bundle, Broken(), ["pigeon"], tmp_path, 1200, 1, threading.Event())


def test_the_default_ways_are_all_of_them(bundle: Bundle) -> None:
    ways = default_ways(bundle)
    assert ways[:3] == ["split", "split:coarse", "split:fine"] and {"whole", "raw"} < set(ways)


def test_an_interrupted_replay_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mtl_split_lab.command", "replay", "sim:9:40", "--out", str(tmp_path)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )
    out = tmp_path / FRAMES
    while process.poll() is None and not (out.exists() and out.stat().st_size):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output.decode()
    report = json.loads((tmp_path / REPORT).read_text())
    assert report["interrupted"] and 1 <= report["ways"]["split"]["frames"] < 40
    assert "interrupted before the end" in (tmp_path / "report.html").read_text()


def test_a_gate_of_two_reports(tmp_path: Path, bundle: Bundle, bag: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = run(bag, bundle, tmp_path, "--ways", "split,whole")
    before, after = tmp_path / REPORT, tmp_path / "after.json"
    main(["compare", str(before), str(before)])
    assert "| split | mAP50 |" in capsys.readouterr().out
    better, dearer = dict(report["ways"]["split"]), dict(report["ways"]["split"])
    better["classification"] = {"colour": 1.0}
    dearer["bytes"] = {"median": 1e6}
    unknown = {**report["ways"]["split"], "map50": None}
    seen = {**report["ways"]["split"], "miou": {"drivable": 0.9}}
    write_report(after, report, split=better)
    main(["compare", str(before), str(after)])
    for one, other, words in (
        (after, before, "split: colour 100.0"),
        (before, write_report(tmp_path / "1", report, split=dearer), "split: bytes"),
        (before, write_report(tmp_path / "2", report, split=unknown), "split: mAP50 is missing"),
        (write_report(tmp_path / "seen", report, split=seen), before, "split: drivable, mIoU is missing"),
        (before, write_report(tmp_path / "3", report | {"interrupted": True}), "interrupted"),
        (before, write_report(tmp_path / "4", report | {"refused": {"count": 9}}), "refused frames 1 -> 9"),
        (before, write_report(tmp_path / "5", report | {"ways": {"split": better}}), "whole is missing"),
        (before, write_report(tmp_path / "6", report, whole={**dearer, "frames": 3}), "frames 12 -> 3"),
    ):
        with pytest.raises(SystemExit, match=f"worse: .*{words}"):
            main(["compare", str(one), str(other)])
    with pytest.raises(SystemExit):
        main(["compare", str(before), str(write_report(tmp_path / "7", report | {"input": {"frames": 5}}))])
    assert "different inputs: 13 and 5 frames" in capsys.readouterr().err
    whole = report | {"refused": {"count": 0}}
    write_report(before, whole)
    for other, words in (
        (write_report(tmp_path / "8", whole, split={**better, "frames": 13}), "frames: 12 and 13"),
        (write_report(tmp_path / "9", whole | {"frames_with_truth": {"objects": 3}}), "frames with truth"),
    ):
        with pytest.raises(SystemExit):
            main(["compare", str(before), str(other)])
        assert f"the reports are of different {words}" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        main(["compare", str(before), str(bag / "metadata.yaml")])
    assert end.value.code == 1 and "is no report of `mtl-split replay`" in capsys.readouterr().err


def write_report(path: Path, report: dict[str, Any], **ways: Any) -> Path:
    path.write_text(json.dumps(report | {"ways": report["ways"] | ways}))
    return path


def test_a_way_that_cannot_send_a_frame_does_not_keep_the_others_from_it(tmp_path: Path) -> None:
    main(["replay", "sim:7:2", "--ways", "whole,split", "--max-payload-bytes", "64", "--out", str(tmp_path)])
    report = json.loads((tmp_path / REPORT).read_text())
    assert report["ways"]["whole"]["frames"] == 2 and report["ways"]["split"]["frames"] == 0
    assert report["refused"]["count"] == 2 and "split: the picture takes" in report["refused"]["first"][0]
