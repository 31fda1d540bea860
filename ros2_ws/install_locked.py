"""Installs with pip what requirements.lock pins: these versions, and only files whose SHA-256 stands there.

    python ros2_ws/install_locked.py [--from-system NAME,NAME...] PIP_ARGUMENT...

pip checks hashes by itself only where every requirement names its version, so it first says what it would install, with
the lock's versions as constraints, and then installs these very files. Packages --from-system keep the version that is
there.
"""

import importlib.metadata
import json
import re
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

LOCK = Path(__file__).resolve().parents[1] / "requirements.lock"
FROM_SYSTEM = "--from-system"
# Building runs code before its hash is known: no package may, but the one that has no wheel.
BUILDING = ["--only-binary=:all:", "--no-binary=empy", "--no-build-isolation"]


class NotLockedError(Exception):
    """A file that the lock does not have."""


def normalised(name: str) -> str:
    """A package's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(text: str) -> dict[str, tuple[str, set[str]]]:
    """Version and SHA-256 sums by package."""
    pins: dict[str, tuple[str, set[str]]] = {}
    for block in re.split(r"\n(?=\S)", text):
        if pin := re.match(r"([A-Za-z0-9._-]+)==(\S+)", block):
            pins[normalised(pin[1])] = pin[2], set(re.findall(r"--hash=sha256:([0-9a-f]{64})", block))
    return pins


def constraints(pins: Mapping[str, tuple[str, set[str]]], there: Mapping[str, str]) -> Iterator[str]:
    """The lines of a file of constraints; `there` are the versions of packages that are taken from the system."""
    yield from (f"{name}=={version}" for name, (version, _) in pins.items() if name not in there)
    yield from (f"{name}=={version}" for name, version in there.items() if version)


def check(report: Mapping[str, Any], pins: Mapping[str, tuple[str, set[str]]], free: Collection[str]) -> Iterator[str]:
    """The lines of a file of requirements, with hashes. Raises NotLockedError for a file that is not in the lock."""
    for item in report["install"]:
        name, version = item["metadata"]["name"], item["metadata"]["version"]
        found = item["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256")
        if normalised(name) not in free and found not in pins.get(normalised(name), ("", set()))[1]:
            raise NotLockedError(
                f"{name} {version} from {item['download_info']['url']} has the SHA-256 {found}, which requirements.lock"
                " does not have: another file than this project was tested with; `make lock` makes the lock anew"
            )
        yield f"{name}=={version} --hash=sha256:{found}"


def main(arguments: Sequence[str]) -> int:
    """Install; returns the exit code."""
    names: list[str] = []
    if arguments[:1] == [FROM_SYSTEM]:
        names, arguments = arguments[1].split(","), arguments[2:]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *BUILDING]
    pins = read_lock(LOCK.read_text())
    free = {name for name in pins if any(re.fullmatch(pattern, name) for pattern in names)}
    installed = {normalised(found.name): found.version for found in importlib.metadata.distributions()}
    with TemporaryDirectory() as folder:
        report, listed, required = (Path(folder) / name for name in ("report.json", "constraints.txt", "required.txt"))
        listed.write_text("\n".join(constraints(pins, {name: installed.get(name, "") for name in free})))
        resolve = ["--dry-run", "--report", str(report), "--constraint", str(listed), *arguments]
        if failed := subprocess.run([*pip, *resolve], check=False, stdout=subprocess.DEVNULL).returncode:
            return failed
        try:
            required.write_text("\n".join(check(json.loads(report.read_text()), pins, free)))
        except NotLockedError as error:
            print(f"ros2_ws/install_locked.py: {error}", file=sys.stderr)
            return 1
        if not required.read_text():
            return 0
        return subprocess.run([*pip, "--no-deps", "--require-hashes", "-r", str(required)], check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
