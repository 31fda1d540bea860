"""MEDIC, one of the data sets of MTL-Split's paper: pictures of disasters with four classification tasks each."""

from pathlib import Path

from mtl_split_core.errors import InputError
from mtl_split_core.scene import Truth
from mtl_split_lab.data.pictures import PictureFile, Sieve

TASKS = ("damage_severity", "disaster_types", "humanitarian", "informative")


def read_medic(table: Path, images: Path | None = None) -> list[PictureFile]:
    """Read one of MEDIC's tables, tab-separated, with the pictures' paths from the folder `images` or the table's.

    A label that is not given is unknown. What is broken is left out with a warning. Raises InputError for a file
    without anything usable, and where there are no pictures.
    """
    try:
        header, *lines = table.read_text().splitlines() or [""]
    except (OSError, ValueError) as error:
        raise InputError(f"{table} is no readable table: {error}") from error
    columns = header.split("\t")
    tasks = [task for task in TASKS if task in columns]
    if "image_path" not in columns or not tasks:
        raise InputError(f"{table} has the columns {columns}, expected image_path and some of {', '.join(TASKS)}")
    pictures, sieve = [], Sieve(table)
    for number, line in enumerate(lines, 2):
        with sieve.naming(f"line {number}"):
            values = line.split("\t")
            if len(values) != len(columns):
                raise ValueError(f"expected {len(columns)} columns instead of {len(values)}")
            row = dict(zip(columns, values, strict=True))
            truth = Truth(classes={task: row[task] for task in tasks if row[task]}, labelled=frozenset())
            pictures.append(PictureFile((images or table.parent) / row["image_path"], truth))
    return sieve.check(pictures)
