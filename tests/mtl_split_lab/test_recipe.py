"""A recipe is refused at once, and in one line, where a value would be wrong, without effect, or harmful."""

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from mtl_split_core.errors import InputError
from mtl_split_lab.portion import Portion
from mtl_split_lab.recipe import RECIPES, load_recipe, name_portions

STREET = yaml.safe_load((RECIPES / "street.yaml").read_text())
TASK = STREET["tasks"][0]


def refusal(file: Path, written: str | bytes) -> str:
    """What a recipe is refused with."""
    file.write_bytes(written if isinstance(written, bytes) else written.encode())
    with pytest.raises(InputError) as refused:
        load_recipe(file)
    message = str(refused.value)
    assert "\n" not in message and len(message) < 1000 + len(str(file))
    return message


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"weight_decay": -5}, "weight_decay: Input should be greater than or equal to 0, got -5"),
        ({"weight_decay": float("inf")}, "weight_decay: Input should be a finite number, got inf"),
        ({"learning_rate": float("nan")}, "learning_rate: Input should be a finite number, got nan"),
        ({"name": ""}, "name: '' is no name: expected 1 to 100 letters"),
        ({"name": "a/b"}, "name: 'a/b' is no name"),
        ({"name": ".."}, "name: '..' is no name"),
        ({"name": "two\nlines"}, "is no name"),
        ({"crop_epochs": 11}, "crop_epochs 11 are more than epochs 10"),
        ({"crop": None}, "crop_epochs is 9, but there is no crop"),
        ({"crop": [544, 192]}, "crop (544, 192) is larger than input_size (512, 288)"),
        ({"crop": [320, 320]}, "crop (320, 320) is larger than input_size (512, 288)"),
        ({"input_size": [8192, 288]}, "input_size.0: Input should be less than or equal to 4096, got 8192"),
        ({"epochs": True}, "epochs: Input should be a valid integer, got True"),
        ({"epochs": 1 << 70}, "got an integer of 71 bits"),
        ({"seed": -1}, "seed: Input should be greater than or equal to 0, got -1"),
        ({"operating_points": {"": 300, "default": 860}}, "operating_points: expected a printable text"),
        ({"tasks": [TASK, TASK]}, "tasks: two tasks are named 'detection'"),
        ({"tasks": [TASK | {"labels": ["car", "bus", "car"]}]}, "'detection' has the label 'car' twice"),
        ({"tasks": [TASK | {"name": "latents"}]}, "the task is named 'latents', as the suffix's input is"),
        ({"tasks": [TASK | {"weight": float("inf")}]}, "weight inf"),
        ({"tasks": [TASK | {"weight": float("nan")}]}, "weight nan"),
        ({"tasks": [TASK | {"weight": True}]}, "weight True"),
        ({"tasks": [TASK | {"wait": 1, 2: 3}]}, "unknown keys"),
        ({1: 2}, "1: Keys should be strings, got 1"),
        ({f"key{number}": 1 for number in range(1000)}, "key100: Unexpected keyword argument"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, changes: dict[Any, Any], complaint: str) -> None:
    assert complaint in refusal(tmp_path / "recipe.yaml", yaml.safe_dump(STREET | changes))


LAUGHS = "a: &a [lol, lol]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]\n" for before, after in pairwise("abcdefghi")
)
"""A few hundred bytes that stand for a hundred million values."""


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        (LAUGHS, "expected less than 10000 values, with what the aliases stand for"),
        ("a: &a [*a]", "expected less than 10000 values"),
        ("[" * 100_000, "is no YAML: maximum recursion depth exceeded"),
        ("name: {" * 300, "is no YAML"),
        (b"name: \xff\xfe", "is no text in UTF-8"),
        ("# " + "x" * 1_000_000, "has 1000002 bytes, expected at most"),
        ("name: one\nname: two", "the key 'name' is there twice"),
        ("rename: {car: bus, 'car': truck}", "the key 'car' is there twice"),
        ('seed: !!int ""', "expected a value without the tag tag:yaml.org,2002:int"),
        ("seed: !!python/object/apply:os.getcwd []", "expected a value without the tag"),
        ("seed: " + "9" * 5000, "is no YAML: Exceeds the limit"),
        ("seed: 0x" + "f" * 5000, "seed: Input should be less than 4294967296, got an integer of 20000 bits"),
        ("seed: " + ":".join(["1"] * 400) + ".5", "is no YAML: int too large to convert to float"),
        ("seed: 2020-99-99", "is no YAML: month must be in 1..12"),
        ("? [a]\n: 1", "found unhashable key"),
        ("- 1", "Input should be a dictionary"),
        ("", "Input should be a dictionary"),
        ("\0", "unacceptable character"),
        ("a: *" + "x" * 100_000, f"found undefined alias '{'x' * 800}"),
    ],
)
def test_what_is_no_recipe_is_refused(tmp_path: Path, written: str | bytes, complaint: str) -> None:
    assert complaint in refusal(tmp_path / "recipe.yaml", written)


def test_an_alias_may_stand_for_a_part(tmp_path: Path) -> None:
    """As yaml.dump writes what is the same object."""
    portions = [{"pictures": "a.json"}]
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(STREET | {"training": portions, "validation": portions}))
    assert "*id001" in (tmp_path / "recipe.yaml").read_text()
    recipe = load_recipe(tmp_path / "recipe.yaml")
    assert recipe.training == recipe.validation == (Portion("a.json"),)


def test_a_recipe_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.yaml"):
        with pytest.raises(InputError, match=f"no recipe at {path}"):
            load_recipe(path)


def test_a_recipe_is_written_alike_in_every_process(tmp_path: Path) -> None:
    """The manifest repeats the recipe, and has a fingerprint: the order of a set's strings is drawn by chance."""
    labels = [f"label {number}" for number in range(20)]
    portion = STREET["training"][0] | {"labelled": labels}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(STREET | {"training": [portion]}))
    program = (
        "import sys; from pathlib import Path; from pydantic import TypeAdapter; "
        "from mtl_split_lab.recipe import Recipe, load_recipe; "
        "print(TypeAdapter(Recipe).dump_python(load_recipe(Path(sys.argv[1])), mode='json')['training'][0]['labelled'])"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "recipe.yaml")]
    written = subprocess.run(
        command, env=os.environ | {"PYTHONHASHSEED": "1"}, capture_output=True, check=True, text=True
    )
    assert written.stdout.strip() == str(sorted(labels))


def test_portions_of_the_same_pictures_have_names_of_their_own() -> None:
    """Those that are alike in all are one."""
    plain, night = Portion("val.json"), Portion("val.json", images="night")
    few = Portion("val.json", images="night", labelled=frozenset({"car", "bus"}))
    other = Portion("other.json", images="day")
    assert name_portions([plain, night, few, other, plain]) == {
        "val.json": plain,
        "val.json, images night": night,
        "val.json, images night, labelled ['bus', 'car']": few,
        "other.json": other,
    }
