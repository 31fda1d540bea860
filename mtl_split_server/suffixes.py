"""The suffixes that a server has in memory: one of each bundle, found by the contract in the bottleneck."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mtl_split_core.bundle import Bundle, load_bundle
from mtl_split_core.errors import InputError
from mtl_split_core.halves import ServerHalf
from mtl_split_core.scene import Task
from mtl_split_core.share import bundle_folder
from mtl_split_ros.vehicle import Form, Key


@dataclass(frozen=True)
class Suffixes:
    """Loaded suffixes by their contracts' fingerprints, in the order in which they were named."""

    halves: Mapping[str, ServerHalf]

    @property
    def formats(self) -> dict[Key, Form]:
        """The formats of bottlenecks' payloads, and of the features of each division."""
        formats: dict[Key, Form] = {}
        for contract, half in self.halves.items():
            formats[contract, ""] = half.bundle.payload_format
            formats |= {(contract, division): form for division, form in half.forms.items()}
        return formats

    @property
    def divided(self) -> bool:
        """Whether there are any divisions."""
        return any(half.forms for half in self.halves.values())

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Every task of any bundle, once; where several have it, as the first one does."""
        found: dict[str, Task] = {}
        for half in self.halves.values():
            for task in half.bundle.tasks:
                found.setdefault(task.name, task)
        return tuple(found.values())

    @property
    def facts(self) -> dict[str, str]:
        """The choice of engines as key and value pairs; those of further bundles begin with the bundle's name."""
        first, *further = self.halves.values()
        named = {f"{half.bundle.name}: {key}": value for half in further for key, value in half.choice.facts.items()}
        return {**first.choice.facts, **named}

    def tasks_of(self, contract: str) -> tuple[Task, ...]:
        """Return every task, as the bundle of a contract has it where it does."""
        own = {task.name: task for task in self.halves[contract].bundle.tasks}
        return tuple(own.get(task.name, task) for task in self.tasks)

    def twins(self) -> dict[str, ServerHalf]:
        """Return the same suffixes for another thread."""
        return {contract: half.twin() for contract, half in self.halves.items()}


def load_suffixes(values: Mapping[str, Any]) -> Suffixes:
    """Load the suffixes of all bundles that a server's parameters, `values`, name.

    Raises BundleError, and InputError for bundles that cannot be told apart: of one contract, or with tasks of one name
    and different kinds.
    """
    names = [values["bundle"], *filter(None, values["further_bundles"])]
    bundles: dict[str, Bundle] = {}
    tasks: dict[str, tuple[str, Bundle]] = {}
    for bundle in map(load_bundle, map(bundle_folder, names)):
        other = bundles.setdefault(bundle.contract.fingerprint, bundle)
        if other is not bundle:
            raise InputError(
                f"further_bundles: {bundle.folder} has the contract of {other.folder}, {bundle.contract.fingerprint}:"
                " one of them is enough"
            )
        for task in bundle.tasks:
            kind, other = tasks.setdefault(task.name, (task.kind, bundle))
            if kind != task.kind:
                raise InputError(
                    f"further_bundles: the task {task.name!r} is of kind {task.kind} in {bundle.folder}, but of kind"
                    f" {kind} in {other.folder}: give it to a server of its own"
                )
    return Suffixes(
        {
            contract: ServerHalf(
                bundle,
                values["threads"],
                engine=values["engine"],
                at_once=values["workers"],
                divisions=bundle.divisions,
            )
            for contract, bundle in bundles.items()
        }
    )
