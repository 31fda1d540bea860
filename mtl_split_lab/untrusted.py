"""What is wrong in data that others wrote, said in one line."""

from pydantic import ValidationError

from mtl_split_core.errors import brief, in_one_line


def name_faults(error: ValidationError, most: int = 1) -> str:
    """Say where the first faults of some data are, what is there and what was expected."""
    named = []
    for fault in error.errors(include_url=False)[:most]:
        place = ".".join(map(str, fault["loc"]))[:100]
        # What this package refuses itself says what was there.
        own = fault.get("ctx", {}).get("error")
        said = str(own) if own is not None else f"{fault['msg']}, got {brief(fault['input'])}"
        named.append(f"{place}: {said}" if place else said)
    return in_one_line("; ".join(named))
