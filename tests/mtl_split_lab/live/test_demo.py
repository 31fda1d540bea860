"""The whole demonstration in processes of its own, as `make demo` starts it: what it leaves behind, and how it ends."""

import asyncio
import json
import os
import select
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import pytest

from mtl_split_core.bundle import Bundle
from mtl_split_lab.live.processes import claim_domain

from ...conftest import Start
from ...mtl_split_watch.pages import News, opened
from ...processes import PATIENCE

SMALL = ("--width", "640", "--height", "360")

PROGRAM = ("-m", "mtl_split_lab.live.demo")

WITH_A_FULL_DISK = """
from rosbags.rosbag2 import Writer
from mtl_split_lab.live.demo import main

def fail(*_):
    raise OSError("no space left on device")

Writer.{step} = fail
raise SystemExit(main())
"""

IN_A_TERMINAL = """
import pty, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also where nohup runs the tests
pty.spawn([sys.executable, "-m", "mtl_split_lab.live.demo", *sys.argv[1:]])
"""


class Demo:
    """A demonstration that runs; it and everything it starts carry a mark in their environment."""

    def __init__(self, out: Path, program: Sequence[str], *arguments: str, **environment: str) -> None:
        self.out = out
        self._mark = f"MTL_SPLIT_TEST={uuid.uuid4()}"
        name, _, value = self._mark.partition("=")
        inherited = {key: value for key, value in os.environ.items() if key != "ROS_DOMAIN_ID"}
        self.process = subprocess.Popen(
            [sys.executable, *program, "--out", str(out), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**inherited, **environment, name: value, "PYTHONUNBUFFERED": "1"},
        )

    def read_until(self, part: str) -> None:
        """Wait for a line of output that has `part` in it."""
        assert self.process.stdout
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if part in line:
                return
        pytest.fail(f"ended without saying {part!r}: {''.join(lines)}")

    def end(self) -> tuple[int, str]:
        """Wait for the end; returns the exit code and the rest of the output."""
        output, _ = self.process.communicate(timeout=60)
        return self.process.returncode, output

    def summary(self) -> dict:
        summary: dict = json.loads((self.out / "summary.json").read_text())
        return summary

    def nodes(self) -> dict[str, int]:
        """The processes that carry the mark, by module: their process ids."""
        nodes = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if self._mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                    words = (folder / "cmdline").read_text().split("\0")
                    nodes[words[words.index("-m") + 1]] = int(folder.name)
            except (OSError, ValueError):
                continue  # ended meanwhile, or is no node
        return nodes


StartDemo = Callable[..., Demo]


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[StartDemo]:
    """Starts a demonstration, and kills whatever is left of it after the test."""
    demos: list[Demo] = []

    def start(*arguments: str, program: Sequence[str] = PROGRAM, **environment: str) -> Demo:
        demos.append(Demo(tmp_path / "out", program, *arguments, **environment))
        return demos[-1]

    yield start
    for each in demos:
        for process in each.nodes().values():
            os.kill(process, signal.SIGKILL)
        each.process.kill()
        each.process.wait()


def test_the_shipped_bundle_on_the_simulated_street(demo: StartDemo) -> None:
    run = demo("--source", "sim:5", "--frames", "40", "--rate", "10", *SMALL)
    code, output = run.end()
    assert code == 0, output
    assert run.nodes() == {}

    summary = run.summary()
    assert summary["frames_sent"] + summary["frames_sent_before_discovery"] == 40
    assert summary["results"].keys() == {"detection", "timeofday", "weather", "scene", "drivable"}
    assert summary["results_ratio"] == min(summary["results"].values()) / summary["frames_sent"]
    assert summary["results_ratio"] >= 0.9
    assert summary["latency_ms"].keys() == {"p50", "p95", "p99"}
    stages = {"image_transport", "prepare", "prefix", "encode", "link", "decode", "suffix", "post"}
    assert stages <= summary["stages_ms"].keys()
    assert summary["bytes_per_frame"].keys() == {"median", "p95", "max"}
    assert summary["jpeg_bytes_per_frame"]["median"] > summary["bytes_per_frame"]["median"]
    assert summary["accuracy"].keys() >= {"map50", "map", "classification"}
    assert summary["accuracy"]["classification"].keys() == {"timeofday", "weather", "scene"}
    assert summary["pictures_lost"] == 0

    for label in ("pedestrian", "traffic sign", "dawn/dusk", "foggy", "residential"):
        assert label in output
    video = cv2.VideoCapture(str(run.out / "annotated.mp4"))
    frames = 0
    while video.read()[0]:
        frames += 1
    assert frames == summary["frames_sent"]
    assert cv2.imread(str(run.out / "contact_sheet.png")) is not None


def test_the_page_shows_the_demonstration(demo: StartDemo, bundle: Bundle) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    run = demo("--frames", "0", "--bundle", str(bundle.folder), "--watch", str(port), *SMALL)
    run.read_until("results/s")

    async def look() -> News:
        async with opened(f"http://127.0.0.1:{port}/") as page:
            return await page.find(lambda news: news.vehicle("/").get("picture", {}).get("answers"))

    assert asyncio.run(look()).pictures.keys() == {"/"}
    run.process.send_signal(signal.SIGINT)
    code, output = run.end()
    assert code == 0, output
    assert run.nodes() == {}
    stages = run.summary()["stages_ms"]
    assert "convert" in stages and "draw" not in stages, "what the page costs is no stage of a frame"


