from tao_skill_bank.core.redact import Masker, redacted


def test_a_block_scalar_is_masked_to_its_last_line_and_what_follows_is_kept() -> None:
    text = "env:\n  password: |\n    first\n\n      second\n  epoch: 3"
    assert redacted(text) == "env:\n  password: |\n    [redacted]\n\n      [redacted]\n  epoch: 3"


def test_a_block_scalar_of_an_ordinary_name_stays_as_it_is() -> None:
    text = "system_prompt: |\n  Describe the clip.\n  Name every object."
    assert redacted(text) == text


def test_a_login_over_several_lines_loses_only_its_password() -> None:
    text = "docker login \\\n  -u me \\\n  -p hunter22x \\\n  nvcr.io"
    assert redacted(text) == "docker login \\\n  -u me \\\n  -p [redacted] \\\n  nvcr.io"


def test_a_value_that_a_line_continues_is_masked_on_both_lines() -> None:
    assert redacted("NGC_API_KEY=nvapi-\\\nabc123 image") == "NGC_API_KEY=[redacted]\\\n[redacted] image"


def test_a_masker_says_when_the_next_line_belongs_to_a_secret() -> None:
    mask = Masker()
    seen = [(mask(line), mask.awaits_more) for line in ("epoch 3", "token: |", "  abc", "epoch 4")]
    assert seen == [("epoch 3", False), ("token: |", True), ("  [redacted]", True), ("epoch 4", False)]


def test_a_value_below_its_name_is_masked_and_a_mapping_below_it_is_not() -> None:
    assert redacted("password:\n  hunter22x") == "password:\n  [redacted]"
    assert redacted("secret:\n  name: my-secret-1\n") == "secret:\n  name: my-secret-1\n"
