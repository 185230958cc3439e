import pytest

from tao_skill_bank import redact


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"train": {"hf_token": "abc"}}, "train.hf_token"),
        ({"a": ["x", "hf_" + "a1" * 12]}, "a[1]"),
        ({"url": "https://x/?k=AKIA" + "A1B2" * 4}, "url"),
        ({"options": {"api_key": "secret"}}, "options.api_key"),
        ({"prompt": "use nvapi-" + "x" * 24}, "prompt"),
    ],
)
def test_a_secret_is_found_by_its_name_or_its_shape(value: dict[str, object], path: str) -> None:
    assert list(redact.secret_paths(value)) == [path]


@pytest.mark.parametrize(
    "value", [{"max_tokens": 32}, {"tokenizer_model_name": "x"}, {"hf_token": ""}, {"prompt": "count the tokens"}]
)
def test_ordinary_values_are_no_secrets(value: dict[str, object]) -> None:
    assert list(redact.secret_paths(value)) == []


def test_redacted_text_keeps_everything_but_the_credential() -> None:
    token = "hf_" + "Z9" * 10
    assert redact.redacted(f"login with {token} failed") == "login with [redacted] failed"
