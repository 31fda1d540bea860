"""What can be wrong with what comes from outside: one error type per kind of input."""


class InputError(ValueError):
    """Something that came from outside cannot be used; the message names the value and what was expected."""


class ImageError(InputError):
    """An image with an unknown encoding, no pixels or the wrong number of bytes, or bytes that cannot be decoded."""


class TooLargeError(InputError):
    """A picture so full of detail that no operating point keeps its payload small enough."""


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


def in_one_line(error: Exception) -> str:
    """Return the words of a library's error without its line breaks."""
    return " ".join(str(error).split())
