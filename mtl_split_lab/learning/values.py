"""How good each answer is that a vehicle can have: the server's at every operating point, and the edge's own.

A controller weighs actions by that, see mtl_split_core.bundle.Values.
"""

import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from mtl_split_core.bundle import EXIT, SERVER, VALUES, WHOLE, Bundle
from mtl_split_core.halves import EdgeHalf, ServerHalf
from mtl_split_lab.kinds import KINDS
from mtl_split_lab.markdown import table
from mtl_split_lab.recordings.replay_page import format_share, known_columns
from mtl_split_lab.scoring.frames import Frame
from mtl_split_lab.scoring.measurement import Measurement, read_sound

MEASURED_OWN = "measured_own"
"""In a manifest, what `measured` has of the server's answers, of the edge's own: WHOLE, and EXIT where there is one."""


def measure_values(bundle: Bundle, sources: Mapping[str, Iterable[Frame]]) -> dict[str, Any]:
    """Return VALUES and MEASURED_OWN for a bundle's manifest, measured on the frames of some sources by name.

    A value is the mean over the tasks of the accuracy in all frames, of those tasks of which anything is known; where
    nothing is, there are none.
    """
    edge, server = EdgeHalf(bundle), ServerHalf(bundle)
    own = {WHOLE: server} | ({EXIT: ServerHalf(bundle, role=EXIT)} if EXIT in bundle.files else {})
    form = bundle.payload_format
    points = {point.name: Measurement(bundle.tasks) for point in form.operating_points}
    together = {name: Measurement(bundle.tasks) for name in own}
    measured = {}
    for source, frames in sources.items():
        apart = {name: Measurement(bundle.tasks) for name in own}
        for frame, image in read_sound(frames):
            latents, size = edge.latents(image), (image.shape[1], image.shape[0])
            for index, measurement in enumerate(points.values()):
                payload = edge.pack(latents, index).payload
                measurement.add(frame.truth, len(payload), server.answer(form.unpack(payload), size))
            for name, half in own.items():
                results = half.answer(latents, size)
                for measurement in (together[name], apart[name]):
                    measurement.add(frame.truth, 0, results)
        measured[source] = {name: measurement.figures() for name, measurement in apart.items()}
    if not together[WHOLE].accuracies():
        return {}
    values = {SERVER: _values(points), **_values(together)}
    return {VALUES: values, MEASURED_OWN: measured}


def _values(measurements: Mapping[str, Measurement]) -> dict[str, float]:
    return {
        name: round(statistics.mean(measurement.accuracies().values()), 4) for name, measurement in measurements.items()
    }


def format_values(bundle: Bundle) -> str:
    """Render what every answer is worth, and the figures of the edge's own by source, as tables for the terminal."""
    if bundle.values is None:
        return "not measured: the bundle's recipe names no pictures for testing"
    values = {**{f"server, {name}": value for name, value in bundle.values.server.items()}, **bundle.values.own}
    tables = [table("answer|value", [[name, f"{value:.3f}"] for name, value in values.items()])]
    for source, ways in bundle.manifest[MEASURED_OWN].items():
        columns = [(kind, name) for kind in KINDS.values() for name in known_columns(kind, ways)]
        rows = [
            [way, *(format_share(kind.columns(figures).get(name)) for kind, name in columns)]
            for way, figures in ways.items()
        ]
        tables.append(table("|".join([source, *(name for _, name in columns)]), rows))
    return "\n\n".join(tables)
