"""What a search says when its language model cannot be asked, or cannot be understood."""

import json
import socket
import sys
import threading
from dataclasses import asdict, replace

import pytest
from chat_server import completion, serving
from language_search import RECIPE_TRIAL, point_reply, setup

from tao_skill_bank.automl.plan import algorithms
from tao_skill_bank.automl.plan.history import Start
from tao_skill_bank.errors import BlockedError, MissingExtraError, RequestError

pytest.importorskip("openai")
KEY = "a-key-of-the-test-server"


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("TEST_LANGUAGE_KEY", raising=False)


def decide(reply: object, name: str = "llm", **options: object) -> tuple[object, list[dict[str, object]]]:
    with serving(reply) as server:
        return algorithms.build(name, setup(server.url, **options)).decide([RECIPE_TRIAL]), server.requests


def failure(reply: object, name: str = "llm", **options: object) -> BlockedError:
    with pytest.raises(BlockedError) as caught:
        decide(reply, name, **options)
    assert caught.value.exit_code in (3, 4)
    assert caught.value.problems[0].fix
    return caught.value


def test_a_request_holds_the_model_the_temperature_and_nothing_secret() -> None:
    decision, requests = decide(lambda _: point_reply())
    assert isinstance(decision, Start)
    body = requests[0]["body"]
    assert {**body, "messages": None} == {
        "model": "judge-1",
        "temperature": 0,
        "max_tokens": 4096,
        "messages": None,
    }
    assert [message["role"] for message in body["messages"]] == ["user"]
    assert "Authorization" not in requests[0]["headers"]


def test_parameters_that_a_server_refuses_need_not_be_sent() -> None:
    _, requests = decide(lambda _: point_reply(), temperature=None, max_tokens=None)
    assert requests[0]["body"].keys() == {"model", "messages"}


def test_the_endpoint_may_come_from_a_sealed_plan() -> None:
    with serving(lambda _: point_reply()) as server:
        sealed = json.loads(json.dumps(asdict(setup(server.url).options["endpoint"])))
        search = algorithms.build("llm", replace(setup(""), options={"endpoint": sealed}))
        assert isinstance(search.decide([RECIPE_TRIAL]), Start)


def test_tokens_are_counted_over_all_tries_of_a_trial() -> None:
    replies = iter(["nonsense", point_reply()])
    usage = {"prompt_tokens": 100, "completion_tokens": 7}
    decision, _ = decide(lambda _: (200, completion(next(replies), usage=usage), {}))
    assert decision.sampler["tokens"] == {"requests": 2, "prompt": 200, "completion": 14}


def test_the_key_is_sent_and_kept_nowhere_even_if_the_server_repeats_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_LANGUAGE_KEY", KEY)
    replies = iter([f"your key is {KEY}", point_reply(f"I was told {KEY}")])
    decision, requests = decide(lambda _: next(replies), api_key_variable="TEST_LANGUAGE_KEY")
    assert requests[0]["headers"]["Authorization"] == f"Bearer {KEY}"
    assert KEY not in json.dumps(decision.sampler)
    said = failure(lambda _: f"your key is {KEY}", api_key_variable="TEST_LANGUAGE_KEY", attempts=1)
    assert KEY not in str(said.problems)


@pytest.mark.parametrize("name", ["llm", "hybrid", "autoresearch"])
def test_a_key_that_is_missing_blocks_before_anything_is_sent(name: str) -> None:
    with serving(lambda _: point_reply()) as server, pytest.raises(BlockedError) as caught:
        algorithms.build(name, setup(server.url, api_key_variable="TEST_LANGUAGE_KEY", fallback="random"))
    assert caught.value.exit_code == 4
    assert "Export TEST_LANGUAGE_KEY" in caught.value.problems[0].fix
    assert server.requests == []


def test_a_server_that_wants_a_key_says_where_to_name_it() -> None:
    error = failure(lambda _: (401, b"no key", {}))
    assert error.exit_code == 4
    assert "automl.endpoint.api_key_variable" in error.problems[0].fix


