"""Checkpoints: files of weights, read without running any code that they may hold."""

from pathlib import Path
from typing import Any

import torch

from mtl_split_core.errors import InputError, in_one_line


def read_checkpoint(path: Path) -> Any:
    """Read what torch.save wrote, onto the processor. Raises InputError where there is no file, or another one."""
    if not path.is_file():
        raise InputError(f"no checkpoint at {path}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    # torch takes what is in a file for granted: a damaged one makes it raise anything.
    except Exception as error:
        words = in_one_line(error)[:200] or type(error).__name__
        raise InputError(f"{path} is no checkpoint of weights alone: {words}") from error
