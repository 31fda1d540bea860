"""What nodes that serve vehicles have in common, server and roadside unit: how frames come to the workers."""

from __future__ import annotations  # rclpy's classes are generic from Kilted on

import time
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from rclpy.clock import JumpHandle

from mtl_split_core.control.link import Fate
from mtl_split_core.errors import InputError
from mtl_split_ros.lifecycle import ManagedNode
from mtl_split_ros.mailbox import Mailbox
from mtl_split_ros.messages import Sent
from mtl_split_ros.subscriptions import Subscriptions
from mtl_split_ros.vehicle import Out, Receipt, Vehicle, forget_stamps_on_jumps_back

if TYPE_CHECKING:
    from rclpy.subscription import MessageInfo

Received = TypeVar("Received")


class ServingNode(ManagedNode, Generic[Out, Received]):
    """While it is active, workers take what its vehicles send from a mailbox, in which each vehicle has one place."""

    _inputs: Subscriptions
    _vehicles: list[Vehicle[Out]]
    _mailbox: Mailbox[Vehicle[Out], Received]
    _jumps: JumpHandle

    def activate(self) -> None:
        """Subscribe to what all vehicles send and start the workers."""
        self._inputs, self._vehicles = Subscriptions(self), []
        try:
            self._serve_all()
        except InputError:
            self._unsubscribe()
            raise
        self._mailbox = self._open_mailbox()
        self.end_with(self._mailbox.ended)
        self._jumps = forget_stamps_on_jumps_back(self, self._vehicles)

    def deactivate(self) -> None:
        """Unsubscribe, and stop the workers after the frames they are at."""
        self._jumps.unregister()
        self._unsubscribe()
        self._mailbox.close()

    @abstractmethod
    def _serve_all(self) -> None:
        """Add all vehicles, and subscribe to what they send: `_receive` takes it."""

    @abstractmethod
    def _open_mailbox(self) -> Mailbox[Vehicle[Out], Received]:
        """Start the workers: each has `_process` with what it does with a frame."""

    @abstractmethod
    def _accept(self, vehicle: Vehicle[Out], message: Sent, receipt: Receipt, link: float) -> Received:
        """Return what a worker needs of a good frame that was `link` milliseconds on its way."""

    @abstractmethod
    def _settle(self, vehicle: Vehicle[Out], received: Received, fate: Fate, begun: float) -> None:
        """Report what became of a frame; `begun`: when the work on it began."""

    def _receive(self, vehicle: Vehicle[Out], message: Sent, info: MessageInfo) -> None:
        receipt = vehicle.take(message, info)
        if receipt is None:
            return
        link = (info["received_timestamp"] - info["source_timestamp"]) / 1e6
        replaced = self._mailbox.put(vehicle, self._accept(vehicle, message, receipt, link))
        if replaced is not None:
            vehicle.stream.count("dropped")
            self._settle(vehicle, replaced, Fate.REPLACED, time.monotonic())

    def _process(
        self, work: Callable[[Vehicle[Out], Received], Fate], vehicle: Vehicle[Out], received: Received
    ) -> None:
        begun, fate = time.monotonic(), Fate.FAILED
        try:
            fate = work(vehicle, received)
        finally:
            self._settle(vehicle, received, fate, begun)

    def _unsubscribe(self) -> None:
        self._inputs.close()
        self.streams = []
