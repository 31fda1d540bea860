"""Signatures of what edges and servers send: keyed BLAKE2b over all they say, and the files of keys.

docs/wire-format.md tells which bytes are signed, docs/security.md what that protects.
"""

import hashlib
import hmac
import os
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from mtl_split_core.errors import InputError, SignatureError, UnsignedError
from mtl_split_core.payload import VERSION

SIGNATURE_BYTES = 16
UNSIGNED = bytes(SIGNATURE_BYTES)
"""The signature of a bottleneck that has none."""

KEY_BYTES = (32, hashlib.blake2b.MAX_KEY_SIZE)
"""The fewest and the most bytes of a key."""
MOST_KEYS = 2
"""The key in use, and the one before or after it."""
MOST_FILE_BYTES = 4096

_NUMBERS = struct.Struct("<IiIQQII4I")
_COPIES = struct.Struct("<BI")
_REPORT_NUMBERS = struct.Struct("<QQQffBBI")
_ANSWER_NUMBERS = struct.Struct("<QQII")
_STATE_NUMBERS = struct.Struct("<QQBIII")
_HOLDING_NUMBERS = struct.Struct("<BQQI")
_KEY = re.compile(f"(?:[0-9a-fA-F]{{2}}){{{KEY_BYTES[0]},{KEY_BYTES[1]}}}")


class Statement(Protocol):
    """What a message says, and what its signature covers.

    NAME: what such a message is called; PERSON: keeps the signatures of one type of message from those of another;
    vehicle: resolved name of the topic.
    """

    NAME: ClassVar[str]
    PERSON: ClassVar[bytes]

    @property
    def vehicle(self) -> str: ...

    def to_bytes(self) -> bytes:
        """Return the bytes that are signed: numbers of fixed sizes, the lengths of the rest, and the rest."""
        ...


@dataclass(frozen=True)
class BottleneckStatement:
    """What a bottleneck says.

    vehicle: resolved name of the topic; stamp: seconds and nanoseconds of the camera image; size: its width and height.
    The other fields are those of Bottleneck.msg.
    """

    NAME: ClassVar[str] = "bottleneck"
    PERSON: ClassVar[bytes] = b"mtl_split"

    vehicle: str
    stamp: tuple[int, int]
    frame_id: str
    session: int
    sequence: int
    contract: str
    size: tuple[int, int]
    payload: bytes

    def to_bytes(self) -> bytes:
        """See Statement."""
        rest = [text.encode() for text in (self.vehicle, self.frame_id, self.contract)] + [self.payload]
        numbers = (VERSION, *self.stamp, self.session, self.sequence, *self.size, *map(len, rest))
        return _NUMBERS.pack(*numbers) + b"".join(rest)


@dataclass(frozen=True)
class FeaturesStatement(BottleneckStatement):
    """What features say: the same as a bottleneck, and the fields of Features.msg beside those of Bottleneck.msg."""

    NAME: ClassVar[str] = "message with features"
    PERSON: ClassVar[bytes] = b"mtl_split middle"

    copies: int
    division: str

    def to_bytes(self) -> bytes:
        """See Statement."""
        division = self.division.encode()
        return super().to_bytes() + _COPIES.pack(self.copies, len(division)) + division


@dataclass(frozen=True)
class ReportStatement:
    """What a link report says: its vehicle, and the fields of LinkReport.msg."""

    NAME: ClassVar[str] = "link report"
    PERSON: ClassVar[bytes] = b"mtl_split report"

    vehicle: str
    session: int
    sequence: int
    received: int
    queued: float
    service: float
    fate: int
    copies: int

    def to_bytes(self) -> bytes:
        """See Statement."""
        topic = self.vehicle.encode()
        numbers = (self.session, self.sequence, self.received, self.queued, self.service, self.fate)
        return _REPORT_NUMBERS.pack(*numbers, self.copies, len(topic)) + topic


@dataclass(frozen=True)
class AnswerStatement:
    """What an answer says: its vehicle, and the fields of Answer.msg."""

    NAME: ClassVar[str] = "answer"
    PERSON: ClassVar[bytes] = b"mtl_split answer"

    vehicle: str
    session: int
    sequence: int
    results: bytes

    def to_bytes(self) -> bytes:
        """See Statement."""
        topic = self.vehicle.encode()
        return _ANSWER_NUMBERS.pack(self.session, self.sequence, len(topic), len(self.results)) + topic + self.results


