"""What other libraries say of themselves stays out of our output; what we say, and wrong numbers, do not."""

import os
import subprocess
import sys

WARNINGS = """
import logging
import warnings

from mtl_split_lab.quiet import quieten

quieten()
warnings.warn("an old habit", FutureWarning)
warnings.warn("no number", RuntimeWarning)
logging.getLogger("mtl_split_lab").warning("skipped a picture")
"""

LIGHTNING = """
from mtl_split_lab.quiet import quieten

quieten()
import mtl_split_net.vision
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

quieten()
Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)  # tells of the hardware, and of products
rank_zero_warn("a doubt")
"""


def said(script: str, **variables: str) -> str:
    """What a Python script writes to its standard error."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    done = subprocess.run([sys.executable, "-c", script], env=inherited | variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_only_what_matters_is_said() -> None:
    words = said(WARNINGS)
    assert "no number" in words and "skipped a picture" in words and "an old habit" not in words
    assert "an old habit" in said(WARNINGS, PYTHONWARNINGS="default")


def test_lightning_is_silent() -> None:
    assert said(LIGHTNING) == ""
