"""The coder as docs/wire-format.md describes it, and the fingerprint as docs/bundle-format.md does.

Written from those two pages alone, in plain Python but for the arrays of features, and for no speed at all: nothing of
the package is imported here.
"""

import hashlib
import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import msgpack
import numpy as np
from backports import zstd

Contract = dict[str, Any]
"""The object `contract` of a manifest."""
Symbols = list[list[list[int]]]
"""By channel, row and column."""

WRAP = 1 << 64
TOTAL = 1 << 24
STEP = {1: [(-2, -2), (-2, 2), (2, -2), (2, 2)], 2: [(-2, 0), (2, 0), (0, -2), (0, 2)]}
NEIGHBOURS = [[], STEP[1], STEP[2], [(-1, -1), (-1, 1), (1, -1), (1, 1)], [(-1, 0), (1, 0), (0, -1), (0, 1)]]


def grid_of(row: int, column: int) -> int:
    if row % 2 == column % 2 == 0:
        return 0 if row % 4 == column % 4 == 0 else 1 if row % 4 == column % 4 == 2 else 2
    return 3 if row % 2 == column % 2 == 1 else 4


class Table:
    """The frequencies of one table, by symbol."""

    def __init__(self, row: list[int]) -> None:
        self.largest = len(row) - 1
        symbols = range(-self.largest, self.largest + 1)
        self.interval: dict[int, tuple[int, int]] = {}
        below = 0
        for symbol in symbols:
            self.interval[symbol] = below, row[abs(symbol)]
            below += row[abs(symbol)]
        assert below == TOTAL

    def find(self, quantile: int) -> int:
        [symbol] = [s for s, (below, frequency) in self.interval.items() if below <= quantile < below + frequency]
        return symbol


class RangeEncoder:
    def __init__(self) -> None:
        self.low, self.range, self.words = 0, WRAP - 1, list[int]()

    def _without_carry(self, value: int) -> int:
        if value >= WRAP:
            value -= WRAP
            at = len(self.words) - 1
            while self.words[at] == (1 << 32) - 1:
                self.words[at] = 0
                at -= 1
            self.words[at] += 1
        return value

    def encode(self, table: Table, symbol: int) -> None:
        below, frequency = table.interval[symbol]
        scale = self.range >> 24
        self.low = self._without_carry(self.low + scale * below)
        self.range = scale * frequency
        if self.range < 1 << 32:
            self.words.append(self.low >> 32)
            self.low = (self.low << 32) % WRAP
            self.range <<= 32

    def end(self) -> bytes:
        point = self._without_carry(self.low + (1 << 32) - 1)
        self.words.append(point >> 32)
        if (self.low + self.range) % WRAP >> 32 == point >> 32:
            self.words.append(0)
        return struct.pack(f"<{len(self.words)}I", *self.words)


class RangeDecoder:
    def __init__(self, stream: bytes) -> None:
        self.words = iter(struct.unpack(f"<{len(stream) // 4}I", stream))
        self.low, self.range = 0, WRAP - 1
        self.point = (next(self.words, 0) << 32) + next(self.words, 0)

    def decode(self, table: Table) -> int:
        scale = self.range >> 24
        quantile = (self.point - self.low) % WRAP // scale
        if quantile >= TOTAL:
            raise ValueError("invalid stream")
        symbol = table.find(quantile)
        below, frequency = table.interval[symbol]
        self.low = (self.low + scale * below) % WRAP
        self.range = scale * frequency
        if self.range < 1 << 32:
            self.low = (self.low << 32) % WRAP
            self.range <<= 32
            self.point = (self.point << 32) % WRAP + next(self.words, 0)
        return symbol


