import pytest

from tao_skill_bank.core import redact


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
        (f'{{"HF_TOKEN": "{SECRET}", "a": 1}}', '{"HF_TOKEN": "[redacted]", "a": 1}'),
        ("{'password': 'hunter2'}", "{'password': '[redacted]'}"),
        (f"aws_secret_access_key = {SECRET}", "aws_secret_access_key = [redacted]"),
        ("password: hunter2", "password: [redacted]"),
        (f"client_secret={SECRET}", "client_secret=[redacted]"),
        (f"serve --api-key {SECRET} --port 8000", "serve --api-key [redacted] --port 8000"),
        ("login --password=hunter2", "login --password=[redacted]"),
        (f"x-api-key: {SECRET}", "x-api-key: [redacted]"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic [redacted]"),
        ("Set-Cookie: session=abc; Secure", "Set-Cookie: [redacted]"),
        ("curl -sS -u me:hunter2 https://x", "curl -sS -u [redacted] https://x"),
        ("machine x login me password hunter2", "machine x login me password [redacted]"),
        (f"GET /v1?access_token={SECRET}&page=2", "GET /v1?access_token=[redacted]&page=2"),
        (
            f"https://b.s3.amazonaws.com/k?X-Amz-Signature={SECRET}",
            "https://b.s3.amazonaws.com/k?X-Amz-Signature=[redacted]",
        ),
        (f"AccountKey={SECRET};Endpoint=x", "AccountKey=[redacted];Endpoint=x"),
        (f"wandb: {'0f' * 20}", "wandb: [redacted]"),
        (
            "post to https://hooks.slack.com/services/" + "T0/B0/x1",
            "post to https://hooks.slack.com/[redacted]",
        ),
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
        "Bearer authentication is not supported",
        "pip install sk-learn-contrib-package-with-long-name",
        'eos_token="<|im_end|>", "pad_token": "[PAD]____"',
        "image_token: <image_placeholder>",
        "commit " + "0f" * 20,
        "token: 123456789",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert redact.redacted(text) == text


@pytest.mark.parametrize(
    "token",
    ["github_pat_" + "a1" * 12, "xoxb-" + "1" * 12, "AIza" + "x" * 35, "ASIA" + "A1B2" * 4, "sk_live_" + "1" * 12,
     "npm_" + "a" * 36, "dckr_pat_" + "a" * 24],
)  # fmt: skip
def test_a_token_is_known_by_its_shape(token: str) -> None:
    assert redact.redacted(f"it is {token}.") == "it is [redacted]."


def test_a_private_key_is_masked_from_its_first_to_its_last_line() -> None:
    begin, end = (f"-----{word} OPENSSH PRIVATE KEY-----" for word in ("BEGIN", "END"))
    lines = ["before", begin, "b3BlbnNzaC1rZXk", "AAAAtzc2g", end, "after"]
    mask = redact.Masker()
    assert [mask(line) for line in lines] == ["before", *["[redacted]"] * 4, "after"]
    assert redact.redacted("\n".join(lines)) == "before\n[redacted]\nafter"


def test_values_of_secret_variables_are_masked_wherever_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", SECRET)
    monkeypatch.setenv("OTHER_TOKEN", "no")  # too short: it would mask ordinary words
    assert redact.Masker()(f"it sent {SECRET}, no answer") == "it sent [redacted], no answer"


def test_redacted_text_keeps_everything_but_the_credential() -> None:
    token = "hf_" + "Z9" * 10
    assert redact.redacted(f"login with {token} failed") == "login with [redacted] failed"


@pytest.mark.parametrize(
    ("host", "is_used"),
    [("me:q7Zk9Xw2@node", True), ("me:$PW@node", False), ("pytorch:25.01@sha256:12", False), ("me@node:22", False)],
)
def test_a_password_in_front_of_a_host_is_a_secret(host: str, is_used: bool) -> None:
    assert bool(list(redact.secrets_used({"host": host}))) == is_used
    assert (redact.masked({"host": host}) != {"host": host}) == is_used
