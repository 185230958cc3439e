"""Answers by a vLLM server: each question is a separate chat request, with several in flight.

Tested against a server with the same protocol, not against vLLM itself.
"""

import contextlib
import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue

import torch

from tao_skill_bank.core.chat_endpoint import ChatEndpoint, SpecKeys
from tao_skill_bank.errors import UnknownNameError
from tao_skill_bank.models.cosmos_reason import chat_messages, model, vllm_server
from tao_skill_bank.models.cosmos_reason.answers import Response
from tao_skill_bank.models.cosmos_reason.choices import Choices
from tao_skill_bank.models.cosmos_reason.config import EvaluateConfig
from tao_skill_bank.models.cosmos_reason.processor import Processor
from tao_skill_bank.models.cosmos_reason.questions import Prompts
from tao_skill_bank.models.cosmos_reason.rank_assignment import Batch
from tao_skill_bank.training.entrypoint import Run
from tao_skill_bank.weights.safetensors_files import fingerprint

KEYS = SpecKeys(
    url="evaluation.vllm.base_url",
    model="evaluation.vllm.model",
    key_variable="evaluation.vllm.api_key_variable",
    timeout="evaluation.vllm.timeout_seconds",
    request="vision.total_pixels, generation.max_tokens",
    kept="evaluation.skip_saved=true keeps the existing answers.",
)


@dataclass(frozen=True)
class Outcome:
    """The outcome of a batch: its answers, or the error."""

    batch: Batch
    responses: list[Response] = field(default_factory=list)
    failure: BaseException | None = None


@dataclass(frozen=True)
class VllmEngine:
    """A server that has the model, and the checkpoint's own processor, for sampling frames."""

    config: EvaluateConfig
    endpoint: ChatEndpoint
    processor: Processor
    weights: Mapping[str, str | None]

    @property
    def context(self) -> int:
        return self.config.model.max_length

    def answers(
        self, batches: Sequence[Batch], prompts: Prompts, choices: Sequence[Choices] = ()
    ) -> Iterator[tuple[Batch, list[Response]]]:
        assert not choices  # refused by a rule of the spec
        todo: SimpleQueue[Batch | None] = SimpleQueue()
        outcomes: SimpleQueue[Outcome] = SimpleQueue()
        left, in_flight, failure = iter(batches), 0, None
        concurrency = self.config.evaluation.vllm.concurrency
        for _ in range(concurrency):  # daemon threads: a cancelled job does not wait for pending responses
            threading.Thread(target=self._work, args=(todo, outcomes, prompts), daemon=True).start()
        try:
            while True:
                for batch in itertools.islice(left, 0 if failure else concurrency - in_flight):
                    todo.put(batch)
                    in_flight += 1
                if not in_flight:
                    break
                outcome = outcomes.get()
                in_flight -= 1
                if outcome.failure is None:
                    yield outcome.batch, outcome.responses
                failure = failure or outcome.failure  # no new requests; wait for those in flight
        finally:
            for _ in range(concurrency):
                todo.put(None)
        if failure is not None:
            raise failure

    def _work(self, todo: "SimpleQueue[Batch | None]", outcomes: "SimpleQueue[Outcome]", prompts: Prompts) -> None:
        while (batch := todo.get()) is not None:
            try:
                outcomes.put(Outcome(batch, self._answer(batch, prompts)))
            except BaseException as error:  # noqa: BLE001 - raised again in the consuming thread
                outcomes.put(Outcome(batch, failure=error))

    def _answer(self, batch: Batch, prompts: Prompts) -> list[Response]:
        return [self._ask(position, prompts) for position in batch]

    def _ask(self, position: int, prompts: Prompts) -> Response:
        prompt = prompts.prompt(position)
        frames = prompts.frames(prompt)
        prompts.encode(prompt, frames)  # refuses too long questions, like the other engine
        how = self.config.generation
        extra = {"repetition_penalty": how.repetition_penalty, "top_k": -1, **chat_messages.untouched(frames)}
        reply = self.endpoint.reply(
            chat_messages.messages(prompt, frames),
            max_tokens=how.max_tokens,
            temperature=how.temperature,
            top_p=1.0,
            presence_penalty=how.presence_penalty,
            frequency_penalty=how.frequency_penalty,
            seed=self.config.evaluation.seed + position,
            extra_body=extra,
        )
        return Response(reply.text.strip(), is_cut=reply.is_cut)


@contextlib.contextmanager
def connected(config: EvaluateConfig, run: Run) -> Iterator[VllmEngine]:
    """Connect to the spec's server, or to one that is started here and stopped at the end.

    Raises:
        UnknownNameError: the server has no such model.
        TaoSkillsError: see `vllm_server.serving` and `ChatEndpoint.open`.

    """
    chosen, server = config.model, config.evaluation.vllm
    folder = model.find_checkpoint(chosen.model_name, run.ranks)
    tokenizer = chosen.tokenizer_model_name
    processor = Processor.load(folder, model.find_checkpoint(tokenizer, run.ranks) if tokenizer else None)
    with contextlib.ExitStack() as stack:
        log = run.results_dir / f"vllm_server_{run.ranks.rank}.log"
        url = server.base_url or stack.enter_context(_own_server(config, folder, log))
        endpoint = ChatEndpoint.open(
            url,
            server.model,
            variable=server.api_key_variable,
            timeout_seconds=server.timeout_seconds,
            keys=KEYS,
            retries=server.max_retries,
        )
        endpoint = _with_model(endpoint, chosen.model_name)
        weights = {"model": fingerprint(folder), "served": endpoint.model}
        yield VllmEngine(config, endpoint, processor, weights)


def _own_server(config: EvaluateConfig, folder: Path, log: Path) -> contextlib.AbstractContextManager[str]:
    log.parent.mkdir(parents=True, exist_ok=True)
    return vllm_server.serving(config, folder, log, torch.distributed.get_node_local_rank(fallback_rank=0))


def _with_model(endpoint: ChatEndpoint, model_name: str) -> ChatEndpoint:
    """Return the endpoint with one of the server's models: the configured one, the evaluated one, or the only one."""
    served = endpoint.served_models()
    for name in (endpoint.model, model_name) if not endpoint.model else (endpoint.model,):
        if name in served:
            return replace(endpoint, model=name)
    if not endpoint.model and len(served) == 1:
        return replace(endpoint, model=served[0])
    wanted = endpoint.model or model_name
    message = f"{endpoint.place} has no model '{wanted}'; it has: {', '.join(served) or 'none'}."
    fix = "Set evaluation.vllm.model to one of them." if served else "Start the server with the model."
    raise UnknownNameError.of("endpoint_model", message, fix, path=KEYS.model, got=wanted)