def walk(symbols: Symbols, tables: dict[str, Any], point: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield table, channel, row and column in coding order; a symbol has to be there before the next part begins."""
    height, width = len(symbols[0]), len(symbols[0][0])

    def magnitude(channel: int, row: int, column: int) -> int:
        return abs(symbols[channel][row][column]) if 0 <= row < height and 0 <= column < width else 0

    channels = range(len(symbols))
    for grid in range(5):
        positions = [(r, c) for r in range(height) for c in range(width) if grid_of(r, c) == grid]
        earlier: list[int] = []
        for group in tables["groups"]:
            part = []
            for row, column in positions:
                around = [
                    sum(magnitude(channel, row + down, column + right) for down, right in NEIGHBOURS[grid])
                    for channel in channels
                ]
                known = sum(magnitude(channel, row, column) for channel in earlier)
                for channel in group:
                    terms = 1, sum(around), around[channel], known
                    weights = [of_term[channel] for of_term in tables["weights"][point][grid]]
                    total = sum(term * weight for term, weight in zip(terms, weights, strict=True))
                    part.append((sum(each <= total for each in tables["thresholds"]), channel, row, column))
            yield from sorted(part, key=lambda entry: entry[0])
            earlier += group


def encode(symbols: Symbols, tables: dict[str, Any], point: int) -> bytes:
    models = [Table(row) for row in tables["frequencies"]]
    coder = RangeEncoder()
    for table, channel, row, column in walk(symbols, tables, point):
        coder.encode(models[table], symbols[channel][row][column])
    return coder.end()


def decode(stream: bytes, shape: tuple[int, int, int], tables: dict[str, Any], point: int) -> Symbols:
    models = [Table(row) for row in tables["frequencies"]]
    coder = RangeDecoder(stream)
    channels, height, width = shape
    symbols = [[[0] * width for _ in range(height)] for _ in range(channels)]
    for table, channel, row, column in walk(symbols, tables, point):
        symbols[channel][row][column] = coder.decode(models[table])
    return symbols


def unpack(payload: bytes, contract: Contract) -> Symbols:
    """The symbols of a payload, with all that the page says about its fields."""
    version, point, shape, [stream], checksum = msgpack.unpackb(payload)
    assert version == contract["version"] == 3
    assert shape == [contract["latents"][key] for key in ("channels", "height", "width")]
    symbols = decode(stream, tuple(shape), contract["entropy_tables"], point)
    flat = [symbol for channel in symbols for row in channel for symbol in row]
    assert checksum >> 32 == zlib.crc32(stream, point)
    assert checksum & 0xFFFFFFFF == zlib.crc32(struct.pack(f"<{len(flat)}h", *flat))
    return symbols


def fingerprint(contract: Contract) -> str:
    tables = contract["entropy_tables"]
    parts = [
        contract["version"],
        [contract["input"][key] for key in ("width", "height")],
        [contract["latents"][key] for key in ("channels", "height", "width")],
        [[point["name"], [*map(float, point["steps"])]] for point in contract["operating_points"]],
        [tables[key] for key in ("groups", "weights", "thresholds", "frequencies")],
        [[task["name"], task["kind"], task["labels"]] for task in contract["tasks"]],
        contract["latent_space"],
    ]
    return hashlib.sha256(msgpack.packb(parts, use_single_float=True)).hexdigest()[:16]


def signature(
    key: bytes,
    vehicle: str,
    stamp: tuple[int, int],
    frame_id: str,
    session: int,
    sequence: int,
    contract: str,
    size: tuple[int, int],
    payload: bytes,
) -> bytes:
    """The signature of a bottleneck."""
    signed = signed_bytes(vehicle, stamp, frame_id, session, sequence, contract, size, payload)
    return hashlib.blake2b(signed, digest_size=16, key=key, person=b"mtl_split").digest()


def signed_bytes(
    vehicle: str,
    stamp: tuple[int, int],
    frame_id: str,
    session: int,
    sequence: int,
    contract: str,
    size: tuple[int, int],
    payload: bytes,
) -> bytes:
    """What the signature of a bottleneck covers."""
    texts = [text.encode("utf-8") for text in (vehicle, frame_id, contract)]
    signed = (3).to_bytes(4, "little")
    signed += stamp[0].to_bytes(4, "little", signed=True) + stamp[1].to_bytes(4, "little")
    signed += session.to_bytes(8, "little") + sequence.to_bytes(8, "little")
    signed += b"".join(side.to_bytes(4, "little") for side in size)
    signed += b"".join(len(part).to_bytes(4, "little") for part in [*texts, payload])
    return signed + b"".join([*texts, payload])


def report_signature(
    key: bytes,
    vehicle: str,
    session: int,
    sequence: int,
    received: int,
    queued: float,
    service: float,
    fate: int,
    copies: int,
) -> bytes:
    """The signature of a link report."""
    topic = vehicle.encode("utf-8")
    signed = b"".join(number.to_bytes(8, "little") for number in (session, sequence, received))
    signed += struct.pack("<ff", queued, service) + fate.to_bytes(1, "little") + copies.to_bytes(1, "little")
    signed += len(topic).to_bytes(4, "little") + topic
    return hashlib.blake2b(signed, digest_size=16, key=key, person=b"mtl_split report").digest()


def answer_signature(key: bytes, vehicle: str, session: int, sequence: int, results: bytes) -> bytes:
    """The signature of an answer."""
    topic = vehicle.encode("utf-8")
    signed = session.to_bytes(8, "little") + sequence.to_bytes(8, "little")
    signed += len(topic).to_bytes(4, "little") + len(results).to_bytes(4, "little") + topic + results
    return hashlib.blake2b(signed, digest_size=16, key=key, person=b"mtl_split answer").digest()


def state_signature(
    key: bytes,
    vehicle: str,
    server: str,
    session: int,
    number: int,
    ready: bool,
    vehicles: Sequence[str],
    serves: Sequence[bool],
    sessions: Sequence[int],
    sequences: Sequence[int],
) -> bytes:
    """The signature of a server's state."""
    topic, name = vehicle.encode("utf-8"), server.encode("utf-8")
    signed = session.to_bytes(8, "little") + number.to_bytes(8, "little") + bytes([ready])
    signed += b"".join(length.to_bytes(4, "little") for length in (len(topic), len(name), len(vehicles)))
    signed += topic + name
    for index, served in enumerate(vehicles):
        text = served.encode("utf-8")
        signed += bytes([serves[index]]) + sessions[index].to_bytes(8, "little")
        signed += sequences[index].to_bytes(8, "little") + len(text).to_bytes(4, "little") + text
    return hashlib.blake2b(signed, digest_size=16, key=key, person=b"mtl_split state").digest()


def features_signature(key: bytes, copies: int, division: str, **said: Any) -> bytes:
    """The signature of features: over what a bottleneck's covers, and the rest."""
    name = division.encode("utf-8")
    signed = signed_bytes(**said) + bytes([copies]) + len(name).to_bytes(4, "little") + name
    return hashlib.blake2b(signed, digest_size=16, key=key, person=b"mtl_split middle").digest()


def division_fingerprint(contract: str, division: dict[str, Any]) -> str:
    """The fingerprint of an entry of a manifest's `divisions`; contract: the fingerprint of the bundle's."""
    tensors = [[tensor["name"], tensor["shape"]] for tensor in division["tensors"]]
    parts = [1, contract, division["feature_space"], tensors]
    return hashlib.sha256(msgpack.packb(parts)).hexdigest()[:16]


def unpack_features(payload: bytes, shapes: Sequence[tuple[int, ...]]) -> list[Any]:
    """The tensors, in their order, that features carry."""
    planes = zstd.decompress(payload)
    numbers = len(planes) // 4
    assert numbers == sum(map(math.prod, shapes))
    flat = [bytes(planes[plane * numbers + index] for plane in range(4)) for index in range(numbers)]
    values, tensors = np.frombuffer(b"".join(flat), "<f4"), []
    for shape in shapes:
        tensors.append(values[: math.prod(shape)].reshape(shape))
        values = values[math.prod(shape) :]
    return tensors
