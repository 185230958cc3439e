"""An OpenAI-compatible chat server, called through the `openai` library. Failures become one clear error.

The library retries lost connections, timeouts, 408, 409, 429 and 5xx, with exponential backoff and according to
Retry-After. Only the named key is sent, and redirects are not followed, because they would send it elsewhere.
"""

import json
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tao_skill_bank.core import settings
from tao_skill_bank.core.redact import MASK, redacted
from tao_skill_bank.errors import (
    BackendError,
    BlockedError,
    MissingExtraError,
    RequestError,
    TaoSkillsError,
    UnknownNameError,
)

if TYPE_CHECKING:
    import openai

EXIT_CREDENTIALS = 4
MAX_REPLY_CHARACTERS = 300
BUSY = (408, 409, 429, 500, 502, 503, 504)
RETRIES = 3
OWN_HEADERS = ("OpenAI-Organization", "OpenAI-Project")  # from variables meant for another server


@dataclass(frozen=True)
class SpecKeys:
    """The names of spec keys in errors, and which of them affect what the server may reject.

    Attributes:
        kept: what a new run does not request again.

    """

    url: str
    model: str
    key_variable: str
    timeout: str
    request: str
    kept: str


@dataclass(frozen=True)
class Reply:
    """A completion.

    Attributes:
        text: empty if the server sent none.
        prompt_tokens, completion_tokens: as counted by the server; 0 if not reported.
        is_cut: it was truncated at the maximum length.

    """

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    is_cut: bool = False


