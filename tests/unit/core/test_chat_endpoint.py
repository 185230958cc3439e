"""What the judge and the evaluation share: their own tests ask their own questions."""

import socket
import sys

import pytest
from chat_server import completion, serving

from tao_skill_bank.core.chat_endpoint import ChatEndpoint, SpecKeys
from tao_skill_bank.errors import BackendError, MissingExtraError, RequestError, UnknownNameError

pytest.importorskip("openai")
KEYS = SpecKeys("a.url", "a.model", "a.variable", "a.seconds", "a.tokens", "what is there is kept.")
HELLO = [{"role": "user", "content": "Hello?"}]


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def _open(url: str, **options: object) -> ChatEndpoint:
    settings = {"variable": "TEST_CHAT_KEY", "timeout_seconds": 5.0, "keys": KEYS, "retries": 0, **options}
    return ChatEndpoint.open(url, "judge-1", **settings)  # type: ignore[arg-type]


def test_the_models_of_a_server_are_listed() -> None:
    with serving(lambda _: "hello", models=("one", "two")) as server:
        assert _open(server.url).served_models() == ["one", "two"]
        with pytest.raises(UnknownNameError) as caught:
            _open(server.url.removesuffix("/v1")).served_models()
    assert "a.url (most end in /v1)" in caught.value.problems[0].fix


def test_a_lost_connection_is_tried_again_and_the_error_says_how_often() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(BackendError, match=r"in 2 attempts: .*refused") as caught:
            _open(f"http://127.0.0.1:{taken.getsockname()[1]}/v1", retries=1).ask(HELLO)
    assert "a.seconds" in caught.value.problems[0].fix
    assert "what is there is kept." in caught.value.problems[0].fix


def test_options_that_only_some_servers_know_reach_the_server() -> None:
    with serving(lambda _: "hello") as server:
        assert _open(server.url).ask(HELLO, max_tokens=3, extra_body={"top_k": -1}) == "hello"
    body = server.requests[0]["body"]
    assert body == {"model": "judge-1", "messages": HELLO, "max_tokens": 3, "top_k": -1}


@pytest.mark.parametrize(
    ("usage", "counted"),
    [({"prompt_tokens": 5, "completion_tokens": 2}, (5, 2)), ({"prompt_tokens": "many"}, (0, 0)), (None, (0, 0))],
)
def test_a_reply_says_what_it_took_where_the_server_counts(usage: object, counted: tuple[int, int]) -> None:
    with serving(lambda _: (200, completion("hello", usage=usage), {})) as server:
        reply = _open(server.url).reply(HELLO)
    assert (reply.prompt_tokens, reply.completion_tokens) == counted
    assert not reply.is_cut


@pytest.mark.parametrize(
    "url",
    [
        "localhost",
        "http://",
        "ftp://h/v1",
        "http://h:99999",
        "http://h:0",
        "http://u:p@h",
        "http://[::1/v1",
        "http://a b",
        "http://h\0/v1",
        f"http://{'a' * 300}/v1",
    ],
)
def test_what_is_no_url_of_a_server_is_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(RequestError, match=r"a\.url .* is not a valid URL") as caught:
        _open(url)
    assert "u:p" not in str(caught.value)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingExtraError) as caught:
        _open("http://127.0.0.1:1/v1")
    assert "tao-skill-bank[endpoint]" in caught.value.problems[0].fix
