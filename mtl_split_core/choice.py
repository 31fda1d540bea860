"""The choice of an engine: the one that is asked for, or the fastest on this machine."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from mtl_split_core.engine import ENGINES, Array, Engine, Interface, NotInstalledError, load_engine
from mtl_split_core.errors import BundleError
from mtl_split_core.onnx_file import OnnxFile
from mtl_split_core.stopwatch import measure_in_turn

AUTO = "auto"
KINDS = (*ENGINES, AUTO)
REFERENCE = "onnxruntime"
"""The engine with which the others have to agree."""

LARGEST_DIFFERENCE = 1e-3
"""Outputs agree up to this, or this part of their value."""

MOST_CALLS = 40
MOST_SECONDS = 1.0
"""The measurement ends after so many calls of each engine, or so many seconds."""


@dataclass(frozen=True)
class Choice:
    """A loaded engine; remarks: where it was chosen by measurement, each engine's time, or why it has none."""

    engine: Engine
    remarks: Mapping[str, str] = field(default_factory=dict)

    @property
    def facts(self) -> dict[str, str]:
        """The choice as key and value pairs."""
        return {"engine": self.engine.name, **{f"engine/{kind}": remark for kind, remark in self.remarks.items()}}

    @property
    def words(self) -> str:
        """The choice in one line."""
        remarks = "; ".join(f"{kind}: {remark}" for kind, remark in self.remarks.items())
        return f"{self.engine.name} ({remarks})" if remarks else self.engine.name


def choose_engine(
    kind: str, file: OnnxFile, threads: int, example: Sequence[Array], interface: Interface, at_once: int = 1
) -> Choice:
    """Load a part into the engine `kind`, or where that is AUTO, into the fastest that agrees with ONNX Runtime.

    The example must be such that different networks would give different outputs. Otherwise as load_engine.
    """
    if kind != AUTO:
        return Choice(load_engine(kind, file, threads, example, interface, at_once))
    reference = load_engine(REFERENCE, file, threads, example, interface, at_once)
    right = reference(*example)
    engines = {REFERENCE: reference}
    remarks: dict[str, str] = {}
    for other in ENGINES:
        if other == REFERENCE:
            continue
        try:
            engine = load_engine(other, file, threads, example, interface, at_once)
        except (NotInstalledError, BundleError) as error:
            remarks[other] = str(error)
        else:
            if agree(engine(*example), right):
                engines[other] = engine
            else:
                remarks[other] = f"differs from {REFERENCE}"
    calls = {kind: partial(engine, *example) for kind, engine in engines.items()}
    times = {
        kind: statistics.median(values) for kind, values in measure_in_turn(calls, MOST_CALLS, MOST_SECONDS).items()
    }
    remarks |= {kind: f"{milliseconds:.2f} ms" for kind, milliseconds in times.items()}
    fastest = min(times, key=times.__getitem__)
    return Choice(engines[fastest], {kind: remarks[kind] for kind in ENGINES})


def agree(outputs: Mapping[str, Array], right: Mapping[str, Array]) -> bool:
    """Whether two engines' outputs are the same but for rounding."""
    return all(np.allclose(outputs[name], right[name], LARGEST_DIFFERENCE, LARGEST_DIFFERENCE) for name in right)
