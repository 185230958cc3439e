"""Matrix products in float8 through torchao: weights keep their precision, factors are scaled and cast per product.

Scales come from the current values (dynamic scaling), one per row or one per tensor. The products of the backward pass
are in float8 too.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tao_skill_bank.errors import BlockedError, MissingExtraError

ARCHITECTURE = (8, 9)  # Ada; Hopper is 9.0
MULTIPLE = 16  # of both dimensions of a weight, which the kernels require


class Float8(NamedTuple):
    """How torchao computes a product: its settings of the casts and of the kernels."""

    config: Any
    kernels: Any

    @classmethod
    def of(cls, recipe: str, *, emulate: bool = False) -> "Float8":
        """Return the settings of a torchao recipe.

        Args:
            recipe: rowwise or tensorwise scales.
            emulate: round to float8 and multiply in float32, which works on every device.

        Raises:
            MissingExtraError: torchao is not installed.

        """
        try:
            from torchao.float8 import Float8LinearConfig
            from torchao.float8.float8_linear import Float8Linear
        except ImportError:
            raise MissingExtraError.for_module("torchao", "fp8") from None
        config = replace(Float8LinearConfig.from_recipe_name(recipe), emulate=emulate)
        layer: Any = Float8Linear.from_float(nn.Linear(MULTIPLE, MULTIPLE, device="meta"), config)
        return cls(config, layer.linear_mm_config)

    @staticmethod
    def suits(weight: Tensor) -> bool:
        """Return whether the kernels support a weight of this shape."""
        return all(size % MULTIPLE == 0 for size in weight.shape)

    def product(self, inputs: Tensor, weight: Tensor) -> Tensor:
        """Return x W^T (..., out) of inputs (..., in) and a weight (out, in)."""
        from torchao.float8.float8_linear import matmul_with_hp_or_float8_args

        out: Tensor = matmul_with_hp_or_float8_args.apply(inputs, weight.t(), self.kernels, self.config)
        return out


def require_gpu(device: torch.device, key: str) -> None:
    """Refuse a device that has no float8 arithmetic, which a key of the spec turns on. Raises BlockedError."""
    what = "The CPU"
    if device.type == "cuda":
        found = torch.cuda.get_device_capability(device)
        if found >= ARCHITECTURE:
            return
        what = f"{torch.cuda.get_device_name(device)} (sm_{found[0]}{found[1]})"
    message = f"{what} has no float8 arithmetic; {key} needs a GPU of sm_{ARCHITECTURE[0]}{ARCHITECTURE[1]} or newer."
    fix = f"Set {key}=false, or train on an Ada, Hopper or newer GPU."
    raise BlockedError.of("gpu_lacks_narrow_floats", message, fix, path=key)
