import pytest

from tao_skill_bank.automl.plan import option_reader
from tao_skill_bank.errors import RequestError

ENDPOINT = {"base_url": "http://127.0.0.1:8000/v1", "model": "judge-1"}


def test_how_a_language_model_is_asked_has_defaults_and_can_be_left_to_the_server() -> None:
    endpoint = option_reader.parse({"algorithm": "llm", "endpoint": ENDPOINT}).endpoint
    assert endpoint is not None
    assert (endpoint.temperature, endpoint.attempts, endpoint.api_key_variable) == (0, 4, None)
    asked = {**ENDPOINT, "temperature": None, "max_tokens": None, "timeout_seconds": 5, "retries": 0}
    parsed = option_reader.parse({"algorithm": "llm", "endpoint": asked, "noise": 0}).endpoint
    assert parsed is not None
    assert (parsed.temperature, parsed.max_tokens, parsed.timeout_seconds) == (None, None, 5)


@pytest.mark.parametrize(
    ("key", "value"),
    [("temperature", -0.1), ("max_tokens", 0), ("timeout_seconds", 0), ("retries", -1), ("attempts", 0)],
)
def test_limits_of_an_endpoint_are_checked(key: str, value: float) -> None:
    with pytest.raises(RequestError) as caught:
        option_reader.parse({"algorithm": "llm", "endpoint": {**ENDPOINT, key: value}})
    (problem,) = caught.value.problems
    assert problem.path == f"automl.endpoint.{key}"
    assert problem.fix.startswith(f"Set automl.endpoint.{key} to ")


def test_a_noise_below_zero_is_refused() -> None:
    with pytest.raises(RequestError) as caught:
        option_reader.parse({"noise": -0.1})
    assert [problem.path for problem in caught.value.problems] == ["automl.noise"]
