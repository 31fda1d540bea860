"""Fixtures of the tests over DDS. Every test has a domain of its own, every module a bundle."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import settings

from mtl_split_core.bundle import Bundle
from mtl_split_lab.live.processes import free_domain
from mtl_split_ros.graph import DISCOVERY_RANGE, Process

from .processes import NodeProcess, Probe
from .tiny_bundle import write_tiny_bundle

# On a busy machine an example may take any time.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

os.environ.setdefault(DISCOVERY_RANGE, "LOCALHOST")

Start = Callable[..., NodeProcess]


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
