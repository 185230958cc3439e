import pytest

from tao_skill_bank.core import nested

TREE = {"train": {"epoch": 1, "ckpt": {"max_keep": 8}}, "custom": {}}


def test_a_dotted_path_is_walked_into_nested_dicts() -> None:
    changed = nested.with_value(TREE, "custom.val_dataset.media_path", "/data")
    assert changed["custom"] == {"val_dataset": {"media_path": "/data"}}
    assert not any("." in key for key in changed)


def test_no_function_edits_its_input() -> None:
    before = repr(TREE)
    nested.with_value(TREE, "train.epoch", 2)
    nested.without(TREE, "train.ckpt.max_keep")
    nested.without_nulls(TREE)
    assert repr(TREE) == before


@pytest.mark.parametrize("path", ["train.epoch.deeper", "nothing.there", "train.ckpt.absent"])
def test_deleting_an_absent_key_changes_nothing(path: str) -> None:
    assert nested.without(TREE, path) == TREE


def test_get_returns_the_default_where_a_step_is_absent() -> None:
    assert nested.get(TREE, "train.ckpt.max_keep") == 8
    assert nested.get(TREE, "train.epoch.deeper", "none") == "none"


def test_nulls_are_dropped_at_every_depth() -> None:
    assert nested.without_nulls({"a": None, "b": {"c": None, "d": [{"e": None, "f": 1}]}}) == {"b": {"d": [{"f": 1}]}}
