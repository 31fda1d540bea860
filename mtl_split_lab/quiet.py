"""Keeps other libraries' tips, notices and warnings out of our commands' output; their errors stay."""

import logging
import os
import warnings

CATEGORIES = (DeprecationWarning, FutureWarning, UserWarning)
"""What libraries warn of that the user of a command can do nothing about. RuntimeWarning stays: numbers are wrong."""

CHATTY = ("lightning.pytorch", "lightning.fabric", "matplotlib")
"""Loggers with notices that nobody asked for."""

TORCHRL_LEVEL = "RL_LOGGING_LEVEL"
"""The environment variable by which TorchRL sets the level of its own, when it is imported."""


def quieten() -> None:
    """Silence them in this process and those that it starts, unless PYTHONWARNINGS says otherwise.

    Lightning sets its level when it is imported, so this is to be called again after that.
    """
    ignored = ",".join(f"ignore::{category.__name__}" for category in CATEGORIES)
    if os.environ.setdefault("PYTHONWARNINGS", ignored) == ignored:
        for category in CATEGORIES:
            warnings.simplefilter("ignore", category)
    os.environ.setdefault(TORCHRL_LEVEL, logging.getLevelName(logging.ERROR))
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
