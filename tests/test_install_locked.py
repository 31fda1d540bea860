"""What is installed is what the lock has, file by file."""

from typing import Any

import pytest

from .installing import install_locked

OURS, OTHER = "a" * 64, "b" * 64
LOCK = f"""# A comment.
Some_Package==1.2.3 \\
    --hash=sha256:{OURS} \\
    --hash=sha256:{"c" * 64}
numpy==2.4.6 \\
    --hash=sha256:{OURS}
"""


def report(name: str, digest: str | None) -> dict[str, Any]:
    """What pip would install: one file."""
    hashes = {} if digest is None else {"archive_info": {"hashes": {"sha256": digest}}}
    return {"install": [{"metadata": {"name": name, "version": "1.2.3"}, "download_info": {"url": "file:x", **hashes}}]}


def test_the_lock_is_read() -> None:
    pins = install_locked.read_lock(LOCK)
    assert pins == {"some-package": ("1.2.3", {OURS, "c" * 64}), "numpy": ("2.4.6", {OURS})}


def test_a_file_of_the_lock_is_installed_by_its_hash() -> None:
    lines = install_locked.check(report("some.package", OURS), install_locked.read_lock(LOCK), ())
    assert [*lines] == [f"some.package==1.2.3 --hash=sha256:{OURS}"]


@pytest.mark.parametrize(("name", "digest"), [("some-package", OTHER), ("some-package", None), ("unknown", OURS)])
def test_any_other_file_is_refused(name: str, digest: str | None) -> None:
    with pytest.raises(install_locked.NotLockedError, match=f"{name} 1.2.3 from file:x .* does not have"):
        [*install_locked.check(report(name, digest), install_locked.read_lock(LOCK), ())]


def test_what_the_system_has_keeps_its_version() -> None:
    pins = install_locked.read_lock(LOCK)
    assert [*install_locked.constraints(pins, {"numpy": "1.26.4"})] == ["some-package==1.2.3", "numpy==1.26.4"]
    assert [*install_locked.constraints(pins, {"numpy": ""})] == ["some-package==1.2.3"]
    assert [*install_locked.check(report("numpy", OTHER), pins, {"numpy"})] == [f"numpy==1.2.3 --hash=sha256:{OTHER}"]
