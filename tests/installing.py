"""The script that installs what is locked, as a module."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "ros2_ws" / "install_locked.py"

_spec = spec_from_file_location("install_locked", SCRIPT)
assert _spec is not None and _spec.loader is not None
install_locked = module_from_spec(_spec)
_spec.loader.exec_module(install_locked)
