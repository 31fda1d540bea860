"""A million payloads that nobody meant to send: `make fuzz`. Coverage leads libFuzzer to what it has not tried."""

import sys
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["mtl_split_core.payload", "mtl_split_core.entropy"]):
    from mtl_split_core.bundle import load_bundle
    from mtl_split_core.errors import PayloadError
    from mtl_split_core.payload import _stream_checksum

from tests.fuzzing import Tally

FORM = load_bundle(Path(__file__).parents[1] / "models" / "street").payload_format
RUNS = 1_000_000
MOST_MILLISECONDS = 5.0


class Slow:
    """Those that took long."""

    count = 0
    longest = 0.0


TALLY = Tally("payloads", RUNS)


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
    fate = "refused"
    try:
        assert FORM.unpack(payload).shape == FORM.shape
        fate = "latents"
    except PayloadError:
        pass
    milliseconds = (time.thread_time() - start) * 1e3
    Slow.count += milliseconds > MOST_MILLISECONDS
    Slow.longest = max(Slow.longest, milliseconds)
    TALLY.add(fate)
    if not TALLY.left:
        TALLY.tell(f"slowest {Slow.longest:.2f} ms, {Slow.count} over {MOST_MILLISECONDS} ms; ")


if __name__ == "__main__":
    atheris.Setup([*sys.argv, f"-runs={RUNS}", "-max_len=4096", "-print_final_stats=1"], one)
    atheris.Fuzz()
