"""What can be wrong with what comes from outside: one error type per kind of input."""


class InputError(ValueError):
    """Something that came from outside cannot be used; the message names the value and what was expected."""


class ImageError(InputError):
    """An image with an unknown encoding, no pixels or the wrong number of bytes, or bytes that cannot be decoded."""


class TooLargeError(InputError):
    """A picture so full of detail that no operating point keeps its payload small enough."""


class InferenceError(InputError):
    """A frame on which the network fails, or for which its outputs are not all finite."""


class PayloadError(InputError):
    """A bottleneck payload that is damaged, of another version, or not possible under the contract at hand."""


class BundleError(InputError):
    """A bundle that is missing, incomplete or damaged, or whose files do not do what its manifest says."""


class UnsignedError(InputError):
    """A bottleneck without a signature where keys are given."""


class SignatureError(InputError):
    """A bottleneck whose signature was made with another key, for another vehicle, or before something was altered."""


class ReplayError(InputError):
    """A signed bottleneck that is not newer than one that was taken before."""


class SecondPublisherError(InputError):
    """A bottleneck of somebody who publishes on the topic of a vehicle that another publisher has."""


MOST_WORDS = 900
"""Characters of a library's error that are repeated: it may repeat whatever a stranger wrote."""


def in_one_line(error: Exception | str) -> str:
    """Return the words of a library's error, or of any text, without line breaks, and no more than MOST_WORDS."""
    words = " ".join(str(error).split())
    return words if len(words) <= MOST_WORDS else f"{words[:MOST_WORDS]} …"


def brief(value: object) -> str:
    """Name a value from an untrusted source in a few words, without writing out all of it."""
    match value:
        case list():
            return f"a list of {len(value)}"
        case dict():
            return f"an object of {len(value)}"
        case int() if value.bit_length() > 64:
            return f"an integer of {value.bit_length()} bits"
        case str() | bytes():
            return repr(value[:60])
    return repr(value)[:80]
