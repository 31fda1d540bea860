"""Where the environment asks for security, nothing runs open without a word."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rclpy.impl.implementation_singleton import rclpy_implementation

from mtl_split_core.errors import InputError
from mtl_split_ros import security
from mtl_split_ros.security import ENABLE, ENFORCE, KEYSTORE, PERMISSIVE, STRATEGY, check_security, permitted

from ..processes import PATIENCE

NODE = """
from mtl_split_core.errors import InputError
from mtl_split_ros.process import run

def create():
    raise InputError("created")

raise SystemExit(run(create))
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, domain: int) -> None:
    for variable in (ENABLE, STRATEGY, KEYSTORE):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))


@pytest.mark.parametrize(("variable", "value"), [(ENABLE, "1"), (ENABLE, "True"), (STRATEGY, "enforce")])
def test_a_value_that_ros_would_take_for_the_weaker_one_is_refused(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(InputError, match=f"{variable} is '{value}', expected "):
        check_security()


@pytest.mark.parametrize("value", ["", "false", None])
def test_where_no_security_is_asked_for_nothing_is_tried(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if value is not None:
        monkeypatch.setenv(ENABLE, value)
    monkeypatch.setattr(security, "_problem_with", pytest.fail)
    check_security()


def test_without_keys_a_node_is_refused_or_the_log_says_that_it_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(ENABLE, "true")
    check_security()
    assert "WITHOUT security: ROS_SECURITY_KEYSTORE is not set" in capfd.readouterr().err
    monkeypatch.setenv(KEYSTORE, str(tmp_path))
    check_security(["--ros-args", "--enclave", "/mtl_split/server"])
    assert f"directory '{tmp_path}/enclaves/mtl_split/server' does not exist" in capfd.readouterr().err
    assert STRATEGY not in os.environ
    monkeypatch.setenv(STRATEGY, ENFORCE)
    with pytest.raises(InputError, match="does not exist; it takes a middleware that is built with DDS security"):
        check_security()
    assert os.environ[STRATEGY] == ENFORCE


@pytest.mark.parametrize("strategy", [ENFORCE, PERMISSIVE])
def test_with_keys_that_cannot_be_used_no_node_starts_without_a_word(
    strategy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyPI's middleware refuses any keys; one that has security takes a folder without keys for none."""
    (tmp_path / "enclaves").mkdir()
    process = subprocess.run(
        [sys.executable, "-c", NODE],
        env={**os.environ, ENABLE: "true", KEYSTORE: str(tmp_path), STRATEGY: strategy},
        stderr=subprocess.PIPE,
        timeout=PATIENCE,
        check=False,
        text=True,
    )
    assert process.returncode == 1 and "Traceback" not in process.stderr
    assert "ROS_SECURITY_ENABLE is true, but " in process.stderr
    assert strategy == PERMISSIVE or "created" not in process.stderr


def test_what_permissions_refuse_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = rclpy_implementation.RCLError(
        "Failed to create publisher: no data writer, at /project/src/publisher.cpp:1"
    )
    with pytest.raises(rclpy_implementation.RCLError), permitted("/car1/bottleneck"):
        raise refusal
    monkeypatch.setenv(ENABLE, "true")
    words = "^/car1/bottleneck: Failed to create publisher: no data writer; .* permissions have to allow"
    with pytest.raises(InputError, match=words), permitted("/car1/bottleneck"):
        raise refusal
