"""Caps the effective batch of a trial at the number of training samples, so that every epoch has a step."""

from collections.abc import Mapping
from typing import Any

from tao_skill_bank.bank.skill_info import AutomlKeys
from tao_skill_bank.core import nested


def capped(
    values: Mapping[str, Any], spec_values: Mapping[str, Any], keys: AutomlKeys, ranks: int, num_records: int
) -> tuple[dict[str, Any], str]:
    """Return a trial's values with a batch that the data can fill, and a sentence about the change, empty without one.

    The effective batch is batch x accumulation x ranks. The batch is rounded down to a multiple of the micro-batch, and
    the micro-batch and the accumulation are lowered only where that is not enough.

    Args:
        values: by spec path.
        spec_values: the nested spec, for keys that `values` leave alone.
        keys: names of the batch, the micro-batch and the accumulation.
        ranks: data-parallel ranks.
        num_records: usable training samples.

    """
    per_rank = max(num_records // ranks, 1)
    old = {key: _number(key, values, spec_values) for key in (keys.batch, keys.micro_batch, keys.accumulation) if key}
    batch, micro = old[keys.batch], old.get(keys.micro_batch or "", 1)
    accumulation = min(old.get(keys.accumulation or "", 1), per_rank)
    most = min(batch, per_rank // accumulation)
    micro = min(micro, most)
    new = {keys.batch: most // micro * micro, keys.micro_batch: micro, keys.accumulation: accumulation}
    changed = {key: new[key] for key in old if new[key] != old[key]}
    if not changed:
        return dict(values), ""
    words = ", ".join(f"{key} {old[key]} -> {value}" for key, value in changed.items())
    effective = new[keys.batch] * accumulation * ranks
    note = f"{words}: the effective batch is {effective} of {num_records} training samples on {ranks} rank(s)."
    return {**values, **changed}, note


def _number(key: str, values: Mapping[str, Any], spec_values: Mapping[str, Any]) -> int:
    return int(values[key] if key in values else nested.get(spec_values, key, 1))
