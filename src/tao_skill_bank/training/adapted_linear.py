"""Linear layers with a LoRA or DoRA adapter, from peft's layers, computed in the model's own precision.

peft casts the input of every adapter to float32 and, for DoRA, rebuilds B A and the norm of the whole sum W
+ s B A in each call. Here the adapters are cast down instead (the float32 masters stay), and the norm of each row comes
from three small products (s is alpha / rank, * is elementwise, sums go over the row):

    |w + s b A|^2 = |w|^2 + 2 s sum((W A^T) * B) + s^2 sum((B (A A^T)) * B)

with |w|^2 computed once. As in DoRA's paper (section 4.3) and in peft, no gradient flows through the norm.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from tao_skill_bank.training import four_bit
from tao_skill_bank.training.adapted_products import adapted_products
from tao_skill_bank.training.float8 import Float8
from tao_skill_bank.training.four_bit import FourBit

ADAPTED = ("Linear", "Linear4bit")  # peft's classes of layers that are computed from their tensors


class Linear(NamedTuple):
    """One layer as plain tensors, so that one compiled function serves every layer of a kind.

    Attributes:
        weight, bias: of the layer; an empty weight where it is packed.
        down, up: A (rank, in) and B (out, rank) of the adapter, None without one.
        scaling: alpha / rank.
        dropout: probability that an input of the adapter is dropped; 0 outside training.
        magnitude: of each output, for DoRA.
        squared_norms: |w|^2 of each row of the frozen weight, for DoRA.
        float8: how the product with the weight is computed in float8; the adapter's products are not.
        packed: the frozen weight in 4 bits.
        module: the layer itself, where it is of another type (several adapters, other variants): it is called then, and
            the other fields are ignored.

    """

    weight: Tensor
    bias: Tensor | None = None
    down: Tensor | None = None
    up: Tensor | None = None
    scaling: float = 1.0
    dropout: float = 0.0
    magnitude: Tensor | None = None
    squared_norms: Tensor | None = None
    float8: Float8 | None = None
    packed: FourBit | None = None
    module: nn.Module | None = None


class LinearReader:
    """Reads layers as they are now: adapters may be added, switched, weighted or merged between calls.

    Args:
        float8: how products with weights are computed in float8, where their sizes allow it.

    """

    def __init__(self, float8: Float8 | None = None) -> None:
        self._float8 = float8
        self._squared_norms: Any = WeakIdKeyDictionary()

    def read(self, layer: nn.Module) -> Linear:
        """Return what `layer` computes as tensors, or the layer itself when it has more than one adapter."""
        if _is_readable(layer):
            return self._base(layer)
        peft_layer: Any = layer
        name = _only_adapter(peft_layer)
        if name is None:
            return Linear(torch.empty(0), module=layer)
        magnitude = peft_layer.lora_magnitude_vector[name].weight if name in peft_layer.lora_variant else None
        return self._base(peft_layer.base_layer)._replace(
            down=peft_layer.lora_A[name].weight,
            up=peft_layer.lora_B[name].weight,
            scaling=float(peft_layer.scaling[name]),
            dropout=float(getattr(peft_layer.lora_dropout[name], "p", 0.0)) if layer.training else 0.0,
            magnitude=magnitude,
            squared_norms=None if magnitude is None else self._norms_of(peft_layer.base_layer),
        )

    def _base(self, layer: Any) -> Linear:
        if four_bit.is_packed(layer):
            return Linear(torch.empty(0), layer.bias, packed=FourBit.of(layer))
        float8 = self._float8 if self._float8 and Float8.suits(layer.weight) else None
        return Linear(layer.weight, layer.bias, float8=float8)

    def _norms_of(self, layer: Any) -> Tensor:
        """Return |w|^2 of every row, in float32 at least, computed once for a weight as it is stored now."""
        weight = layer.weight
        stamp = (weight.data_ptr(), weight._version)
        known = self._squared_norms.get(weight)
        if known is None or known[0] != stamp:
            with torch.inference_mode(mode=False), torch.no_grad():  # cached for calls that do train
                whole = FourBit.of(layer).whole(torch.float32) if four_bit.is_packed(layer) else weight
                rows = whole.to(torch.promote_types(whole.dtype, torch.float32))
                known = (stamp, rows.square().sum(dim=1))
            self._squared_norms[weight] = known
        norms: Tensor = known[1]
        return norms


def _is_readable(layer: nn.Module) -> bool:
    """Return whether a layer has no adapter and can be computed from its tensors."""
    return type(layer) is nn.Linear or four_bit.is_packed(layer)


def _only_adapter(layer: Any) -> str | None:
    """Return the name of the adapter when the layer is a plain linear with exactly one active LoRA or DoRA."""
    from peft.tuners.lora.layer import LoraLayer
    from peft.tuners.lora.variants import DoraLinearVariant

    if not isinstance(layer, LoraLayer) or type(layer).__name__ not in ADAPTED or not _is_readable(layer.base_layer):
        return None
    if layer.disable_adapters or layer.merged or layer.fan_in_fan_out:
        return None
    active: list[str] = [name for name in layer.active_adapters if name in layer.lora_A]
    if len(active) != 1 or layer.lora_bias[active[0]]:
        return None
    variant = layer.lora_variant.get(active[0])
    return active[0] if variant is None or type(variant) is DoraLinearVariant else None


def apply(linear: Linear, inputs: Tensor) -> Tensor:
    """Return the layer's output."""
    return apply_all([linear], inputs)[0]


