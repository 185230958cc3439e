import pytest
import yaml

from tao_skill_bank.core import packaged_yaml


def test_a_document_becomes_plain_values() -> None:
    assert packaged_yaml.parse("a: [1, 0.5, yes]\nb: {c: null}\n") == {"a": [1, 0.5, True], "b": {"c": None}}


@pytest.mark.parametrize("text", ["a: [1", "!!python/object/apply:os.getcwd []", "!!python/name:os.getcwd"])
def test_what_is_not_yaml_of_plain_values_is_an_error(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        packaged_yaml.parse(text)
