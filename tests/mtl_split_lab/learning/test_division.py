"""A suffix that is divided answers as before, on every engine, and a bundle keeps all else."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from mtl_split_camera.street import Street
from mtl_split_core.bundle import SUFFIX, Bundle, load_bundle, write_manifest
from mtl_split_core.choice import REFERENCE
from mtl_split_core.errors import BundleError, InputError, PayloadError
from mtl_split_core.halves import EdgeHalf, MiddleHalf, ServerHalf
from mtl_split_core.share import bundle_folder
from mtl_split_lab.command import main
from mtl_split_lab.learning.division import divide

from ...tiny_bundle import write_tiny_bundle


@pytest.fixture(scope="module")
def divided(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The street's suffix, at one tensor and at three."""
    folder = tmp_path_factory.mktemp("bundles") / "street"
    bundle, *_ = divide(load_bundle(bundle_folder("street")), "conv2d_6", folder)
    bundle, division, difference = divide(bundle, "add_1002")
    assert len(division.tensors) == 3 and difference == 0.0
    return bundle


def test_the_contract_and_the_other_files_stay_as_they_are(divided: Bundle) -> None:
    street = load_bundle(bundle_folder("street"))
    assert divided.contract.fingerprint == street.contract.fingerprint
    assert {role: divided.files[role].sha256 for role in street.files} == {
        role: file.sha256 for role, file in street.files.items()
    }
    assert divided.files.keys() - street.files.keys() == {"middle", "rest", "middle_2", "rest_2"}
    assert [division.cut for division in divided.divisions] == ["conv2d_6", "add_1002"]


def test_the_parts_in_series_answer_with_the_same_bits_as_the_suffix(divided: Bundle) -> None:
    edge, middle = EdgeHalf(divided), MiddleHalf(divided)
    server = ServerHalf(divided, divisions=divided.divisions)
    for picture, _ in islice(Street(5, (640, 360)), 2):
        payload = edge.encode(picture).payload
        whole = server.decode(payload, (640, 360))
        for division in divided.divisions:
            features = middle.twin().forward(payload, division.cut)
            assert len(features) < 4 * division.numbers
            answers = server.twin().decode(features, (640, 360), division.fingerprint)
            for task, answer in answers.items():
                np.testing.assert_equal(vars(answer), vars(whole[task]))
        with pytest.raises(PayloadError):
            server.decode(payload, (640, 360), divided.divisions[0].fingerprint)


def test_a_division_anew_replaces_the_first_one_of_its_cut(tmp_path: Path) -> None:
    bundle, first, _ = divide(write_tiny_bundle(tmp_path / "tiny"), "brightness")
    assert [tensor.name for tensor in first.tensors] == ["brightness", "colours"]
    bundle, second, _ = divide(bundle, "means")
    bundle, again, _ = divide(bundle, "brightness")
    assert bundle.divisions == (second, again) and again == first
    assert MiddleHalf(bundle).choice.engine.name.startswith(REFERENCE)


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ("latents", "is an input or an output"),
        ("colour", "is an input or an output"),
        ("nowhere", "has no tensor 'nowhere'; its cuts are means"),
    ],
)
def test_where_it_cannot_be_divided_is_told(at: str, words: str, tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "tiny")
    with pytest.raises(InputError, match=words):
        divide(bundle, at)
    assert load_bundle(bundle.folder).manifest == bundle.manifest


def test_a_middle_and_a_rest_of_other_suffixes_do_not_pass_for_each_other(tmp_path: Path) -> None:
    """Two suffixes of one contract differ in what their features mean."""
    first, one, _ = divide(write_tiny_bundle(tmp_path / "first"), "means")
    other = write_tiny_bundle(tmp_path / "other")
    data = other.read(SUFFIX)
    other.path(SUFFIX).write_bytes(data.replace(b"suffix", b"suffiy"))
    with pytest.raises(BundleError, match="is damaged"):
        divide(other, "means")
    second, two, _ = divide(write_manifest(other.folder, other.manifest), "means")
    assert first.contract.fingerprint == second.contract.fingerprint and one.fingerprint != two.fingerprint


def test_the_command_says_what_it_has_done_and_leaves_shipped_bundles_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_tiny_bundle(tmp_path / "tiny")
    main(["cut", "--bundle", str(bundle.folder), "--at", "brightness"])
    said = capsys.readouterr().out
    assert "divided tiny at brightness: 2 tensors" in said and str(bundle.folder / "rest.onnx") in said
    for arguments, words in ((["street", "--at", "add_664"], "add --out FOLDER"), (["./no", "--at", "a"], "no bundle")):
        with pytest.raises(SystemExit):
            main(["cut", "--bundle", *arguments])
        assert words in capsys.readouterr().err


def test_the_places_of_several_tensors_are_listed_with_their_bytes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_tiny_bundle(tmp_path / "tiny")
    main(["cuts", str(bundle.path(SUFFIX)), "--tensors", "2"])
    [row] = [line.split() for line in capsys.readouterr().out.splitlines() if line.split()[:1] == ["brightness"]]
    assert row[1:5] == ["1", "+", "1", "16"]  # one number, and three of the colours