def apply_all(linears: Sequence[Linear], inputs: Tensor) -> list[Tensor]:
    """Return the outputs of layers that share their input."""
    downs = [linear.down for linear in linears if linear.down is not None and _is_joined(linear)]
    if len(downs) < len(linears):
        return [_apply(linear, inputs) for linear in linears]
    ups = [_scaled_up(linear, inputs.dtype) for linear in linears]
    products = adapted_products(inputs, [linear.weight for linear in linears], torch.cat(downs).to(inputs.dtype), ups)
    return [_finished(linear, product) for linear, product in zip(linears, products, strict=True)]


def _is_joined(linear: Linear) -> bool:
    """Return whether one operator computes base and adapter."""
    return linear.dropout == 0 and linear.float8 is None and linear.packed is None


def _apply(linear: Linear, inputs: Tensor) -> Tensor:
    if linear.module is not None:
        out: Tensor = linear.module(inputs)
        return out
    if linear.down is None and linear.float8 is None and linear.packed is None:
        return F.linear(inputs, linear.weight, linear.bias)
    if linear.down is None:
        return _with_bias(linear, _product(linear, inputs))
    if _is_joined(linear):
        return apply(linear, inputs)
    dropped = F.dropout(inputs, linear.dropout) if linear.dropout else inputs
    delta = F.linear(F.linear(dropped, linear.down.to(inputs.dtype)), _scaled_up(linear, inputs.dtype))
    base = _product(linear, inputs)
    if linear.magnitude is None or linear.dropout == 0:
        return _finished(linear, base + delta)
    # The part that the magnitude adds to the frozen weight sees the dropped inputs too, as in peft.
    scale = _magnitude_scale(linear).to(inputs.dtype)
    return _with_bias(linear, base + (scale - 1) * _product(linear, dropped) + scale * delta)


def _product(linear: Linear, inputs: Tensor) -> Tensor:
    """Return W x."""
    if linear.packed is not None:
        return linear.packed.product(inputs)
    if linear.float8 is not None:
        return linear.float8.product(inputs, linear.weight)
    return F.linear(inputs, linear.weight)


def _finished(linear: Linear, product: Tensor) -> Tensor:
    """Return the output for W x + s B A x."""
    if linear.magnitude is not None:
        product = _magnitude_scale(linear).to(product.dtype) * product
    return _with_bias(linear, product)


def _with_bias(linear: Linear, product: Tensor) -> Tensor:
    return product if linear.bias is None else product + linear.bias


def _scaled_up(linear: Linear, dtype: torch.dtype) -> Tensor:
    assert linear.up is not None
    return (linear.up * linear.scaling).to(dtype)


def _magnitude_scale(linear: Linear) -> Tensor:
    """Return DoRA's magnitude over the norm of the adapted rows, (out,), in the precision of the magnitude."""
    assert linear.down is not None
    assert linear.up is not None
    assert linear.magnitude is not None
    assert linear.squared_norms is not None
    with torch.no_grad():
        down, up, scaling = linear.down.detach(), linear.up.detach(), linear.scaling
        if linear.packed is not None:
            crossed = linear.packed.product(down).T  # W A^T
        else:
            crossed = F.linear(linear.weight.detach(), down.to(linear.weight.dtype)).to(up.dtype)
        squared = linear.squared_norms + 2 * scaling * (crossed * up).sum(dim=1)
        squared = squared + scaling**2 * ((up @ (down @ down.T)) * up).sum(dim=1)
        norms = squared.clamp_min(0).sqrt()
    return linear.magnitude / norms