def test_ctrl_c_ends_everything_and_still_reports(demo: StartDemo, bundle: Bundle) -> None:
    run = demo("--frames", "0", "--bundle", str(bundle.folder), *SMALL)
    run.read_until("results/s")
    assert run.nodes().keys() >= {"mtl_split_camera.node", "mtl_split_edge.node", "mtl_split_server.node"}
    run.process.send_signal(signal.SIGINT)
    code, output = run.end()
    assert code == 0, output
    assert run.nodes() == {}
    assert run.summary()["results"].keys() == {"detection", "colour"}


def test_closing_the_terminal_ends_everything_and_still_reports(demo: StartDemo, bundle: Bundle) -> None:
    run = demo("--frames", "0", "--bundle", str(bundle.folder), *SMALL, program=("-c", IN_A_TERMINAL))
    run.read_until("results/s")
    within = os.pidfd_open(run.nodes()[PROGRAM[1]])
    run.process.kill()
    ended, _, _ = select.select([within], [], [], PATIENCE)
    os.close(within)
    assert ended and run.nodes() == {}
    assert run.summary()["results"].keys() == {"detection", "colour"}


def test_a_dead_node_ends_the_demonstration_and_is_named(demo: StartDemo, bundle: Bundle) -> None:
    run = demo("--frames", "0", "--bundle", str(bundle.folder), *SMALL)
    run.read_until("results/s")
    os.kill(run.nodes()["mtl_split_edge.node"], signal.SIGKILL)
    code, output = run.end()
    assert code == 1
    assert "the edge ended with exit code -9" in output
    assert run.nodes() == {}
    assert run.summary()["frames_sent"] > 0, "what was recorded until then is reported"


@pytest.mark.parametrize(("step", "frames"), [("write", 0), ("close", 20)])
def test_a_bag_that_cannot_be_written_is_one_clear_error(
    demo: StartDemo, bundle: Bundle, tmp_path: Path, step: str, frames: int
) -> None:
    program = ("-c", WITH_A_FULL_DISK.format(step=step))
    arguments = ("--frames", str(frames), "--bundle", str(bundle.folder), *SMALL)
    run = demo(*arguments, "--record", str(tmp_path / "bag"), program=program)
    code, output = run.end()
    assert code == 1
    assert output.count("cannot write the bag: no space left on device") == 1 and "Traceback" not in output
    assert run.nodes() == {}
    # Only a bag that cannot be begun leaves nothing to report.
    assert step == "write" or run.summary()["frames_sent"] > 0


def test_a_source_that_cannot_be_shown_is_named(demo: StartDemo, bundle: Bundle) -> None:
    code, output = demo("--source", "video:/no/such/video.mp4", "--bundle", str(bundle.folder)).end()
    assert code == 1
    assert "no video file at /no/such/video.mp4" in output


def test_somebody_elses_camera(demo: StartDemo, bundle: Bundle, start: Start, domain: int) -> None:
    remap = ("-r", "image_raw/compressed:=/front/image/compressed")
    start("camera", "-p", "width:=320", "-p", "height:=180", "-p", "compressed:=true", *remap)
    arguments = ("--source", "topic:/front/image/compressed", "--frames", "10", "--bundle", str(bundle.folder))
    run = demo(*arguments, ROS_DOMAIN_ID=str(domain))
    code, output = run.end()
    assert code == 0, output
    assert run.summary()["frames_sent"] == 10
    assert run.summary()["accuracy"] is None or "classification" not in run.summary()["accuracy"]


def test_nodes_that_run_already_are_recorded_in_their_namespace(
    demo: StartDemo, bundle: Bundle, start: Start, domain: int
) -> None:
    own = ("-r", "__ns:=/car1", "-p")
    start("server", "-p", f"bundle:={bundle.folder}", "-p", "vehicles:=[car1, car2]")
    start("edge", *own, f"bundle:={bundle.folder}")
    start("camera", *own, "width:=320", "-p", "height:=180")
    arguments = ("--attach", "--bundle", str(bundle.folder), "--ros-args", "-r", "__ns:=/car1")
    run = demo(*arguments, ROS_DOMAIN_ID=str(domain))
    run.read_until("results/s")
    assert run.nodes().keys() == {"mtl_split_lab.live.demo"}, "it starts none"
    run.process.send_signal(signal.SIGINT)
    code, output = run.end()
    assert code == 0, output
    assert run.summary()["frames_sent"] > 0


def test_a_camera_that_is_not_there_is_named(demo: StartDemo, bundle: Bundle, domain: int) -> None:
    arguments = ("--source", "topic:/front/image", "--timeout", "5", "--bundle", str(bundle.folder))
    code, output = demo(*arguments, ROS_DOMAIN_ID=str(domain)).end()
    assert code == 1
    assert "/front/image: published by nobody" in output
    assert "waiting for /front/image" in output, "what the edge itself reports"


def test_a_bundle_that_is_not_there_is_named(demo: StartDemo, tmp_path: Path) -> None:
    code, output = demo("--bundle", str(tmp_path / "missing")).end()
    assert code == 1
    assert str(tmp_path / "missing") in output


def test_a_folder_that_cannot_be_written_is_named(demo: StartDemo, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    code, output = demo().end()
    assert code == 1
    assert str(tmp_path / "out") in output and "Traceback" not in output


def test_two_claims_never_get_the_same_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", "")
    claims, domains = [], []
    for _ in range(20):
        claims.append(claim_domain())
        domains.append(os.environ["ROS_DOMAIN_ID"])
    assert len(set(domains)) == len(domains)
    for claim in claims:
        claim.close()
