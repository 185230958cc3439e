import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tao_skill_bank.models.cosmos_reason.config import QuantizeConfig
from tao_skill_bank.models.cosmos_reason.processor import Processor
from tao_skill_bank.models.cosmos_reason.quantization import records
from tao_skill_bank.training.config import load_spec

Document = dict[str, Any]
Load = Callable[[Document], QuantizeConfig]


@pytest.fixture
def load(write_config: Callable[[Document, str], Path]) -> Load:
    return lambda document: load_spec(QuantizeConfig, write_config(document, "quantize"))


@pytest.mark.parametrize(("wanted", "chosen"), [(4, [0, 6, 12, 18]), (24, list(range(24))), (1000, list(range(24)))])
def test_calibration_records_are_spread_over_the_file(
    quantize_spec: Document, load: Load, processor: Processor, wanted: int, chosen: list[int]
) -> None:
    quantize_spec["quantize"]["num_calibration_samples"] = wanted
    found = records.calibration(load(quantize_spec), processor)
    every = json.loads(Path(quantize_spec["calibration_dataset"]["annotation_path"]).read_text())
    assert [record["id"] for record in found.records] == [every[index]["id"] for index in chosen]


def test_the_specs_sampling_and_system_prompt_are_used(
    quantize_spec: Document, load: Load, processor: Processor
) -> None:
    plain = records.calibration(load(quantize_spec), processor)[0]
    quantize_spec |= {"vision": {"nframes": 8}, "system_prompt": "You are a helpful assistant."}
    other = records.calibration(load(quantize_spec), processor)[0]
    assert [int((sample.token_types > 0).sum()) for sample in (plain, other)] == [8, 16]
    assert "You are a helpful assistant." in processor.tokenizer.decode(other.input_ids)


def test_without_held_out_data_there_are_no_held_out_records(
    quantize_spec: Document, load: Load, processor: Processor
) -> None:
    assert len(records.held_out(load(quantize_spec), processor) or ()) == 9
    del quantize_spec["dataset"]
    assert records.held_out(load(quantize_spec), processor) is None