@dataclass(frozen=True)
class StateStatement:
    """What a server of a group says: the topic, as its vehicle, and the fields of ServerState.msg."""

    NAME: ClassVar[str] = "server's state"
    PERSON: ClassVar[bytes] = b"mtl_split state"

    vehicle: str
    server: str
    session: int
    number: int
    ready: bool
    vehicles: tuple[str, ...]
    serves: tuple[bool, ...]
    sessions: tuple[int, ...]
    sequences: tuple[int, ...]

    def to_bytes(self) -> bytes:
        """See Statement; the lists have one length."""
        texts = [text.encode() for text in (self.vehicle, self.server)]
        numbers = (self.session, self.number, self.ready, *map(len, texts), len(self.vehicles))
        parts = [_STATE_NUMBERS.pack(*numbers), *texts]
        for name, *holding in zip(self.vehicles, self.serves, self.sessions, self.sequences, strict=True):
            parts += [_HOLDING_NUMBERS.pack(*holding, len(name.encode())), name.encode()]
        return b"".join(parts)


class Keys:
    """The keys of one end: it signs with the first, and accepts each of them."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """Raises ValueError unless there are 1 to MOST_KEYS keys with as many bytes as KEY_BYTES allows."""
        if not 1 <= len(keys) <= MOST_KEYS or not all(KEY_BYTES[0] <= len(key) <= KEY_BYTES[1] for key in keys):
            raise ValueError(f"expected 1 to {MOST_KEYS} keys of {KEY_BYTES[0]} to {KEY_BYTES[1]} bytes")
        self._hashes = {
            statement.PERSON: [
                hashlib.blake2b(key=key, digest_size=SIGNATURE_BYTES, person=statement.PERSON) for key in keys
            ]
            for statement in (BottleneckStatement, FeaturesStatement, ReportStatement, AnswerStatement, StateStatement)
        }

    def sign(self, statement: Statement) -> bytes:
        """Return the signature, of SIGNATURE_BYTES bytes, by the first key."""
        return self._signatures(statement)[0]

    def check(self, statement: Statement, signature: bytes) -> None:
        """Raise UnsignedError for UNSIGNED, and SignatureError where no key makes that signature."""
        if signature == UNSIGNED:
            raise UnsignedError(f"the {statement.NAME} is not signed: give the other end a key_file as well")
        # No short cut: how long it takes must not tell which key it was.
        if not any([hmac.compare_digest(signature, own) for own in self._signatures(statement)]):
            raise SignatureError(
                f"the {statement.NAME} is not signed with a key of ours for {statement.vehicle[:80]!r}: it was altered,"
                " is of another vehicle, or the other end has another key_file or topic name"
            )

    def _signatures(self, statement: Statement) -> list[bytes]:
        content = statement.to_bytes()
        hashes = [keyed.copy() for keyed in self._hashes[statement.PERSON]]
        for one in hashes:
            one.update(content)
        return [one.digest() for one in hashes]


def read_keys(path: Path, warn: Callable[[str], object]) -> Keys:
    """Read the keys of a file: one per line, in hexadecimal; empty lines and those that begin with # do not count.

    `warn` is called with a sentence where others than the file's owner can read or change it. Raises InputError, which
    never repeats what is in the file, for one that cannot be read or is not like that.
    """
    try:
        if not path.is_file():
            raise InputError(f"key_file is {str(path)!r}, expected a file: `openssl rand -hex 32` makes a key")
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(MOST_FILE_BYTES + 1)
    except OSError as error:
        raise InputError(f"key_file {path} cannot be read: {error.strerror}") from error
    if len(content) > MOST_FILE_BYTES:
        raise InputError(f"key_file {path} has more than {MOST_FILE_BYTES} bytes, expected 1 to {MOST_KEYS} keys")
    lines = [line.strip() for line in content.decode("ascii", "replace").splitlines()]
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line and not line.startswith("#")]
    for number, line in numbered:
        if not _KEY.fullmatch(line):
            low, high = KEY_BYTES
            raise InputError(
                f"line {number} of key_file {path} is no key, expected {low} to {high} bytes in hexadecimal, which are"
                f" {2 * low} to {2 * high} digits: `openssl rand -hex {low}` makes a key"
            )
    keys = [bytes.fromhex(line) for _, line in numbered]
    if not 1 <= len(keys) <= MOST_KEYS or len(set(keys)) < len(keys):
        raise InputError(f"key_file {path} has {len(keys)} keys, expected 1 to {MOST_KEYS}, each of them once")
    if mode & 0o077:
        warn(f"others than its owner have access to key_file {path}: chmod 600 {path}")
    return Keys(keys)
