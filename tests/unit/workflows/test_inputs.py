"""Inputs as they are typed become values of their type."""

import pytest

from tao_skill_bank.errors import RequestError
from tao_skill_bank.workflows import inputs
from tao_skill_bank.workflows.declaration import InputField, Workflow


def value(kind, given, folder=None):
    return inputs.values(Workflow("w", (), inputs={"it": InputField(kind)}), {"it": given}, folder)["it"]


@pytest.mark.parametrize(
    "given", ["{train.epoch: 3, policy: {lora: null}}", {"train.epoch": 3, "policy": {"lora": None}}]
)
def test_a_mapping_is_yaml_where_it_is_typed(given):
    assert value("mapping", given) == {"train.epoch": 3, "policy": {"lora": None}}


def test_a_dataset_is_a_path_or_annotations_with_their_media(tmp_path):
    assert value("dataset", str(tmp_path / "data")) == str(tmp_path / "data")
    assert value("dataset", "s3://bucket/data") == "s3://bucket/data"
    (tmp_path / "a.json").write_text("[]")
    (tmp_path / "media").mkdir()
    parts = "{annotation_path: a.json, media_path: media}"
    expected = {"annotation_path": str(tmp_path / "a.json"), "media_path": str(tmp_path / "media")}
    assert value("dataset", parts, tmp_path) == expected


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        *(("mapping", given) for given in ("three", "[1]", "{a: ", 3)),
        *(("dataset", given) for given in ("", "{annotation_path: a.json}", "{annotation_path: a, media_path: 3}")),
    ],
)
def test_another_value_is_refused_with_what_is_expected(kind, given):
    with pytest.raises(RequestError) as caught:
        value(kind, given)
    (problem,) = caught.value.problems
    assert (problem.code, problem.path) == ("input_invalid", "it")
    assert inputs.EXPECTED[kind] in problem.message
