"""Pictures that turn out damaged during a training: named once, left out, and counted."""

import logging
from typing import Any

# Lightning imports torchvision, which mtl_split_net.vision has to make importable first.
import mtl_split_net.vision  # noqa: F401

# isort: split
import lightning

from mtl_split_lab.data.samples import Batch

_logger = logging.getLogger(__name__)


class DamageReport(lightning.Callback):
    """Warns of every damaged picture once, and in the end of their number."""

    def __init__(self) -> None:
        self._named: set[str] = set()

    def on_train_batch_start(self, trainer: Any, training: Any, batch: Batch, index: int) -> None:
        self._name(batch)

    def on_validation_batch_start(
        self, trainer: Any, training: Any, batch: Batch, index: int, dataloader_index: int = 0
    ) -> None:
        self._name(batch)

    def on_fit_end(self, trainer: Any, training: Any) -> None:
        if self._named:
            _logger.warning("left out %d damaged pictures", len(self._named))

    def _name(self, batch: Batch) -> None:
        for damage in batch.damage:
            if damage not in self._named:
                self._named.add(damage)
                _logger.warning("left out: %s", damage)
