import pytest

from tao_skill_bank.data.prompt_pairs import Prompt
from tao_skill_bank.models.cosmos_predict import generation_plan
from tao_skill_bank.models.cosmos_predict.config import GenerateConfig
from tao_skill_bank.models.cosmos_predict.config.generate import AdapterUse

PROMPTS = [Prompt("a", "first"), Prompt("b", "second")]
ADAPTERS = [AdapterUse("somewhere", "lora"), AdapterUse("elsewhere", "dora")]


@pytest.mark.parametrize(
    ("mode", "include_base", "expected"),
    [
        ("swap", True, [("base", ()), ("lora", ("lora",)), ("dora", ("dora",))]),
        ("swap", False, [("lora", ("lora",)), ("dora", ("dora",))]),
        ("blend", True, [("base", ()), ("blend", ("lora", "dora"))]),
        ("fuse", True, [("base", ()), ("fuse", ("lora", "dora"))]),
    ],
)
def test_variants_are_the_base_first_and_the_adapters_by_mode(mode, include_base, expected):
    config = GenerateConfig(prompt="x", adapters=ADAPTERS, adapter_mode=mode, include_base=include_base)
    found = generation_plan.variants(config)
    assert [(variant.name, variant.adapters) for variant in found] == expected
    assert [variant.fused for variant in found] == [variant.name == "fuse" for variant in found]


def test_without_adapters_there_is_the_base():
    config = GenerateConfig(prompt="x", adapter_mode="blend")
    assert [variant.name for variant in generation_plan.variants(config)] == ["base"]


def test_there_is_a_video_per_variant_prompt_and_seed_each_once():
    config = GenerateConfig(prompt="x", adapters=ADAPTERS[:1], seeds=[3, 1, 3])
    outputs = [video.output for video in generation_plan.videos(config, PROMPTS)]
    assert outputs[:4] == [f"videos/base/{name}_seed{seed}.mp4" for name in "ab" for seed in (3, 1)]
    assert len(outputs) == len(set(outputs)) == 8


def test_batches_never_mix_variants():
    config = GenerateConfig(prompt="x", adapters=ADAPTERS[:1], seeds=[0, 1, 2])
    every = generation_plan.videos(config, PROMPTS)
    found = generation_plan.batches(every, 4)
    assert [len(batch) for batch in found] == [4, 2, 4, 2]
    assert all(len({video.variant for video in batch}) == 1 for batch in found)
    assert [video for batch in found for video in batch] == every
