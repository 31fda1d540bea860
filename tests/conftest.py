"""Fixtures of the tests over DDS. Every test has a domain of its own, every module a bundle."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from mtl_split_core.bundle import Bundle
from mtl_split_lab.live.processes import free_domain
from mtl_split_ros.graph import DISCOVERY_RANGE, Process

from .processes import PATIENCE, NodeProcess, Probe
from .tiny_bundle import write_tiny_bundle

# On a busy machine an example may take any time.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

os.environ.setdefault(DISCOVERY_RANGE, "LOCALHOST")
# Ray reads it when it is imported, which another library may do before a test starts a cluster.
os.environ.setdefault("RAY_AUTH_MODE", "token")

Start = Callable[..., NodeProcess]

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture
def domain() -> Iterator[int]:
    domain, claim = free_domain()
    with claim:
        yield domain


@pytest.fixture
def probe(domain: int) -> Iterator[Probe]:
    probe = Probe(domain)
    yield probe
    probe.close()


@pytest.fixture
def start(domain: int, tmp_path: Path) -> Iterator[Start]:
    """Starts nodes: `start("edge", "-p", "threads:=1")`. Whatever still runs after the test is killed."""
    processes = []

    def start(name: str, *arguments: str, within: Sequence[str] = (), module: str = "") -> NodeProcess:
        module = module or Process(name, name).module
        processes.append(NodeProcess(module, tmp_path, domain, *arguments, within=within))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        print(process.log)  # pytest shows it where the test failed


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium; where there is none, the test is skipped."""
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("no Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def wait() -> Callable[[Any, str, str], None]:
    """Waits for an expression in a page to be true; Playwright's own way is eval, which a page may forbid."""

    def wait(page: Any, what: str, expression: str) -> None:
        for _ in range(round(PATIENCE * 20)):
            if page.evaluate(expression):
                return
            page.wait_for_timeout(50)
        pytest.fail(f"{what} never came; the page says {page.inner_text('body')!r}")

    return wait
