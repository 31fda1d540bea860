"""Checkpoints: files of weights, read without running any code that they may hold."""

import pickle
from pathlib import Path
from typing import Any

import torch

from mtl_split_core.errors import InputError


def read_checkpoint(path: Path) -> Any:
    """Read what torch.save wrote, onto the processor. Raises InputError where there is no file, or another one."""
    if not path.is_file():
        raise InputError(f"no checkpoint at {path}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, KeyError, RuntimeError) as error:
        raise InputError(f"{path} is no checkpoint of weights alone: {str(error)[:200]}") from error
