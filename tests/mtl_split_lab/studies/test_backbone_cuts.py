"""The table of cuts says what torch says of the network."""

import re
from itertools import pairwise

import pytest

from mtl_split_lab.command import main
from mtl_split_lab.studies.backbone_cuts import list_cuts
from mtl_split_net.vision import models


def test_the_end_of_the_backbone_has_the_papers_figures() -> None:
    """Of MobileNetV3-Small at 224 x 224: 28,224 values, 112,896 bytes."""
    points = list(list_cuts("mobilenet_v3_small", (224, 224)))
    channels, height, width = points[-1].shape
    assert channels * height * width == 28_224
    features = models.mobilenet_v3_small(weights=None).features
    assert points[-1].parameters == sum(parameter.numel() for parameter in features.parameters())
    # torchvision gives 57 M for the classifier as a whole, 0.6 M of which follow the backbone.
    assert 50e6 < points[-1].multiply_adds < 57e6
    for before, after in pairwise(points):
        assert before.parameters <= after.parameters and before.multiply_adds <= after.multiply_adds


def test_the_command_lists_the_cuts(capsys: pytest.CaptureFixture[str]) -> None:
    main(["backbones", "resnet18", "mobilenet_v3_small", "--input", "32", "32"])
    printed = capsys.readouterr().out
    assert "resnet18, input 32 x 32" in printed and "layer2" in printed
    assert re.search(r"features\.12 +576 x 1 x 1 +2 KiB", printed)
    with pytest.raises(SystemExit, match="1"):
        main(["backbones", "vgg99"])
    assert "unknown backbone 'vgg99', expected one of vgg16" in capsys.readouterr().err
