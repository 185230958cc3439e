"""The language model behind an OpenAI-compatible endpoint, asked again with the complaint when a reply is unusable."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from tao_skill_bank.automl.plan.algorithms.language import prompt
from tao_skill_bank.automl.plan.algorithms.language.replies import ReplyError
from tao_skill_bank.automl.plan.history import Trial
from tao_skill_bank.automl.plan.options import Endpoint
from tao_skill_bank.core import settings
from tao_skill_bank.core.chat_endpoint import EXIT_CREDENTIALS, ChatEndpoint, SpecKeys
from tao_skill_bank.errors import BlockedError, Problem, RequestError, TaoSkillsError

T = TypeVar("T")
REPEATED_CHARACTERS = 4000  # of a refused reply, which is sent back to the model; a broken server may send megabytes
NO_VARIABLE = ""
KEYS = SpecKeys(
    url="automl.endpoint.base_url",
    model="automl.endpoint.model",
    key_variable="automl.endpoint.api_key_variable",
    timeout="automl.endpoint.timeout_seconds",
    request="automl.endpoint.temperature, automl.endpoint.max_tokens (null sends none)",
    kept="the trials so far are kept. With a sampler in automl.fallback the search continues without the endpoint.",
)


class LanguageModelError(BlockedError):
    """The endpoint failed, or the model gave no usable answer.

    Attributes:
        keeps: the tokens that it took and the replies that were refused, as a trial stores them.

    """

    def __init__(self, problems: Sequence[Problem], exit_code: int | None = None) -> None:
        super().__init__(problems, exit_code)
        self.keeps: Mapping[str, Any] = {}


@dataclass(frozen=True)
class LanguageModel:
    """A client of the endpoint; it stores nothing of the conversation."""

    options: Endpoint
    chat: ChatEndpoint

    @classmethod
    def open(cls, options: Mapping[str, Any]) -> "LanguageModel":
        """Return the model that the options name; nothing is asked yet. Raises as `language.build` does."""
        named = options.get("endpoint")
        if named is None:
            message = "The search asks a language model, but no endpoint is named."
            fix = "Set automl.endpoint: {base_url: URL, model: NAME}, and api_key_variable where it needs a key."
            raise RequestError.of("missing_endpoint", message, fix, path="automl.endpoint")
        endpoint = named if isinstance(named, Endpoint) else Endpoint(**named)
        variable = endpoint.api_key_variable
        if variable is not None and not settings.has_variable(variable):
            message = f"{KEYS.key_variable} names {variable}, which is not set."
            fix = f"Export {variable}, or omit {KEYS.key_variable} for a server without keys."
            problems = BlockedError.of("endpoint_key", message, fix, path=KEYS.key_variable).problems
            raise BlockedError(problems, EXIT_CREDENTIALS)
        chat = ChatEndpoint.open(
            endpoint.base_url,
            endpoint.model,
            variable=variable or NO_VARIABLE,
            timeout_seconds=endpoint.timeout_seconds,
            keys=KEYS,
            retries=endpoint.retries,
        )
        return cls(endpoint, chat)

    def ask(self, question: str, read: Callable[[str], T]) -> tuple[T, dict[str, Any]]:
        """Ask until `read` accepts the reply.

        Args:
            question: the text of the question.
            read: parses a reply; the message of its `ReplyError` is sent to the model, which then tries again.

        Returns:
            what `read` returned, and what the trial stores: tokens, refused replies.

        Raises:
            LanguageModelError: the endpoint failed, or every reply was refused.

        """
        messages = [{"role": "user", "content": question}]
        spent = {"requests": 0, "prompt": 0, "completion": 0}
        refused: list[dict[str, str]] = []
        keeps = {"tokens": spent, "refused": refused}
        while len(refused) < self.options.attempts:
            text, is_cut = self._reply(messages, spent, keeps)
            try:
                return read(text), keeps
            except ReplyError as error:
                cut = "The reply was cut off at the longest answer allowed. " if is_cut else ""
                complaint = cut + str(error)
                refused.append({"reply": self.chat.shown(text.encode()), "complaint": complaint})
                messages += [
                    {"role": "assistant", "content": text[:REPEATED_CHARACTERS] or "(empty)"},
                    {"role": "user", "content": prompt.fill("again", complaint=complaint)},
                ]
        raise self._unusable(keeps)

    def shown(self, text: str, characters: int) -> str:
        """Return a model's text as it may be stored: on one line, truncated, without a key."""
        return self.chat.shown(text.encode(), characters)

    def _reply(self, messages: list[dict[str, str]], spent: dict[str, int], keeps: dict[str, Any]) -> tuple[str, bool]:
        sent = {"temperature": self.options.temperature, "max_tokens": self.options.max_tokens}
        spent["requests"] += 1
        try:
            reply = self.chat.reply(messages, **{name: value for name, value in sent.items() if value is not None})
        except TaoSkillsError as error:
            exit_code = EXIT_CREDENTIALS if error.exit_code == EXIT_CREDENTIALS else None
            failure = LanguageModelError([self._with_fix(problem) for problem in error.problems], exit_code)
            failure.keeps = keeps
            raise failure from None
        spent["prompt"] += reply.prompt_tokens
        spent["completion"] += reply.completion_tokens
        return reply.text, reply.is_cut

    def _with_fix(self, problem: Problem) -> Problem:
        if problem.code != "endpoint_key" or self.options.api_key_variable is not None:
            return problem
        fix = f"Export its key, and write the variable's name into {KEYS.key_variable}."
        return Problem(problem.code, problem.message, fix, problem.path)

    def _unusable(self, keeps: dict[str, Any]) -> LanguageModelError:
        attempts, last = len(keeps["refused"]), keeps["refused"][-1]
        message = (
            f"{self.chat.place} gave no usable answer in {attempts} {'try' if attempts == 1 else 'tries'} "
            f"(model {self.options.model}). Its last reply: {last['reply'] or 'empty'}. Problem: {last['complaint']}"
        )
        fix = (
            f"Name a stronger model in {KEYS.model}, raise automl.endpoint.max_tokens where replies are cut off, "
            f"or name a sampler in automl.fallback that proposes instead."
        )
        failure = LanguageModelError.of("endpoint_answer", message, fix, path=KEYS.model)
        failure.keeps = keeps
        return failure


def tokens(trials: Sequence[Trial]) -> dict[str, int]:
    """Return the requests and tokens that the trials of a search took, as their endpoint counted them."""
    counts = [trial.sampler["tokens"] for trial in trials if "tokens" in trial.sampler]
    return {name: sum(count[name] for count in counts) for name in ("requests", "prompt", "completion")}
