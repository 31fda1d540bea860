"""MEDIC, one of the data sets of MTL-Split's paper: pictures of disasters with four classification tasks each."""

from pathlib import Path

from mtl_split_core.errors import InputError, brief
from mtl_split_core.scene import Truth
from mtl_split_core.text_file import read_text
from mtl_split_lab.data.pictures import MOST_BYTES, Identities, PictureFile, Sieve, check_inside

TASKS = ("damage_severity", "disaster_types", "humanitarian", "informative")


def read_medic(table: Path, images: Path | None = None) -> list[PictureFile]:
    """Read one of MEDIC's tables, tab-separated, with the pictures' paths from the folder `images` or the table's.

    A label that is not given is unknown. What is broken is left out with a warning. Raises InputError for a file
    without anything usable, and where there are no pictures.
    """
    header, *lines = read_text(table, MOST_BYTES).splitlines() or [""]
    columns = header.split("\t")
    tasks = [task for task in TASKS if task in columns]
    if "image_path" not in columns or not tasks or len(set(columns)) < len(columns):
        raise InputError(
            f"{table} has the columns {brief(', '.join(columns))}, expected image_path and some of {', '.join(TASKS)}, "
            "each once"
        )

    def read(line: str) -> dict[str, str]:
        values = line.split("\t")
        if len(values) != len(columns):
            raise ValueError(f"expected {len(columns)} columns instead of {len(values)}")
        return dict(zip(columns, values, strict=True))

    paths = Identities("image_path", lines, lambda line: check_inside(read(line)["image_path"]))
    pictures, sieve = [], Sieve(table)
    for number, line in enumerate(lines, 2):
        with sieve.naming(f"line {number}"):
            path, row = paths.of(line), read(line)
            truth = Truth(classes={task: row[task] for task in tasks if row[task]}, labelled=frozenset())
            pictures.append(PictureFile((images or table.parent) / path, truth))
    return sieve.check(pictures)
