from tao_skill_bank.workflows.stages import merge_mappings
from tao_skill_bank.workflows.stages.merge_mappings import Arguments


def test_the_last_mapping_with_a_key_counts_and_nulls_are_none():
    parts = ({"a": 1, "b": {"c": 2}}, None, {"b": 3})
    assert merge_mappings.run(Arguments(parts), None) == {"value": {"a": 1, "b": 3}}
    assert merge_mappings.run(Arguments(()), None) == {"value": {}}
