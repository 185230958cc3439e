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


SECRET = "s3cr3t" + "Value0"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"postgresql://me:{SECRET}@host/db", "postgresql://[redacted]@host/db"),
        (f"Authorization: Bearer {SECRET}", "Authorization: Bearer [redacted]"),
        (f"export AWS_SECRET_ACCESS_KEY={SECRET}", "export AWS_SECRET_ACCESS_KEY=[redacted]"),
        (f'WANDB_API_KEY: "{SECRET}"', 'WANDB_API_KEY: "[redacted]"'),
    ],
)
def test_what_stands_where_a_credential_stands_is_masked(text: str, masked: str) -> None:
    assert redact.redacted(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "pad_token: <|endoftext|>",
        "export HF_TOKEN=$HF_TOKEN",
        "--env HF_TOKEN",
        "NUM_TOKENS=100000000",
        "http://127.0.0.1:8000/v1",
        "MAX_TOKEN: 4096",
        "Authorization: Bearer $OPENAI_API_KEY",
        "see s3://bucket/key@version",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert redact.redacted(text) == text


def test_values_of_secret_variables_are_masked_wherever_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", SECRET)
    monkeypatch.setenv("OTHER_TOKEN", "no")  # too short: it would mask ordinary words
    assert redact.masker()(f"it sent {SECRET}, no answer") == "it sent [redacted], no answer"


def test_redacted_text_keeps_everything_but_the_credential() -> None:
    token = "hf_" + "Z9" * 10
    assert redact.redacted(f"login with {token} failed") == "login with [redacted] failed"
