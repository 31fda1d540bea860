"""Policies that are learned by driving in the simulator, and written as the small ONNX file that an edge takes.

By discrete soft actor-critic (Christodoulou 2019, arXiv 1910.07207), which Niu et al. 2022 choose exits, cuts and bits
with as *SAC-d*; or by imitating one who knows the link: a regression of what every action would have brought, on the
drives of the policy itself (Ross and Bagnell 2014, arXiv 1406.5979).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModule
from torch import Tensor, nn
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
from torchrl.modules import ProbabilisticActor
from torchrl.objectives import DiscreteSACLoss, SoftUpdate
from tqdm import tqdm

from mtl_split_core.control.learned import OBSERVATION, VALUES
from mtl_split_core.scene import Floats
from mtl_split_lab.adaptation.cars import IMITATION, LEARNED, Car, TrainingDrives
from mtl_split_lab.adaptation.clairvoyant import foreseen_values
from mtl_split_lab.adaptation.environment import ALLOWED, DriveEnvironment
from mtl_split_net.onnx_graph import forget_metadata

WIDTH = 64
"""Neurons in each of the two hidden layers."""

PRICES = (0.5, 2.0)
"""What the prices of a menu are multiplied by in training, drive by drive, so that a policy minds them."""

NEVER = -1e4
"""The value of an action that is never allowed."""


@dataclass(frozen=True)
class Settings:
    """How a policy is learned.

    steps: frames that are driven; batch: of them in an update; rate: of learning, at the beginning of soft
    actor-critic, which it ends with 0. Of soft actor-critic: first: frames that are driven by chance; every: frames
    after which there are so many updates; discount: of a reward one frame later, small as a frame's own deadline has
    passed by then and only what waits on the link is left of it; scale: what rewards are multiplied by, once the edge's
    best own answer is taken off; entropy: which the actor is to keep, as a part of the most that there can be. Of
    imitation: rounds of drives and regressions; passes over all frames in each.
    """

    steps: int = 40_000
    batch: int = 512
    rate: float = 1e-3
    first: int = 2_000
    every: int = 64
    updates: int = 8
    discount: float = 0.4
    scale: float = 20.0
    entropy: float = 0.03
    rounds: int = 4
    passes: int = 30

    @classmethod
    def of(cls, steps: int) -> "Settings":
        """Return those for so many steps."""
        return cls(steps=steps, first=min(cls.first, steps // 4))


class Values(nn.Module):
    """Values every action (..., actions) by what is observed (..., n)."""

    usable: Tensor

    def __init__(self, inputs: int, usable: np.ndarray) -> None:
        """Begin by chance; usable: which actions are ever allowed, bool (actions,)."""
        super().__init__()
        self.inputs = inputs
        self.layers = nn.Sequential(
            *(nn.Linear(inputs, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, len(usable)))
        )
        self.register_buffer("usable", torch.from_numpy(usable))

    def forward(self, observed: Tensor) -> Tensor:
        """Value, with NEVER for actions that are never allowed."""
        values: Tensor = torch.where(self.usable, self.layers(observed), NEVER)
        return values


def learn_policy(method: str, car: Car, drives: TrainingDrives, seed: int, steps: int, path: Path) -> None:
    """Learn a policy for a car by LEARNED or IMITATION, and write its file. So many frames are driven."""
    environment = DriveEnvironment(car.menu, car.times, drives, PRICES)
    values = {LEARNED: train, IMITATION: imitate}[method](environment, Settings.of(steps), seed)
    # So that one that is half written is never taken for a policy.
    unfinished = path.with_suffix(".part")
    write_policy(values, unfinished)
    unfinished.rename(path)


def train(environment: DriveEnvironment, settings: Settings, seed: int) -> Values:
    """Learn by soft actor-critic."""
    torch.manual_seed(seed)
    chance = np.random.default_rng(seed)
    observed, information = environment.reset(seed=seed)
    actor, critic = _values(environment), _values(environment)
    policy = ProbabilisticActor(
        TensorDictModule(actor, [OBSERVATION], ["logits"]),
        ["logits"],
        ["action"],
        distribution_class=torch.distributions.Categorical,
    )
    loss = DiscreteSACLoss(
        policy,
        TensorDictModule(critic, [OBSERVATION], ["action_value"]),
        action_space="categorical",
        num_actions=int(actor.usable.sum()),
        target_entropy_weight=settings.entropy,
        alpha_init=0.1,
        loss_function="l2",
    )
    loss.make_value_estimator(gamma=settings.discount)
    targets = SoftUpdate(loss, eps=0.98)
    optimiser = torch.optim.Adam(loss.parameters(), settings.rate)
    memory = TensorDictReplayBuffer(storage=LazyTensorStorage(settings.steps), batch_size=settings.batch)
    baseline = max(environment.menu.own.values(), default=0.0)
    for begin in tqdm(range(0, settings.steps, settings.every), "training", unit=" updates", disable=None):
        driven = []
        for _ in range(settings.every):
            likely = None if begin < settings.first else _evaluate(actor, observed)
            action = _draw(likely, information[ALLOWED], chance)
            after, reward, _, ended, information = environment.step(action)
            driven.append((observed, action, (reward - baseline) * settings.scale, after))
            observed = after
            if ended:
                observed, information = environment.reset()
        memory.extend(_transitions(driven))
        if begin < settings.first:
            continue
        for group in optimiser.param_groups:
            group["lr"] = settings.rate * (1 - begin / settings.steps)
        for _ in range(settings.updates):
            losses = loss(memory.sample())
            optimiser.zero_grad()
            (losses["loss_actor"] + losses["loss_qvalue"] + losses["loss_alpha"]).backward()
            optimiser.step()
            targets.step()
    return actor


def imitate(environment: DriveEnvironment, settings: Settings, seed: int) -> Values:
    """Learn what every action would bring from one who knows the link."""
    torch.manual_seed(seed)
    chance = np.random.default_rng(seed)
    environment.reset(seed=seed)
    values = _values(environment)
    optimiser = torch.optim.Adam(values.parameters(), settings.rate)
    seen: list[Floats] = []
    foreseen: list[Floats] = []
    for number in tqdm(range(settings.rounds), "imitating", unit=" rounds", disable=None):
        for _ in range(settings.steps // settings.rounds):
            brought = foreseen_values(
                environment.simulation, environment.decision, environment.menu, environment.choices
            )
            seen.append(environment.observed)
            foreseen.append(brought)
            allowed = ~np.isnan(brought)
            if number == 0:
                action = _draw(None, allowed, chance)
            else:
                action = np.int64(np.where(allowed, _evaluate(values, environment.observed), -np.inf).argmax())
            if environment.step(action)[3]:
                environment.reset()
        _regress(values, optimiser, np.stack(seen), np.stack(foreseen), settings)
    return values


def write_policy(values: Values, path: Path) -> None:
    """Write the ONNX file that mtl_split_core.control.learned takes."""
    program = torch.export.export(values.eval(), (torch.zeros(1, values.inputs),))
    torch.onnx.export(
        program, (), path, input_names=[OBSERVATION], output_names=[VALUES], dynamo=True, external_data=False,
        verbose=False,
    )  # fmt: skip
    forget_metadata(path)


def _values(environment: DriveEnvironment) -> Values:
    menu = environment.menu
    usable = [
        (choice.point is None or choice.point <= menu.finest) and (choice.own is not None or not menu.own)
        for choice in environment.choices
    ]
    return Values(len(environment.observed), np.array(usable))


def _evaluate(values: Values, observed: Floats) -> Floats:
    with torch.no_grad():
        found: Floats = values(torch.from_numpy(observed)).numpy()
    return found


def _draw(likely: Floats | None, allowed: npt.NDArray[np.bool_], chance: np.random.Generator) -> np.int64:
    """Return an allowed action by chance, by the logits of their probabilities, or all alike."""
    logits = np.where(allowed, np.zeros(len(allowed)) if likely is None else likely, -np.inf)
    # The largest of logits with Gumbel noise is one drawn by their probabilities.
    return np.int64((logits + chance.gumbel(size=len(logits))).argmax())


def _transitions(driven: Sequence[tuple[Floats, np.int64, float, Floats]]) -> TensorDict:
    observed, actions, rewards, after = map(np.array, zip(*driven, strict=True))
    # A drive is cut off, it does not end.
    never = torch.zeros((len(driven), 1), dtype=torch.bool)
    following = {OBSERVATION: torch.from_numpy(after), "done": never, "terminated": never}
    reward = torch.from_numpy(rewards.astype(np.float32))[:, None]
    return TensorDict(
        {
            OBSERVATION: torch.from_numpy(observed),
            "action": torch.from_numpy(actions),
            "next": {**following, "reward": reward},
        },
        [len(driven)],
    )


def _regress(
    values: Values, optimiser: torch.optim.Optimizer, seen: Floats, foreseen: Floats, settings: Settings
) -> None:
    inputs, targets = torch.from_numpy(seen), torch.from_numpy(foreseen)
    for _ in range(settings.passes):
        for batch in torch.randperm(len(inputs)).split(settings.batch):
            wanted = targets[batch]
            error = (values(inputs[batch]) - wanted)[~wanted.isnan()] * settings.scale
            optimiser.zero_grad()
            nn.functional.smooth_l1_loss(error, torch.zeros_like(error)).backward()
            optimiser.step()
