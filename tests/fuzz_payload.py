"""A million payloads that nobody meant to send: `make fuzz`. Coverage leads libFuzzer to what it has not tried."""

import resource
import sys
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["mtl_split_core.payload", "mtl_split_core.entropy"]):
    from mtl_split_core.bundle import load_bundle
    from mtl_split_core.errors import PayloadError
    from mtl_split_core.payload import _stream_checksum

FORM = load_bundle(Path(__file__).parents[1] / "models" / "street").payload_format
RUNS = 1_000_000
WARM = 10_000
MOST_MILLISECONDS = 5.0
MOST_GROWTH = 50_000
"""Kilobytes that the process may grow by after it is warm, most of them libFuzzer's own collection."""


class Tally:
    """What became of the payloads so far."""

    seen = refused = slow = 0
    slowest = 0.0
    warm = 0


def payload_of(data: bytes) -> bytes:
    """Half of the inputs are payloads; of the others, the streams get past the first checksum."""
    if not data or data[0] % 2:
        return data[1:]
    point = data[0] // 2 % len(FORM.operating_points)
    stream = data[1 : 1 + (len(data) - 1) // 4 * 4]
    return FORM._serialise(point, stream, _stream_checksum(point, stream) << 32 | 1)


def one(data: bytes) -> None:
    """Decode one input. Anything but a refusal or latents ends the run."""
    payload = payload_of(data)
    start = time.thread_time()
    try:
        assert FORM.unpack(payload).shape == FORM.shape
    except PayloadError:
        Tally.refused += 1
    milliseconds = (time.thread_time() - start) * 1e3
    Tally.seen += 1
    Tally.slow += milliseconds > MOST_MILLISECONDS
    Tally.slowest = max(Tally.slowest, milliseconds)
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if Tally.seen == WARM:
        Tally.warm = kilobytes
    if Tally.seen == RUNS:
        growth = kilobytes - Tally.warm
        print(
            f"{Tally.seen:,} payloads, {Tally.refused:,} refused, the rest latents; slowest {Tally.slowest:.2f} ms, "
            f"{Tally.slow} over {MOST_MILLISECONDS} ms; grown by {growth:,} kB"
        )
        assert growth < MOST_GROWTH


if __name__ == "__main__":
    atheris.Setup([*sys.argv, f"-runs={RUNS}", "-max_len=4096", "-print_final_stats=1"], one)
    atheris.Fuzz()