@dataclass(frozen=True)
class ChatEndpoint:
    """A server, the requested model and the client. Thread-safe."""

    url: str
    model: str
    variable: str
    keys: SpecKeys
    client: "openai.OpenAI" = field(repr=False)

    @classmethod
    def open(
        cls,
        url: str,
        model: str,
        *,
        variable: str,
        timeout_seconds: float,
        keys: SpecKeys,
        retries: int = RETRIES,
    ) -> "ChatEndpoint":
        """Return a client of a server; no request is sent yet.

        Args:
            url: base URL, such as http://localhost:8000/v1.
            model: the server's name of the model.
            variable: environment variable with the server's API key, if it needs one.
            timeout_seconds: timeout of one request.
            keys: spec keys that errors name.
            retries: further attempts after a lost connection, a timeout or a busy server.

        Raises:
            RequestError: the URL or the key is invalid.
            MissingExtraError: the `openai` library is not installed.

        """
        try:
            import openai
        except ImportError:
            raise MissingExtraError.for_module("openai", "endpoint") from None
        if not _is_valid(url):
            message = f"{keys.url} {redacted(url.rpartition('@')[2])} is not a valid URL."
            raise RequestError.of("invalid_url", message, "Write http://HOST:PORT/v1.", path=keys.url)
        key = settings.secret(variable)
        if key and not (key.isascii() and key.isprintable()):
            message = f"The variable {variable} contains characters that are not valid in an API key."
            raise RequestError.of("api_key", message, "Set it to the key only.", path=keys.key_variable)
        client = openai.OpenAI(
            base_url=url.rstrip("/"),
            api_key=key or "none",
            timeout=timeout_seconds,
            max_retries=retries,
            http_client=openai.DefaultHttpxClient(follow_redirects=False),
        )
        return cls(url, model, variable, keys, client)

    @property
    def place(self) -> str:
        """The URL without user name and password."""
        return _without_user(self.url)

    def ask(self, messages: Sequence[Any], **options: Any) -> str:
        """Return the text of a chat completion. Raises as `reply` does."""
        return self.reply(messages, **options).text

    def reply(self, messages: Sequence[Any], **options: Any) -> Reply:
        """Return a chat completion with its token counts.

        Raises:
            BlockedError: the server rejects the key (exit 4).
            RequestError: it rejects the request, or redirects.
            UnknownNameError: it does not know the path or the model.
            BackendError: it cannot be reached, stays busy, or does not implement this protocol.

        """
        completions: Any = self.client.chat.completions.with_raw_response
        reply = self._content(completions.create, model=self.model, messages=list(messages), **options)
        try:
            return _reply(json.loads(reply))
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise self._no_protocol("no chat completion", reply) from None

    def served_models(self) -> list[str]:
        """Return the names of the models that the server provides. Raises as `ask` does."""
        reply = self._content(self.client.models.with_raw_response.list)
        try:
            return [str(entry["id"]) for entry in json.loads(reply)["data"]]
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise self._no_protocol("no list of models", reply) from None

    def choosing(self, *wanted: str) -> "ChatEndpoint":
        """Return this endpoint with the first wanted model that the server has; with none wanted, its only one.

        Raises:
            UnknownNameError: it has no such model, or several to choose from.
            TaoSkillsError: like `ask`.

        """
        served, names = self.served_models(), [name for name in wanted if name]
        for name in names or (served if len(served) == 1 else []):
            if name in served:
                return replace(self, model=name)
        message = f"{self.place} has no model '{names[0]}'" if names else f"{self.place} has several models"
        message = f"{message if served else f'{self.place} has no model'}; it has: {', '.join(served) or 'none'}."
        fix = f"Set {self.keys.model} to one of them." if served else "Start the server with the model."
        raise UnknownNameError.of("endpoint_model", message, fix, path=self.keys.model, got=names[0] if names else None)

    def _content(self, call: Any, **arguments: Any) -> bytes:
        import openai

        unsent = (*OWN_HEADERS, *(() if settings.has_variable(self.variable) else ("Authorization",)))
        try:
            content: bytes = call(extra_headers={name: openai.Omit() for name in unsent}, **arguments).content
            return content
        except openai.APIStatusError as error:
            raise self._refused(error.status_code, error.response.content) from None
        except openai.APIConnectionError as error:
            raise self._unreachable(error) from None

    def _refused(self, status: int, content: bytes) -> TaoSkillsError:
        said = f"{self.place} answered {status}: {self.shown(content) or 'nothing else'}"
        keys = self.keys
        if status in (401, 403):
            has_key = settings.has_variable(self.variable)
            fix = f"Set {self.variable} to a key of this server." if has_key else self._needs_a_key
            return BlockedError(
                BlockedError.of("endpoint_key", said, fix, path=keys.key_variable).problems, EXIT_CREDENTIALS
            )
        if status == 404:
            fix = f"Correct {keys.url} (most end in /v1) or {keys.model} '{self.model}'."
            return UnknownNameError.of("endpoint_model", said, fix, path=keys.model)
        if status in BUSY:
            fix = f"Wait until the server has capacity, then run again: {keys.kept}"
            return BackendError.of("endpoint_busy", said, fix, path=keys.url)
        if status < 400:
            fix = f"Set {keys.url} to the address that the server redirects to."
            return RequestError.of("endpoint_redirects", said, fix, path=keys.url)
        fix = f"Change what the server complains about: {keys.request} or {keys.model}."
        return RequestError.of("endpoint_refused", said, fix, path=keys.url)

    @property
    def _needs_a_key(self) -> str:
        return f"Set the variable {self.variable} to its key."

    def _unreachable(self, error: Exception) -> BackendError:
        import openai

        seconds = self.client.timeout
        timed_out = isinstance(error, openai.APITimeoutError)
        reason = f"timed out after {seconds:g} seconds" if timed_out else str(error.__cause__ or error)
        tries = self.client.max_retries + 1
        message = f"{self.place} cannot be reached in {tries} attempts: {self.shown(reason.encode())}."
        fix = (
            f"Start the server, or correct {self.keys.url}; raise {self.keys.timeout} for a slow one. {self.keys.kept}"
        )
        return BackendError.of("endpoint_unreachable", message, fix, path=self.keys.url)

    def _no_protocol(self, what: str, reply: bytes) -> BackendError:
        message = f"{self.place} replies, but with {what}: {self.shown(reply)}"
        fix = f"Set {self.keys.url} to the base URL of an OpenAI-compatible server; most end in /v1."
        return BackendError.of("endpoint_protocol", message, fix, path=self.keys.url)

    def shown(self, reply: bytes, characters: int = MAX_REPLY_CHARACTERS) -> str:
        """Return the beginning of a server's reply, without a key that it may have echoed."""
        text = " ".join(reply.decode("utf-8", "replace").split())
        if key := settings.secret(self.variable):
            text = text.replace(key, MASK)
        return redacted(text)[:characters]


def _without_user(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))


def _is_valid(url: str) -> bool:
    if not url.isprintable() or " " in url:
        return False
    try:
        parts = urllib.parse.urlsplit(url)
        host = (parts.hostname or "").encode("idna")
        has_port = parts.port != 0
    except ValueError:
        return False
    return bool(parts.scheme in ("http", "https") and host and has_port and not parts.password)


def _reply(document: dict[str, Any]) -> Reply:
    choice = document["choices"][0]
    usage = document.get("usage") or {}
    prompt, completion = (_count(usage.get(f"{part}_tokens")) for part in ("prompt", "completion"))
    return Reply(_text(choice["message"]), prompt, completion, choice.get("finish_reason") == "length")


def _count(number: Any) -> int:
    return number if isinstance(number, int) and number > 0 else 0


def _text(message: dict[str, Any]) -> str:
    """Return a reply's text: a string, or a list of text parts. None, sent for an empty reply, becomes empty."""
    content = message["content"]
    if isinstance(content, list):
        return "".join(part["text"] for part in content if part.get("type") == "text")
    if content is not None and not isinstance(content, str):
        raise TypeError(content)
    return content or ""
