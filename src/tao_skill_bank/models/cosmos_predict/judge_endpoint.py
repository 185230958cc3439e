"""An OpenAI-compatible server as judge: frames as JPEG in a chat completion.

Requests go through the standard library. huggingface_hub's InferenceClient, the one client among our dependencies,
sends the user's Hub token to any server when no other key is set, and refuses every server, a local one too, while
HF_HUB_OFFLINE is set. Redirects are not followed, because they would carry the key elsewhere.
"""

import base64
import http.client
import io
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tao_skill_bank import settings
from tao_skill_bank.errors import BackendError, BlockedError, RequestError, TaoSkillsError, UnknownNameError
from tao_skill_bank.models.cosmos_predict import video_frames
from tao_skill_bank.models.cosmos_predict.config.evaluate import Judge
from tao_skill_bank.redact import MASK, redacted

EXIT_CREDENTIALS = 4
JPEG_QUALITY = 90
LONGEST_SIDE_PIXELS = 768  # what servers of this kind look at anyway; keeps requests below their size limits
MAX_REPLY_CHARACTERS = 300
BUSY = (408, 429, 500, 502, 503, 504)
BUSY_TRIES = 4
LONGEST_WAIT_SECONDS = 30.0


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


@dataclass(frozen=True)
class EndpointJudge:
    """A server that has replied once, and how it is asked."""

    options: Judge
    url: str
    key: str | None = field(repr=False)
    first_wait_seconds: float = 1.0

    @classmethod
    def connect(cls, options: Judge, *, first_wait_seconds: float = 1.0) -> "EndpointJudge":
        """Ask the server for a word, so that what is wrong with it is known before any video is measured.

        Raises:
            RequestError: the URL or the key cannot be used, or the server refuses the request.
            BlockedError: the server refuses the key (exit 4).
            UnknownNameError: it does not know the path or the model.
            BackendError: it cannot be reached, stays busy, or does not speak this protocol.

        """
        assert options.endpoint is not None
        key = settings.secret(options.api_key_variable)
        if key and not (key.isascii() and key.isprintable()):
            message = f"The variable {options.api_key_variable} holds characters that no key has."
            raise RequestError.of("api_key", message, "Set it to the bare key.", path="judge.api_key_variable")
        judge = cls(options, options.endpoint.rstrip("/") + "/chat/completions", key, first_wait_seconds)
        judge.ask([], "Reply with the word ready.", 0)
        return judge

    @property
    def identity(self) -> str:
        return f"{self.place} {self.options.endpoint_model}"

    @property
    def place(self) -> str:
        """The endpoint without a user name and password that its URL may hold."""
        parts = urllib.parse.urlsplit(self.options.endpoint or "")
        return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))

    def watch(self, video: Path) -> list[str]:
        """Return the frames as data URIs."""
        wanted = video_frames.spread(video_frames.count(video), self.options.num_frames)
        return [_data_uri(image) for _, image in sorted(video_frames.read(video, wanted, "rgb24").items())]

    def ask(self, shown: list[str], question: str, seed: int) -> str:
        images = [{"type": "image_url", "image_url": {"url": uri}} for uri in shown]
        body = {
            "model": self.options.endpoint_model,
            "messages": [{"role": "user", "content": [*images, {"type": "text", "text": question}]}],
            "max_tokens": self.options.max_tokens,
            "temperature": self.options.temperature,
            "seed": seed,
        }
        reply = self._post(json.dumps(body).encode())
        try:
            return _text(json.loads(reply)["choices"][0]["message"])
        except (ValueError, LookupError, TypeError, AttributeError):
            message = f"{self.place} replies, but with no chat completion: {self._shown(reply)}"
            fix = "Set judge.endpoint to the base URL of an OpenAI-compatible server; most end in /v1."
            raise BackendError.of("endpoint_protocol", message, fix, path="judge.endpoint") from None

    def _post(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        opener = urllib.request.build_opener(_NoRedirects)
        wait = self.first_wait_seconds
        for attempt in range(1, BUSY_TRIES + 1):
            try:
                request = urllib.request.Request(self.url, body, headers, method="POST")
                with opener.open(request, timeout=self.options.timeout_seconds) as response:
                    content: bytes = response.read()
                    return content
            except urllib.error.HTTPError as error:
                if error.code not in BUSY or attempt == BUSY_TRIES:
                    raise self._refused(error) from None
                asked = error.headers.get("Retry-After", "")
                time.sleep(min(float(asked) if asked.isdigit() else wait, LONGEST_WAIT_SECONDS))
                wait *= 2
            except (http.client.InvalidURL, UnicodeError, ValueError):
                message = f"judge.endpoint {self.place} is no valid URL."
                raise RequestError.of(
                    "invalid_url", message, "Write http://HOST:PORT/v1.", path="judge.endpoint"
                ) from None
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(error) from None
        raise AssertionError("the last try returns or raises")

    def _refused(self, error: urllib.error.HTTPError) -> TaoSkillsError:
        said = f"{self.place} answered {error.code}: {self._shown(error.read()) or error.reason}"
        if error.code in (401, 403):
            variable = self.options.api_key_variable
            fix = f"Set {variable} to a key of this server." if self.key else f"Set the variable {variable} to its key."
            blocked = BlockedError.of("endpoint_key", said, fix, path="judge.api_key_variable")
            blocked.exit_code = EXIT_CREDENTIALS
            return blocked
        if error.code == 404:
            fix = f"Correct judge.endpoint (most end in /v1) or judge.endpoint_model '{self.options.endpoint_model}'."
            return UnknownNameError.of("endpoint_model", said, fix, path="judge.endpoint_model")
        if error.code in BUSY:
            fix = "Wait until the server has room, then run again: scores that are there are kept."
            return BackendError.of("endpoint_busy", said, fix, path="judge.endpoint")
        if error.code < 400:
            fix = "Set judge.endpoint to the address that the server redirects to."
            return RequestError.of("endpoint_redirects", said, fix, path="judge.endpoint")
        fix = "Change what the server names: judge.num_frames, judge.max_tokens or judge.endpoint_model."
        return RequestError.of("endpoint_refused", said, fix, path="judge.endpoint")

    def _unreachable(self, error: Exception) -> BackendError:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        message = f"{self.place} cannot be reached: {self._shown(str(reason).encode())}."
        fix = "Start the server, or correct judge.endpoint; raise judge.timeout_seconds for a slow one."
        return BackendError.of("endpoint_unreachable", message, fix, path="judge.endpoint")

    def _shown(self, reply: bytes) -> str:
        """Return the beginning of what a server said, without a key that it may have repeated."""
        text = " ".join(reply.decode("utf-8", "replace").split())
        if self.key:
            text = text.replace(self.key, MASK)
        return redacted(text)[:MAX_REPLY_CHARACTERS]


def _text(message: dict[str, Any]) -> str:
    """Return a reply's text: a string, or a list of text parts. None, as sent for an empty reply, is empty."""
    content = message["content"]
    if isinstance(content, list):
        return "".join(part["text"] for part in content if part.get("type") == "text")
    if content is not None and not isinstance(content, str):
        raise TypeError(content)
    return content or ""


def _data_uri(frame: video_frames.Image) -> str:
    from PIL import Image

    image = Image.fromarray(frame)
    image.thumbnail((LONGEST_SIDE_PIXELS, LONGEST_SIDE_PIXELS))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
