"""Answers by a vLLM server: each question is a chat request of its own, several under way at a time.

Tested against a server of that protocol, not against vLLM itself.
"""

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from tao_skill_bank.errors import UnknownNameError
from tao_skill_bank.models.cosmos_reason import chat_messages, model, vllm_server
from tao_skill_bank.models.cosmos_reason.config import EvaluateConfig
from tao_skill_bank.models.cosmos_reason.dealing import Batch
from tao_skill_bank.models.cosmos_reason.processor import Processor
from tao_skill_bank.models.cosmos_reason.questions import Prompts
from tao_skill_bank.safetensors_files import fingerprint
from tao_skill_bank.training.chat_endpoint import ChatEndpoint, SpecKeys
from tao_skill_bank.training.entrypoint import Run

KEYS = SpecKeys(
    url="evaluation.vllm.base_url",
    model="evaluation.vllm.model",
    key_variable="evaluation.vllm.api_key_variable",
    timeout="evaluation.vllm.timeout_seconds",
    request="vision.total_pixels, generation.max_tokens",
    kept="evaluation.skip_saved=true keeps the answers that are there.",
)


@dataclass(frozen=True)
class VllmEngine:
    """A server that has the model, and the checkpoint's own processor, which tells how frames are cut."""

    config: EvaluateConfig
    endpoint: ChatEndpoint
    processor: Processor
    weights: Mapping[str, str | None]

    @property
    def context(self) -> int:
        return self.config.model.max_length

    def answers(self, batches: Sequence[Batch], prompts: Prompts) -> Iterator[tuple[Batch, list[str]]]:
        with ThreadPoolExecutor(self.config.evaluation.vllm.concurrency) as pool:
            try:
                yield from self._collected(iter(batches), prompts, pool)
            except BaseException:
                self.endpoint.close()  # ends what is under way: a canceled job does not wait for its server
                raise

    def _collected(
        self, left: Iterator[Batch], prompts: Prompts, pool: ThreadPoolExecutor
    ) -> Iterator[tuple[Batch, list[str]]]:
        """Keep the pool busy; after a failure nothing more is asked, and what is under way is waited for."""
        failure: BaseException | None = None
        under_way: dict[Future[list[str]], Batch] = {}
        while True:
            room = 0 if failure else self.config.evaluation.vllm.concurrency - len(under_way)
            for batch in itertools.islice(left, room):
                under_way[pool.submit(self._answer, batch, prompts)] = batch
            if not under_way:
                break
            for done in wait(under_way, return_when=FIRST_COMPLETED).done:
                batch = under_way.pop(done)
                if error := done.exception():
                    failure = failure or error
                else:
                    yield batch, done.result()
        if failure is not None:
            raise failure

    def _answer(self, batch: Batch, prompts: Prompts) -> list[str]:
        return [self._ask(position, prompts) for position in batch]

    def _ask(self, position: int, prompts: Prompts) -> str:
        prompt = prompts.prompt(position)
        frames = prompts.frames(prompt)
        prompts.encode(prompt, frames)  # a question that leaves no room is refused here, as by the other engine
        how = self.config.generation
        extra = {"repetition_penalty": how.repetition_penalty, "top_k": -1, **chat_messages.untouched(frames)}
        text = self.endpoint.ask(
            chat_messages.messages(prompt, frames),
            max_tokens=how.max_tokens,
            temperature=how.temperature,
            top_p=1.0,
            presence_penalty=how.presence_penalty,
            frequency_penalty=how.frequency_penalty,
            seed=self.config.evaluation.seed + position,
            extra_body=extra,
        )
        return text.strip()


@contextlib.contextmanager
def connected(config: EvaluateConfig, run: Run) -> Iterator[VllmEngine]:
    """Connect to the spec's server, or to one that is started here and ended at the end.

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
    """Return the endpoint with a model that the server has: the named one, the evaluated one, or the only one."""
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
