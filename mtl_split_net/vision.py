"""torchvision, imported so that its Python half works where its operators, compiled for CUDA, cannot be loaded."""

import torch

_library = torch.library.Library("torchvision", "FRAGMENT")
for _operator in ("nms", "qnms"):
    # torchvision needs these two to be declared when it is imported; nothing here calls them.
    if not hasattr(torch.ops.torchvision, _operator):
        _library.define(f"{_operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from torchvision import models, ops  # noqa: E402
from torchvision.transforms import v2 as transforms  # noqa: E402

__all__ = ["models", "ops", "transforms"]
