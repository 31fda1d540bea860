"""100,000 signed bottlenecks with one bit altered on the way, as the middleware hands them over: `make fuzz`."""

import random
from array import array

import numpy as np
from builtin_interfaces.msg import Time
from mtl_split.msg import Bottleneck
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Header

from mtl_split_core.errors import SignatureError, UnsignedError
from mtl_split_core.signing import Keys
from mtl_split_ros.messages import statement

from .fuzzing import Tally

RUNS = 100_000
TOPIC = "/car1/bottleneck"
UNALTERED = "unaltered"
"""The bit was one of the padding."""


def random_bottleneck(chance: random.Random, keys: Keys) -> Bottleneck:
    """What an edge could have sent."""
    message = Bottleneck(
        header=Header(stamp=Time(sec=chance.getrandbits(31), nanosec=chance.randrange(10**9)), frame_id="camera"),
        session=chance.getrandbits(63),
        sequence=chance.getrandbits(20),
        contract=f"{chance.getrandbits(64):016x}",
        image_width=chance.randint(1, 4096),
        image_height=chance.randint(1, 4096),
        payload=array("B", chance.randbytes(chance.randint(100, 1200))),
    )
    message.signature = np.frombuffer(keys.sign(statement(message, TOPIC)), np.uint8)
    return message


def flip(sent: bytes, bit: int) -> Bottleneck | None:
    """Alter one bit of a serialised message; None where the middleware does not hand over what comes of it."""
    altered = bytearray(sent)
    altered[bit // 8] ^= 1 << bit % 8
    try:
        return deserialize_message(bytes(altered), Bottleneck)
    except RuntimeError:  # rclpy's RCLError
        return None


def fate(chance: random.Random, keys: Keys) -> str:
    """What became of one bottleneck; AssertionError where it is accepted, but says something else than was signed."""
    message = random_bottleneck(chance, keys)
    sent = serialize_message(message)
    received = flip(sent, chance.randrange(32, 8 * len(sent)))  # the first 4 bytes tell the byte order
    if received is None:
        return "not even read"
    if received == message:
        return UNALTERED
    try:
        keys.check(statement(received, TOPIC), received.signature.tobytes())
    except (SignatureError, UnsignedError):
        return "refused"
    raise AssertionError(f"accepted: {received} instead of {message}")


def main() -> None:
    """Alter one bit of each."""
    chance = random.Random(0)
    keys = Keys([chance.randbytes(32), chance.randbytes(64)])
    tally = Tally("signed bottlenecks with one bit altered", RUNS)
    while tally.left:
        if (what := fate(chance, keys)) != UNALTERED:
            tally.add(what)
    tally.tell()


if __name__ == "__main__":
    main()
