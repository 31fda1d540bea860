"""Whether the security that the environment asks for is there: ROS goes on without it, and without a word."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import rclpy
from rclpy.context import Context
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.parameter import Parameter

from mtl_split_core.errors import InputError, in_one_line

ENABLE, STRATEGY, KEYSTORE = "ROS_SECURITY_ENABLE", "ROS_SECURITY_STRATEGY", "ROS_SECURITY_KEYSTORE"
ENFORCE, PERMISSIVE = "Enforce", "Permissive"

ALLOWED = {ENABLE: ("true", "false"), STRATEGY: (ENFORCE, PERMISSIVE)}
"""What the variables may be beside empty; ROS takes anything else, such as "True" or "1", for the weaker one."""


def check_security(args: Sequence[str] | None = None) -> None:
    """Make sure that the nodes of this process are secured where ROS_SECURITY_ENABLE asks for it.

    With the strategy Permissive they may be open, but the log says so. args: the command line with which rclpy is going
    to be initialised; None: the process' own. Raises InputError where no node could be made, and for a value of these
    variables that ROS does not know.
    """
    for variable, words in ALLOWED.items():
        if os.environ.get(variable, "") not in ("", *words):
            raise InputError(f"{variable} is {os.environ[variable]!r}, expected {' or '.join(words)}")
    if os.environ.get(ENABLE) != "true" or not (problem := _problem_with(ENFORCE, args)):
        return
    cure = (
        "it takes a middleware that is built with DDS security, as PyPI's is not, and an enclave in the folder that"
        f" {KEYSTORE} names, see docs/security.md"
    )
    if os.environ.get(STRATEGY) == ENFORCE or _problem_with(PERMISSIVE, args):
        raise InputError(f"{ENABLE} is true, but there is no security: {problem}; {cure}")
    get_logger("mtl_split").error(
        f"{ENABLE} is true, but this process runs WITHOUT security: {problem}; {cure}. {STRATEGY}={ENFORCE} would"
        " refuse to run"
    )


def create_bare_node(name: str, context: Context, namespace: str | None = None) -> Node:
    """Create a node without any topic or service, and without the command line's settings.

    Policies allow the topics and services of the process' own nodes, not those of a helper beside them.
    """
    return rclpy.create_node(
        name,
        namespace=namespace,
        context=context,
        use_global_arguments=False,
        enable_rosout=False,
        start_parameter_services=False,
        parameter_overrides=[Parameter("start_type_description_service", value=False)],
    )


@contextmanager
def permitted(what: str) -> Iterator[None]:
    """Raise InputError where security is on and ROS fails to create `what`, as without the permission."""
    try:
        yield
    except rclpy_implementation.RCLError as error:
        if os.environ.get(ENABLE) != "true":
            raise
        raise InputError(
            f"{what}: {_words(error)}; {ENABLE} is true, so the enclave's permissions have to allow every topic and"
            " service of the node, see docs/security.md"
        ) from error


def _words(error: Exception) -> str:
    """What an error of ROS says, without where in its source."""
    return in_one_line(error).partition(", at /")[0].rstrip(".")


def _problem_with(strategy: str, args: Sequence[str] | None) -> str:
    """What keeps a node from being made with a strategy; empty: nothing.

    The middleware joins the network with the first node, and tells only then whether it has keys and can use them.
    """
    if strategy == ENFORCE and not os.environ.get(KEYSTORE):
        return f"{KEYSTORE} is not set"
    before = os.environ.get(STRATEGY)
    os.environ[STRATEGY] = strategy
    context = Context()
    try:
        rclpy.init(args=None if args is None else list(args), context=context)
        create_bare_node("security_check", context).destroy_node()
    except rclpy_implementation.RCLError as error:
        return _words(error)
    finally:
        context.try_shutdown()
        if before is None:
            del os.environ[STRATEGY]
        else:
            os.environ[STRATEGY] = before
    return ""
