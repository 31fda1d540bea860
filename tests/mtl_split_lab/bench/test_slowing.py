"""A slowed process gets its part of the time, hears what it is told, and ends as it would."""

import resource
import signal
import subprocess
import sys

import pytest

from mtl_split_core.errors import InputError
from mtl_split_lab.bench.slowing import CannotSlowError, slowed

BUSY = "import time; end = time.monotonic() + 0.5\nwhile time.monotonic() < end: pass"


@pytest.fixture
def slowly() -> list[str]:
    try:
        return slowed(0.25)
    except CannotSlowError as error:
        pytest.skip(str(error))


def test_a_busy_process_gets_its_part_of_the_processor_and_no_more(slowly: list[str]) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*slowly, sys.executable, "-c", BUSY], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # However busy the machine is; what starts Python is in it, too.
    assert after.ru_utime - before.ru_utime < 0.5


def test_an_exit_code_and_a_signal_pass(slowly: list[str]) -> None:
    assert subprocess.run([*slowly, "sh", "-c", "exit 3"], check=False).returncode == 3
    patient = (
        "import signal; signal.signal(signal.SIGINT, lambda *_: exit(7)); print('ready', flush=True); signal.pause()"
    )
    with subprocess.Popen([*slowly, sys.executable, "-c", patient], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        assert process.wait() == 7


def test_full_speed_needs_nothing_and_more_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert slowed(1.0) == []
    with pytest.raises(InputError, match=r"speed is 1\.5, expected above 0 to 1"):
        slowed(1.5)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(CannotSlowError, match="that root"):
        slowed(0.5)
