"""The server that labels: opened only where its host may get frames, asked again where a reply cannot be used."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from tao_skill_bank.core import hosts
from tao_skill_bank.core.chat_endpoint import ChatEndpoint, SpecKeys
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.label_videos import replies
from tao_skill_bank.models.label_videos.config import LabelConfig
from tao_skill_bank.models.label_videos.label_store import Tokens
from tao_skill_bank.models.label_videos.replies import UnusableReplyError

T = TypeVar("T")
KEYS = SpecKeys(
    url="endpoint.url",
    model="endpoint.model",
    key_variable="endpoint.api_key_variable",
    timeout="endpoint.timeout_seconds",
    request="num_frames, longest_side_pixels, max_tokens",
    kept="the labels of finished clips are kept.",
)


@dataclass(frozen=True)
class Server:
    """A server and its two models: the one that labels and the one of the second pass. Thread-safe."""

    first: ChatEndpoint
    second: ChatEndpoint
    config: LabelConfig


@dataclass
class Conversation:
    """The requests about one clip, and what they cost so far."""

    server: Server
    tokens: Tokens = field(default_factory=Tokens)

    def ask(self, prompt: str, images: Sequence[Any], read: Callable[[str], T], *, by_second: bool = False) -> T:
        """Return what a reply says, as `read` makes it of the text; an unusable one is asked for again.

        Raises:
            UnusableReplyError: no attempt gave a usable reply.
            TaoSkillsError: see `ChatEndpoint.reply`.

        """
        config, words = self.server.config, prompt
        endpoint = self.server.second if by_second else self.server.first
        for attempt in range(config.attempts):
            content = [*images, {"type": "text", "text": words}]
            reply = endpoint.reply(
                [{"role": "user", "content": content}],
                max_tokens=config.max_tokens,
                temperature=config.temperature,
                seed=config.seed + attempt + (config.attempts if by_second else 0),
            )
            self.tokens += Tokens(1, reply.prompt_tokens, reply.completion_tokens)
            try:
                return read(reply.text)
            except UnusableReplyError as error:
                why = f"it was cut at {config.max_tokens} tokens" if reply.is_cut else str(error)
                words = f"{prompt}\n\n{replies.AGAIN.format(why=why)}"
        raise UnusableReplyError(why)


def connect(config: LabelConfig) -> Server:
    """Return the server of a spec; the models are asked for only where the spec names none.

    Raises:
        BlockedError: its host may not get data.
        TaoSkillsError: see `ChatEndpoint.open` and `ChatEndpoint.choosing`.

    """
    require_allowed(config)
    given = config.endpoint
    endpoint = ChatEndpoint.open(
        given.url,
        given.model,
        variable=given.api_key_variable,
        timeout_seconds=given.timeout_seconds,
        keys=KEYS,
        retries=given.max_retries,
    )
    first = endpoint if given.model else endpoint.choosing()
    return Server(first, replace(first, model=config.second_pass.model or first.model), config)


def require_allowed(config: LabelConfig) -> None:
    """Refuse a host that is not this machine and that the spec does not allow. Raises BlockedError."""
    host = hosts.of_url(config.endpoint.url)
    if not hosts.is_loopback(host) and host not in config.endpoint.allow_hosts:
        message = f"Frames would be sent to {host}, which endpoint.allow_hosts does not list."
        fix = "Add the host to endpoint.allow_hosts if the clips may go there."
        raise BlockedError.of("host_not_allowed", message, fix, path="endpoint.allow_hosts", got=host)
