"""Every node has the package's settings of Fast DDS, however it is started, unless its user has chosen others."""

import re
from pathlib import Path

import pytest

from mtl_split_core.group import FIND
from mtl_split_core.share import fast_dds_profile
from mtl_split_ros.fast_dds import PROFILES_FILE, environment

from ..conftest import Start
from ..processes import Probe

SEGMENT = 16 * 2**20
"""Bytes of shared memory that the settings ask for; by default Fast DDS takes half a megabyte."""


@pytest.mark.parametrize(
    ("given", "added"),
    [
        ({}, "FASTDDS"),
        ({"ROS_DISTRO": "kilted"}, "FASTDDS"),
        ({"ROS_DISTRO": "jazzy"}, "FASTRTPS"),
        ({"FASTRTPS_DEFAULT_PROFILES_FILE": "mine.xml"}, None),
        ({"ROS_DISTRO": "jazzy", "FASTDDS_DEFAULT_PROFILES_FILE": "mine.xml"}, None),
    ],
)
def test_fast_dds_finds_its_settings_in_every_distribution(
    given: dict[str, str], added: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*PROFILES_FILE, "ROS_DISTRO"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert list(environment()) == ([f"{added}_DEFAULT_PROFILES_FILE"] if added else [])


def test_nodes_over_a_link_have_settings_of_their_own_unless_the_user_has_chosen_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ROS_DISTRO", raising=False)
    monkeypatch.delenv(PROFILES_FILE[1], raising=False)
    monkeypatch.setenv(PROFILES_FILE[0], str(fast_dds_profile()))
    assert environment(over_link=True) == {PROFILES_FILE[0]: str(fast_dds_profile(over_link=True))}
    monkeypatch.setenv(PROFILES_FILE[0], "mine.xml")
    assert environment(over_link=True) == {}


def test_the_settings_over_a_link_differ_in_the_lease_alone() -> None:
    """The lease outlasts several announcements that get lost, and a server that is started again, which all still take
    for alive, knows the others before it takes vehicles, even where one of theirs gets lost.
    """
    texts = [fast_dds_profile(over_link).read_text() for over_link in (False, True)]
    near, far = (re.sub(r"\s*<!--.*?-->", "", text, flags=re.DOTALL) for text in texts)
    lease = re.compile(r"<leaseAnnouncement>.*</leaseDuration>", re.DOTALL)
    assert near != far and lease.sub("", near) == lease.sub("", far)
    for text in (near, far):
        announced, lasts = (
            sum(float(each) * scale for kind, scale in (("sec", 1.0), ("nanosec", 1e-9)) for each in found(kind, part))
            for part in lease.findall(text)[0].split("</leaseAnnouncement>")
        )
        assert lasts >= 3 * announced > 0
        assert 2 * announced <= FIND - 1.0


def found(kind: str, text: str) -> list[str]:
    return re.findall(rf"<{kind}>(\d+)</{kind}>", text)


def mapped_segments(pid: int) -> list[int]:
    """The sizes of the segments of shared memory that a process has mapped."""
    lines = re.findall(r"^(\w+)-(\w+) .*/fastdds_[0-9a-f]{16}$", Path(f"/proc/{pid}/maps").read_text(), re.MULTILINE)
    return [int(end, 16) - int(begin, 16) for begin, end in lines]


def test_a_node_that_is_started_by_hand_has_them_too(
    start: Start, probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in PROFILES_FILE:
        monkeypatch.delenv(name, raising=False)
    camera = start("camera", "-p", "width:=320", "-p", "height:=180")
    probe.wait_for("the camera's topic", lambda: probe.node.count_publishers("/image_raw"))
    assert max(mapped_segments(camera.pid)) >= SEGMENT
