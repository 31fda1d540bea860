"""Single-task against multi-task: the noise, three disjoint sets, the statistics, and a comparison from end to end."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from mtl_split_core.errors import InputError
from mtl_split_core.scene import Truth
from mtl_split_lab.command import main
from mtl_split_lab.commands.studies import EXPERIMENTS
from mtl_split_lab.data.noise import RELEASED, SALT_AND_PEPPER, Noise, NoisyPicture
from mtl_split_lab.data.pictures import IMAGES, LABELS, write_labels
from mtl_split_lab.data.shapes import ShapesPicture
from mtl_split_lab.portion import Portion
from mtl_split_lab.recipe import RECIPES, load_recipe
from mtl_split_lab.studies import comparison
from mtl_split_lab.studies.comparison import Experiment, compare, find_parts, list_trials, paper_experiments
from mtl_split_lab.studies.comparison_page import PAGE, PLOT, Contrast, Result, Scores, group, write_page

from ..data.test_shapes import write_file

GREY = np.full((300, 300, 3), 114, np.uint8)


@pytest.mark.parametrize(("noise", "bright", "dark"), [(SALT_AND_PEPPER, 0.04, 0.04), (RELEASED, 0.53, 0.18)])
def test_shares_of_the_noise(noise: Noise, bright: float, dark: float) -> None:
    noisy = noise.apply(GREY, seed=1)
    assert (noisy == 255).mean() == pytest.approx(bright, abs=0.005)
    assert (noisy == 0).mean() == pytest.approx(dark, abs=0.005)
    assert np.isin(noisy, (0, 114, 255)).all()


def test_the_released_noise_is_that_of_normally_distributed_draws() -> None:
    draws = np.random.default_rng(1).standard_normal(1_000_000)
    assert (draws < 0.08).mean() == pytest.approx(RELEASED.salt, abs=0.002)
    assert (draws > 0.92).mean() == pytest.approx(RELEASED.pepper, abs=0.002)


def test_a_picture_has_the_same_noise_whenever_it_is_read() -> None:
    picture = ShapesPicture((1, 2, 3, 4, 1, 6))
    noisy = NoisyPicture(picture, SALT_AND_PEPPER, seed=7)
    assert (noisy.read() == noisy.read()).all() and noisy.truth.classes == picture.truth.classes
    assert (noisy.read() != replace(noisy, seed=8).read()).any()
    changed = (noisy.read() != picture.read()).mean()
    assert 0.06 < changed < 0.09  # of 8 %, some were as bright or as dark before


def test_no_picture_is_in_two_sets(tmp_path: Path) -> None:
    file = write_file(tmp_path / "3dshapes.h5", np.arange(0, 480_000, 4800))
    experiment = paper_experiments(file)[-1]
    assert experiment.recipe.training[0].pictures.startswith(f"{file}:")
    recipe = replace(
        experiment.recipe,
        training=(Portion(f"{file}:1:60:train"),),
        validation=(Portion(f"{file}:2:30:train"),),
        testing=(Portion(f"{file}:3:25:test"),),
    )
    parts = find_parts(replace(experiment, recipe=recipe), tmp_path, processes=1)
    training, validation, test = ({p.seed for p in part if isinstance(p, NoisyPicture)} for part in parts)
    assert len(validation) == 30 and len(test) == 25 and 30 <= len(training) < 60
    assert not training & validation and not training & test and not validation & test


def test_what_decides_a_result_is_plain_data() -> None:
    """Sets of labels in the order of the alphabet; all else as in runs that have begun."""
    trial, *_ = list_trials(paper_experiments(), ["mobilenet_v3_small"], seeds=1)
    assert trial.describe() == json.loads(json.dumps(asdict(trial)))
    labelled = Portion("a.json", labelled=frozenset("dbca"))
    described = replace(trial, recipe=replace(trial.recipe, training=(labelled,))).describe()
    assert json.loads(json.dumps(described)) == described
    assert described["recipe"]["training"][0]["labelled"] == ["a", "b", "c", "d"]


def test_both_sides_have_everything_but_the_tasks_in_common() -> None:
    experiments = paper_experiments()
    assert tuple(experiment.name for experiment in experiments) == EXPERIMENTS
    trials = list_trials(experiments, ["mobilenet_v3_small"], seeds=3)
    assert len(trials) == 3 * (5 + 3 + 3) == len({trial.name for trial in trials})
    for trial in trials:
        (whole,) = (
            other.recipe
            for other in trials
            if other.experiment is trial.experiment
            and other.recipe.seed == trial.recipe.seed
            and other.recipe.tasks == trial.experiment.recipe.tasks
        )
        assert trial.recipe.tasks == whole.tasks or len(trial.recipe.tasks) == 1
        assert set(trial.recipe.tasks) <= set(whole.tasks)
        assert replace(trial.recipe, tasks=whole.tasks) == whole


def invent(tasks: tuple[str, ...], seed: int, *scores: float) -> Result:
    return Result(
        data="3D Shapes", noise="none", backbone="vgg16", tasks=tasks, seed=seed,
        scores=dict(zip(tasks, scores, strict=True)), backbone_parameters=2_000_000,
        parameters=2_000_000 + 500_000 * len(tasks), pictures=(1200, 100, 200), input_size=(64, 64), epochs=2, batch=8,
        learning_rate=0.001, minutes=1.5, machine="a processor, 2 cores",
    )  # fmt: skip


INVENTED = [
    invent(("size",), 1, 0.80), invent(("size",), 2, 0.90),
    invent(("type",), 1, 0.95), invent(("type",), 2, 0.97), invent(("type",), 3, 0.10),
    invent(("size", "type"), 1, 0.78, 0.90), invent(("size", "type"), 2, 0.90, 0.92),
]  # fmt: skip


def test_the_page_of_invented_results(tmp_path: Path) -> None:
    write_page(INVENTED, tmp_path / "results")
    page = (tmp_path / "results" / PAGE).read_text()
    assert "| vgg16 | 3D Shapes | none | size | 2 | 85.0 ± 7.1 | 84.0 ± 8.5 | -1.0 | yes |" in page
    assert "| vgg16 | 3D Shapes | none | type | 2 | 96.0 ± 1.4 | 91.0 ± 1.4 | -5.0 | no |" in page
    assert "| vgg16 | 3D Shapes | 2 x 2.00 M | 2.00 M | 5.00 M | 3.00 M | 40% |" in page
    assert "| 64 x 64 | 1,200 / 100 / 200 | 2 | 8 | 0.001 | 7 | 10 |" in page
    assert (tmp_path / "results" / PLOT).read_bytes().startswith(b"\x89PNG")


def test_only_seeds_of_both_sides_count() -> None:
    (members,) = group(INVENTED)
    assert [contrast.single.values for contrast in members.contrasts()] == [(0.80, 0.90), (0.95, 0.97)]


@pytest.mark.parametrize(
    ("single", "multi", "keeps_up"),
    [
        ((0.5, 0.5), (0.5, 0.5), True),
        ((0.5, 0.5), (0.4, 0.4), False),
        ((0.50, 0.52), (0.51, 0.49), True),
        ((0.50, 0.52), (0.48, 0.50), False),
        ((0.5,), (0.4,), None),
    ],
)
def test_the_verdict(single: tuple[float, ...], multi: tuple[float, ...], keeps_up: bool | None) -> None:
    assert Contrast("size", Scores(single), Scores(multi)).keeps_up is keeps_up


def test_another_file_than_3d_shapes_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="1"):
        main(["compare-mtl", "--shapes", "shapes.zip"])
    assert "shapes.zip is no file of 3D Shapes" in capsys.readouterr().err


def write_pictures(folder: Path, count: int) -> Portion:
    """Pictures of nothing at the input's size, each with a car in it, in the street's format."""
    (folder / IMAGES).mkdir(parents=True)
    car = Truth(np.array([[8, 8, 40, 40]], np.float32), ("car",), np.ones(1, np.float32), np.zeros(1, np.bool_))
    truth = replace(car, classes={"weather": "rainy"})
    for index in range(count):
        cv2.imwrite(str(folder / IMAGES / f"{index}.png"), np.full((64, 64, 3), 10 * index, np.uint8))
    write_labels(folder / LABELS, [(f"{index}.png", truth) for index in range(count)])
    return Portion(str(folder / LABELS))


def test_a_comparison_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_recipe(RECIPES / "compare_street.yaml")
    recipe = replace(
        recipe,
        tasks=(recipe.tasks[0], recipe.tasks[2]),
        training=(write_pictures(tmp_path / "training", 8),),
        validation=(write_pictures(tmp_path / "validation", 2),),
        testing=(write_pictures(tmp_path / "testing", 3),),
        input_size=(64, 64),
        batch=4,
        epochs=1,
    )
    experiments = [Experiment("street", "simulated street", recipe)]
    run, out = tmp_path / "run", tmp_path / "results"
    compare(experiments, ["mobilenet_v3_small"], 1, run, out, processes=2)
    page = (out / PAGE).read_text()
    assert "| mobilenet_v3_small | simulated street | none | detection | 1 |" in page
    assert "| mobilenet_v3_small | simulated street | none | weather | 1 |" in page
    assert "| 64 x 64 | 8 / 2 / 3 | 1 | 4 | 0.002 | 3 |" in page
    assert (out / PLOT).exists() and len(list(run.glob("*/losses.png"))) == 3 and not list(run.glob("*/*.ckpt"))

    # All is there: nothing is trained, and the page is made again.
    (out / PAGE).unlink()
    monkeypatch.setattr(comparison, "_train", None)
    compare(experiments, ["mobilenet_v3_small"], 1, run, out, processes=2)
    assert (out / PAGE).read_text() == page
    changed = [replace(experiments[0], recipe=replace(recipe, epochs=2))]
    with pytest.raises(InputError, match="holds a training of another recipe"):
        compare(changed, ["mobilenet_v3_small"], 1, run, out, processes=2)