def test_a_refused_connection_names_the_place_and_the_fallback() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with pytest.raises(BlockedError, match="cannot be reached") as caught:
            algorithms.build("llm", setup(url)).decide([RECIPE_TRIAL])
    problem = caught.value.problems[0]
    assert url in problem.message
    assert problem.path == "automl.endpoint.base_url"
    assert "automl.fallback" in problem.fix


def test_a_server_that_hangs_is_given_up_after_the_timeout() -> None:
    released = threading.Event()

    def hang(_: object) -> str:
        released.wait(30)
        return point_reply()

    with serving(hang) as server:
        try:
            with pytest.raises(BlockedError, match=r"timed out after 0\.3 seconds") as caught:
                algorithms.build("llm", setup(server.url, timeout_seconds=0.3)).decide([RECIPE_TRIAL])
        finally:
            released.set()
    assert "automl.endpoint.timeout_seconds" in caught.value.problems[0].fix


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ((500, b"out of memory", {}), "endpoint_busy"),
        ((404, b"no such model", {}), "endpoint_model"),
        ((400, b"temperature is not supported", {}), "endpoint_refused"),
        ((302, b"", {"Location": "http://127.0.0.1:1/"}), "endpoint_redirects"),
        ((200, b"<html>hello</html>", {}), "endpoint_protocol"),
        ((200, b"", {}), "endpoint_protocol"),
        ((200, b'{"choices": []}', {}), "endpoint_protocol"),
        ((200, b"[" * 100_000, {}), "endpoint_protocol"),
        ((200, b"\xff\xfe{", {}), "endpoint_protocol"),
        ((200, b"{}", {"Content-Encoding": "gzip"}), "endpoint_unreachable"),
        ("", "endpoint_answer"),
        ("I would rather talk about the weather.", "endpoint_answer"),
    ],
)
def test_a_server_that_fails_is_named_with_what_it_said(reply: object, code: str) -> None:
    error = failure(lambda _: reply)
    assert error.problems[0].code == code
    assert "http://127.0.0.1:" in error.problems[0].message


def test_unusable_replies_are_asked_for_again_with_what_was_wrong_and_then_block() -> None:
    with serving(lambda _: point_reply(train__lr=1.0)) as server, pytest.raises(BlockedError) as caught:
        algorithms.build("llm", setup(server.url, attempts=3)).decide([RECIPE_TRIAL])
    assert len(server.requests) == 3
    again = server.requests[1]["body"]["messages"]
    assert [message["role"] for message in again] == ["user", "assistant", "user"]
    assert "train.lr is 1.0; it must be a number from 1e-06 to 0.0001" in again[2]["content"]
    assert "in 3 tries" in caught.value.problems[0].message
    assert "train.lr is 1.0" in caught.value.problems[0].message
    assert len(caught.value.keeps["refused"]) == 3


def test_refused_replies_are_kept_with_the_trial() -> None:
    replies = iter(["no", point_reply(lora__r=33), point_reply()])
    decision, _ = decide(lambda _: next(replies))
    complaints = [entry["complaint"] for entry in decision.sampler["refused"]]
    assert complaints[0] == "The reply holds no JSON object."
    assert "lora.r is 33; it must be a power of two from 4 to 128. The nearest is 32." in complaints[1]


def test_a_reply_that_was_cut_off_is_reported_so() -> None:
    cut = json.dumps({"choices": [{"message": {"content": '{"values": {'}, "finish_reason": "length"}]}).encode()
    error = failure(lambda _: (200, cut, {}), attempts=1)
    assert "cut off at the longest answer allowed" in error.problems[0].message
    assert "automl.endpoint.max_tokens" in error.problems[0].fix


@pytest.mark.parametrize(
    ("built_from", "path"),
    [
        (setup("localhost"), "automl.endpoint.base_url"),
        (replace(setup(""), options={}), "automl.endpoint"),
    ],
)
def test_an_endpoint_that_is_missing_or_no_url_is_refused_at_once(built_from: algorithms.Setup, path: str) -> None:
    with pytest.raises(RequestError) as caught:
        algorithms.build("llm", built_from)
    assert caught.value.problems[0].path == path


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingExtraError) as caught:
        algorithms.build("llm", setup("http://127.0.0.1:1/v1"))
    assert "tao-skill-bank[endpoint]" in caught.value.problems[0].fix
