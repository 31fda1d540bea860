"""What edge, server and their like have in common: lifecycle, autostart, parameters, diagnostics, an end on a fault."""

from __future__ import annotations  # rclpy's classes are generic from Kilted on

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter as RosParameter

from mtl_split_core.choice import KINDS
from mtl_split_core.errors import InputError
from mtl_split_core.signing import Keys, read_keys
from mtl_split_ros.diagnostics import Stream
from mtl_split_ros.parameters import Parameter, Parameters

LIFECYCLE_PARAMETERS = (
    Parameter("autostart", "Configure and activate at the start; false: wait for a lifecycle manager."),
    Parameter("diagnostics_period", "Seconds between two reports on /diagnostics.", range=(0.1, 60.0)),
)
"""The parameters of every managed node."""

COMMON_PARAMETERS = (
    Parameter("bundle", 'The trained network: name of a shipped bundle, or a folder (with a "/" in it).'),
    Parameter(
        "engine", "What runs the network; `auto`: the fastest installed, which takes seconds to find.", choices=KINDS
    ),
    Parameter("threads", "Processor threads that inference may use.", range=(1, 64)),
    Parameter("key_file", "Keys that bottlenecks are signed with, see docs/security.md; empty: they are not signed."),
    *LIFECYCLE_PARAMETERS,
)
"""The parameters of edge and server."""


class ManagedNode(LifecycleNode):
    """A lifecycle node whose parameters are read at configure and can only be changed before.

    A step that raises InputError fails with one line in the log and in /diagnostics, and the node lives on in the state
    before, except at its own start. Any other exception is a fault and ends the process: see `ended`.
    """

    def __init__(self, name: str, parameters: Parameters) -> None:
        """Declare the parameters and begin to report. Raises InputError for a parameter that cannot be."""
        super().__init__(name)
        self.ended: Future[None] = Future()
        self.streams: list[Stream] = []
        self._table = parameters
        self._state = "unconfigured"
        self._trouble = ""
        self._starting = False
        parameters.declare(self, may_change=lambda: self._state == "unconfigured")
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # On a steady clock, because a simulated one that stands still is among the things to be told.
        period = parameters.read(self)["diagnostics_period"]
        self._timer = self.create_timer(period, self._report, clock=Clock(clock_type=ClockType.STEADY_TIME))

    @abstractmethod
    def configure(self, values: dict[str, Any]) -> None:
        """Load everything that the parameters' `values` name, warm it up, and create the publishers."""

    @abstractmethod
    def activate(self) -> None:
        """Subscribe, set `streams` and, after all that can fail, start the worker."""

    @abstractmethod
    def deactivate(self) -> None:
        """Unsubscribe and stop the worker."""

    @abstractmethod
    def cleanup(self) -> None:
        """Release what `configure` made."""

    def figures(self) -> Mapping[str, str]:
        """Return what the node's own status in /diagnostics is to tell beside its state."""
        return {}

    def autostart(self) -> None:
        """Configure and activate, if the parameter `autostart` says so.

        Raises InputError, with the node destroyed, where one of them fails: nobody would try it again.
        """
        if not self.get_parameter("autostart").value:
            return
        self._starting = True
        for trigger in (self.trigger_configure, self.trigger_activate):
            if trigger() != TransitionCallbackReturn.SUCCESS and self._trouble:
                self.destroy_node()
                raise InputError(self._trouble)
        self._starting = False

    def check_changes(self, check: Callable[[str, Any], None]) -> None:
        """Refuse changes of parameters for whose name and value `check` raises InputError."""

        def checked(changes: list[RosParameter[Any]]) -> SetParametersResult:
            try:
                for change in changes:
                    check(change.name, change.value)
            except InputError as error:
                return SetParametersResult(successful=False, reason=str(error))
            return SetParametersResult(successful=True)

        self.add_on_set_parameters_callback(checked)

    def read_keys(self, key_file: str) -> Keys | None:
        """Read the file that the parameter `key_file` names; None: no file. Raises InputError as `read_keys` does."""
        return read_keys(Path(key_file).expanduser(), self.get_logger().warning) if key_file else None

    def end_with(self, workers: Iterable[Future[None]]) -> None:
        """End the process if a worker thread ends with an exception."""
        for worker in workers:
            worker.add_done_callback(lambda worker: self._fail(worker.exception()))

    def _fail(self, error: BaseException | None) -> None:
        if error and not self.ended.done():
            self.ended.set_exception(error)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and warm up; fails for a parameter or a bundle that cannot be used."""
        values = self._table.read(self)
        self._timer.timer_period_ns = int(values["diagnostics_period"] * 1e9)
        return self._step(lambda: self.configure(values), "inactive")

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe."""
        return self._step(self._activate, "active")

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and finish the frame at hand."""
        return self._step(self._deactivate, "inactive")

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release the network and the publishers."""
        return self._step(self.cleanup, "unconfigured")

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and release everything, from whatever state."""
        return self._step(self._stop, "finalized")

    def destroy_node(self) -> None:
        """Stop the worker and destroy the node."""
        self._stop()
        super().destroy_node()

    def _activate(self) -> None:
        self.activate()
        for stream in self.streams:
            self.get_logger().info(f"waiting for {stream.topic}")

    def _deactivate(self) -> None:
        self.deactivate()
        self.streams = []

    def _stop(self) -> None:
        if self._state == "active":
            self._deactivate()
            self._state = "inactive"
        if self._state == "inactive":
            self.cleanup()
            self._state = "unconfigured"

    def _step(self, step: Callable[[], None], reached: str) -> TransitionCallbackReturn:
        self._trouble = ""
        try:
            step()
        except InputError as error:
            self._trouble = str(error)
            if not self._starting:  # or else whoever made the node tells it
                self.get_logger().error(self._trouble)
            return TransitionCallbackReturn.FAILURE
        except Exception as error:
            self._fail(error)  # rclpy would go on without a word
            raise
        self._state = reached
        self.get_logger().info(reached)
        return TransitionCallbackReturn.SUCCESS

    def _report(self) -> None:
        name = self.get_fully_qualified_name()
        level, trouble = DiagnosticStatus.ERROR, self._trouble
        if not trouble:
            trouble = self._judge_clock()
            level = DiagnosticStatus.WARN if trouble else DiagnosticStatus.OK
        message = f"{self._state}: {trouble}" if trouble else self._state
        values = [KeyValue(key=key, value=value) for key, value in self.figures().items()]
        own = DiagnosticStatus(level=level, name=name, message=message, values=values)
        report = DiagnosticArray(status=[own, *(stream.report(name) for stream in self.streams)])
        report.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(report)

    def _judge_clock(self) -> str:
        """What is wrong with the node's clock, if anything: a simulated one is 0 before its first time."""
        simulated = self.get_parameter("use_sim_time").value
        waits = simulated and not self.get_clock().now().nanoseconds
        return "use_sim_time is true, but nobody publishes the time on /clock" if waits else ""
