"""FACES, one of the data sets of MTL-Split's paper: portraits whose file names say age, gender and expression."""

import re
from pathlib import Path

from mtl_split_core.errors import InputError
from mtl_split_core.scene import Truth
from mtl_split_lab.data.pictures import PictureFile, Sieve

AGES = {"y": "young", "m": "middle-aged", "o": "old"}
GENDERS = {"f": "female", "m": "male"}
EXPRESSIONS = {"a": "anger", "d": "disgust", "f": "fear", "h": "happiness", "n": "neutrality", "s": "sadness"}


def read_faces(folder: Path) -> list[PictureFile]:
    """Read the labels of a folder of pictures with names such as 004_o_m_a_a.jpg, in the order of their names.

    The parts are the person, the age, the gender, the expression and the set, a or b. Pictures with other names are
    left out with a warning. Raises InputError where no picture is left.
    """
    pictures, sieve = [], Sieve(folder)
    for path in sorted(folder.glob("*.jpg")):
        with sieve.naming(path.name):
            match = re.fullmatch(r"\d+_([ymo])_([fm])_([adfhns])_[ab]", path.stem)
            if not match:
                raise ValueError("expected a name such as 004_o_m_a_a.jpg")
            age, gender, expression = match.groups()
            classes = {"age": AGES[age], "gender": GENDERS[gender], "expression": EXPRESSIONS[expression]}
            pictures.append(PictureFile(path, Truth(classes=classes, labelled=frozenset())))
    if not pictures and not any(folder.glob("*.jpg")):
        raise InputError(f"{folder} has no pictures named as those of FACES; of others, give the file of labels")
    return sieve.check(pictures)
