"""EVA: adapters that start from what their layers read."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason import batches, eva, model
from tao_skill_bank.models.cosmos_reason.config import TrainConfig
from tao_skill_bank.models.cosmos_reason.data import Records
from tao_skill_bank.models.cosmos_reason.processor import Processor
from tao_skill_bank.training import adapters
from tao_skill_bank.training.config import load_spec
from tao_skill_bank.training.distributed import Ranks

from .conftest import Document

RANKS = Ranks(0, 1, torch.device("cpu"))


@pytest.fixture
def config(train_spec: Document, write_config: Callable[..., Path]) -> TrainConfig:
    targets = ["q_proj", "k_proj", "down_proj", "attn.qkv"]
    train_spec["policy"]["lora"] = {"r": 4, "lora_alpha": 8, "target_modules": targets, "init_lora_weights": "eva"}
    return load_spec(TrainConfig, write_config(train_spec))


@pytest.fixture
def records(config: TrainConfig, processor: Processor) -> Records:
    return batches.datasets(config, processor)[0]


class OneRank(Ranks):
    """Needs no process group."""

    def gather(self, value: Any) -> list[Any]:
        return [value]


def adapted(config: TrainConfig) -> Any:
    base = Path(config.policy.model_name_or_path)
    return adapters.add(model.load(base, torch.float32, RANKS.device), model.lora_options(config.policy), str(base))


def start(config: TrainConfig, records: Records) -> Any:
    network = adapted(config)
    begin = eva.starting(config, records, OneRank(0, 1, RANKS.device))
    assert begin is not None
    begin(network)
    return network


@pytest.mark.slow
def test_adapters_start_at_the_main_directions_of_what_a_layer_reads(config: TrainConfig, records: Records) -> None:
    network = start(config, records)
    name = "base_model.model.model.language_model.layers.1.mlp.down_proj"
    layer, seen = network.get_submodule(name), []
    handle = layer.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    source = eva.RecordSource(records, config, network)
    for indices in source:
        mask = source.load(indices, None)
        with torch.no_grad():
            source.forward(network, indices)
        seen[-1] = seen[-1][mask]
    handle.remove()
    states = torch.cat(seen).double()
    _, _, directions = torch.linalg.svd(states - states.mean(0), full_matrices=False)
    first = layer.lora_A["default"].weight.double()[0]
    assert abs(float(first @ directions[0])) > 0.98
    assert not layer.lora_B["default"].weight.any()


def test_ranks_are_shared_out_by_it_and_their_sum_stays(config: TrainConfig, records: Records) -> None:
    untouched, network = adapted(config), start(config, records)

    def ranks(one: Any) -> list[int]:
        return [len(weight) for name, weight in one.named_parameters() if ".lora_A." in name]

    assert sum(ranks(network)) == sum(ranks(untouched))
    assert ranks(network) != ranks(untouched)
    assert network.peft_config["default"].rank_pattern


@pytest.mark.slow
def test_two_starts_are_equal(config: TrainConfig, records: Records) -> None:
    first, second = (dict(start(config, records).named_parameters()) for _ in range(2))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_only_records_with_media_are_shown_when_the_vision_tower_has_adapters(
    config: TrainConfig, records: Records
) -> None:
    for record in records.records[5:]:
        del record["video"]
        record["conversations"][0]["value"] = "Where does it go?"
    shown = [int(index) for indices in eva.RecordSource(records, config, adapted(config)) for index in indices]
    assert sorted(shown) == [0, 1, 2, 3, 4]
    for record in records.records[:5]:
        del record["video"]
        record["conversations"][0]["value"] = "Where does it go?"
    with pytest.raises(BlockedError, match="no training record has any"):
        eva.RecordSource(records, config, adapted(config))


def test_a_start_that_does_not_settle_is_given_up(
    config: TrainConfig, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eva, "MAX_BATCHES", 2)
    with pytest.raises(BlockedError, match="EVA has not converged after 2 batches of 4 samples"):
        start(config, records)


def test_other_starts_look_at_no_data(config: TrainConfig, records: Records) -> None:
    assert config.policy.lora is not None
    plain = replace(config, policy=replace(config.policy, lora=replace(config.policy.lora, init_lora_weights=True)))
    assert eva.starting(plain, records, RANKS) is None
