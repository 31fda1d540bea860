"""Ten thousand payloads by edges of every engine, at 1 and 2 threads, decoded by one server.

`ros2_ws/run python tests/engines_payloads.py` stops with an error at the first payload that is refused, because one of
its checksums is wrong, or that carries other symbols than its edge quantised. It also tells how many differ from what
the first engine sends: where two engines' latents differ in the last bit, a symbol now and then does.
"""

from argparse import ArgumentParser
from itertools import islice
from pathlib import Path

import numpy as np

from mtl_split_camera.sources import Streets
from mtl_split_core.bundle import load_bundle
from mtl_split_core.engine import ENGINES
from mtl_split_core.halves import EdgeHalf
from mtl_split_core.payload import PayloadFormat
from mtl_split_core.scene import Floats

BUNDLE = Path(__file__).parents[1] / "models" / "street"
PICTURES = 500
"""Times two engines, two numbers of threads and five operating points: just over 10,000 payloads."""
CAMERA_SIZE = (1280, 720)
RATE = 4.0
"""Pictures per second of simulated time: a few of each street."""


def quantise(form: PayloadFormat, latents: Floats, point: int) -> Floats:
    """The latents that docs/wire-format.md lets an edge send."""
    steps = form.operating_points[point].steps[:, None, None]
    return np.clip(np.rint(latents / steps), -form.tables.largest, form.tables.largest) * steps


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=PICTURES, help=f"of simulated streets, default {PICTURES}")
    pictures = parser.parse_args().pictures
    server = load_bundle(BUNDLE).payload_format
    points = range(len(server.operating_points))
    first: dict[tuple[int, int], bytes] = {}
    for threads in (1, 2):
        edges = {kind: EdgeHalf(load_bundle(BUNDLE), threads, kind) for kind in ENGINES}
        payloads, symbols = dict.fromkeys(ENGINES, 0), dict.fromkeys(ENGINES, 0)
        for number, (image, _) in enumerate(islice(Streets(CAMERA_SIZE, RATE), pictures)):
            for kind, edge in edges.items():
                latents = edge.latents(image)
                for point in points:
                    payload = edge.bundle.payload_format.pack(latents, point)
                    received = server.unpack(payload)
                    assert (received == quantise(server, latents, point)).all(), (kind, threads, number, point)
                    if payload != first.setdefault((number, point), payload):
                        payloads[kind] += 1
                        symbols[kind] += int((received != server.unpack(first[number, point])).sum())
        for kind in ENGINES:
            print(
                f"{kind}, {threads} threads: {pictures * len(points):,} payloads right; {payloads[kind]:,} of them, in "
                f"{symbols[kind]:,} symbols, other than {next(iter(ENGINES))}'s with 1 thread"
            )
    print(f"{2 * len(ENGINES) * pictures * len(points):,} payloads: all symbols and all checksums right")


if __name__ == "__main__":
    main()
