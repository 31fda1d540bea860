"""What the types of messages are made of: as it is installed here, and as a bag says."""

import importlib
import re
from functools import cache
from pathlib import Path
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from rosbags.interfaces import Connection, ConnectionExtRosbag2, MessageDefinitionFormat
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from mtl_split_core.errors import InputError

ENCODING = "cdr"


@cache
def message_types() -> Typestore:
    """Return the definitions of all types that are recorded: a bag holds them, so that anybody can read it."""
    types = get_typestore(Stores.LATEST)
    for package in ("vision_msgs", "mtl_split"):
        for file in sorted((Path(get_package_share_directory(package)) / "msg").glob("*.msg")):
            types.register(get_types_from_msg(file.read_text(), f"{package}/msg/{file.stem}"))
    return types


def message_class(name: str) -> type[Any]:
    """Return the installed class of a type such as sensor_msgs/msg/Image. Raises InputError where there is none."""
    found = re.fullmatch(r"([a-z0-9_]+)/msg/([A-Za-z0-9]+)", name)
    try:
        if found is None:
            raise AttributeError
        get_package_share_directory(found[1])  # a bag must not have anything else imported
        kind: type[Any] = getattr(importlib.import_module(f"{found[1]}.msg"), found[2])
    except (PackageNotFoundError, ImportError, AttributeError) as error:
        raise InputError(f"type {name!r} is not installed, expected one such as sensor_msgs/msg/Image") from error
    return kind


def check_definition(connection: Connection) -> None:
    """Check that a bag's messages can be read as ours: another definition would make other values of the same bytes.

    Raises InputError where they cannot, or whatever rosbags raises for a definition that is none.
    """
    topic, name = connection.topic, connection.msgtype
    encoding = connection.ext.serialization_format if isinstance(connection.ext, ConnectionExtRosbag2) else ""
    if encoding != ENCODING:
        raise InputError(f"{topic!r} is serialised as {encoding!r}, expected {ENCODING!r}")
    ours = message_types()
    if name not in ours.fielddefs:
        return
    expected, found = ours.hash_rihs01(name), connection.digest
    if not found and connection.msgdef.format == MessageDefinitionFormat.MSG:
        theirs = get_typestore(Stores.EMPTY)
        theirs.register(get_types_from_msg(connection.msgdef.data, name))
        found = theirs.hash_rihs01(name)
    if found and found != expected:
        raise InputError(
            f"{topic!r} is of another {name} than is installed here, of another release perhaps: its type hash is "
            f"{found}, expected {expected}"
        )
