"""The one file that configures a run."""

from pathlib import Path

import pytest

from tao_skill_bank.errors import RequestError, UnknownNameError
from tao_skill_bank.models.cosmos_reason.config import ExportConfig, InferenceConfig
from tao_skill_bank.training.config import load_spec


def test_a_toml_file_becomes_the_spec(tmp_path: Path) -> None:
    path = tmp_path / "export.toml"
    path.write_text('model_path = "/m"\nenable_lora = true\nbase_model_path = "/b"\n')
    assert load_spec(ExportConfig, path) == ExportConfig(model_path="/m", enable_lora=True, base_model_path="/b")


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "export.toml"
    path.write_text('model_path = 3\nenable_lora = "yes"\nsurprise = 1\n')
    with pytest.raises(RequestError) as caught:
        load_spec(ExportConfig, path)
    assert {problem.path for problem in caught.value.problems} == {"model_path", "enable_lora", "surprise"}


def test_a_file_that_is_missing_or_no_toml_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError):
        load_spec(ExportConfig, tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("model_path = ")
    with pytest.raises(RequestError):
        load_spec(ExportConfig, tmp_path / "bad.toml")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a = " + "[" * 101 + "]" * 101, "nested"),
        ("a = " + "[" * 50_000 + "]" * 50_000, "nested"),
        (".".join(["a"] * 5_000) + " = 1", "nested"),
        ("a = " + "9" * 5_000, "not TOML"),
        ("a = \0", "not TOML"),
    ],
    ids=["deep", "very deep", "dotted", "digits", "nul"],
)
def test_a_config_that_no_reader_can_hold_is_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "export.toml").write_text(text)
    with pytest.raises(RequestError, match=why) as caught:
        load_spec(ExportConfig, tmp_path / "export.toml")
    assert caught.value.problems[0].code == "invalid_toml"


def test_a_config_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "export.toml").write_bytes(b'model_path = "\xff"')
    with pytest.raises(RequestError, match="not TOML"):
        load_spec(ExportConfig, tmp_path / "export.toml")


@pytest.mark.parametrize("number", ["inf", "1e999", "nan", "10000000000000000000000", "4294967296"])
def test_a_number_that_cannot_run_is_refused(tmp_path: Path, number: str) -> None:
    path = tmp_path / "inference.toml"
    path.write_text(f'model_path = "/m"\nmax_new_tokens = {number}\n')
    with pytest.raises(RequestError) as caught:
        load_spec(InferenceConfig, path)
    assert "max_new_tokens" in {problem.path for problem in caught.value.problems}
