"""A checkpoint is weights and nothing else; any other file is refused by name."""

from pathlib import Path

import pytest
import torch

from mtl_split_core.errors import InputError
from mtl_split_net.checkpoints import read_checkpoint


class Guest:
    """Something that is no weights."""


def test_weights_come_back(tmp_path: Path) -> None:
    torch.save({"weight": torch.arange(3)}, tmp_path / "weights")
    assert (read_checkpoint(tmp_path / "weights")["weight"] == torch.arange(3)).all()


def test_other_files_are_refused(tmp_path: Path) -> None:
    for name, content in (
        ("empty", b""),
        ("text", b"hello"),
        ("broken", b"PK\x03\x04 and so on"),
        ("marks", b"\x80\x02"),
    ):
        (tmp_path / name).write_bytes(content)
    torch.save(Guest(), tmp_path / "guest")
    for path in tmp_path.iterdir():
        with pytest.raises(InputError, match=f"{path.name} is no checkpoint of weights alone"):
            read_checkpoint(path)
