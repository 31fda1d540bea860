"""What is learned drives better than chance, and the file is the policy that was learned."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mtl_split_core.control.learned import learned
from mtl_split_core.control.link import LinkState
from mtl_split_core.control.policy import Situation, actions, observation
from mtl_split_lab.adaptation.cars import IMITATION, LEARNED, Car, TrainingDrives
from mtl_split_lab.adaptation.environment import DriveEnvironment
from mtl_split_lab.adaptation.policy_training import Settings, Values, learn_policy, train, write_policy
from mtl_split_lab.adaptation.study import Row, make_policy, run
from mtl_split_lab.adaptation.traces import Trace

from .cars import MENU, SIZES, TIMES, drive

DEAR = replace(MENU, second_price=20.0, byte_price=1e-5)
CAR = Car("car", "", ("a", "b", "c"), DEAR, TIMES)
TRACE = Trace(np.arange(4) * 5.0, np.array([1e6, 1e6, 0.0, 1e6]))
DRIVES = TrainingDrives({"link": TRACE}, [SIZES])


@pytest.mark.parametrize("method", [LEARNED, IMITATION])
def test_it_learns_to_leave_frames_to_a_good_link(method: str, tmp_path: Path) -> None:
    """Where an own answer costs a quarter of what it is worth."""
    path = tmp_path / "policy.onnx"
    if method == LEARNED:
        settings = Settings(steps=800, first=200)
        write_policy(train(DriveEnvironment(CAR.menu, CAR.times, DRIVES), settings, 0), path)
    else:
        learn_policy(method, CAR, DRIVES, 0, 600, path)
    outcomes = run(CAR, Row("it", LEARNED, path=path), drive(TRACE, 200))
    good = [outcome for number, outcome in enumerate(outcomes) if not 95 <= number < 155]
    served = sum(isinstance(outcome.in_time(0.1), int) for outcome in good)
    assert served > 0.9 * len(good)
    assert not list(tmp_path.glob("*.part"))


def test_the_file_is_what_was_learned(tmp_path: Path) -> None:
    torch.manual_seed(0)
    example = Situation(0.01, TIMES.own, 0.0, LinkState(silence=0.1, round_trip=0.02, idle=0.1))
    observed = observation(DEAR, example)
    usable = np.ones(len(actions(DEAR)), np.bool_)
    values = Values(len(observed), usable)
    write_policy(values, tmp_path / "policy.onnx")
    expected = actions(DEAR)[int(values(torch.from_numpy(observed)).argmax())]
    chosen = learned(tmp_path / "policy.onnx", DEAR, example)(DEAR, example)
    assert (chosen.copies, chosen.own) == (expected.copies, expected.own)
    # What shows that a policy uses what it observes: the same with everything in another place.
    order = np.random.default_rng(7).permutation(len(observed))
    expected = actions(DEAR)[int(values(torch.from_numpy(observed[order])).argmax())]
    chosen = make_policy(Row("", LEARNED, path=tmp_path / "policy.onnx", shuffled=7), CAR)(DEAR, example)
    assert (chosen.copies, chosen.own) == (expected.copies, expected.own)
    assert [path.name for path in tmp_path.iterdir()] == ["policy.onnx"]
