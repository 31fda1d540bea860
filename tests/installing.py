"""The script that installs what is locked, as a module."""

from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "ros2_ws" / "install_locked"

_loader = SourceFileLoader("install_locked", str(SCRIPT))
_spec = spec_from_loader("install_locked", _loader)
assert _spec is not None
install_locked = module_from_spec(_spec)
_loader.exec_module(install_locked)
