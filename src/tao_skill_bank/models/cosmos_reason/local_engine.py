"""Answers by transformers' generate, in this process, batch after batch while workers decode the next ones."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tao_skill_bank.models.cosmos_reason import likelihood, loader, model, out_of_memory
from tao_skill_bank.models.cosmos_reason.answers import Response
from tao_skill_bank.models.cosmos_reason.choices import Choices
from tao_skill_bank.models.cosmos_reason.config import EvaluateConfig
from tao_skill_bank.models.cosmos_reason.generate import Decoding, respond
from tao_skill_bank.models.cosmos_reason.processor import Processor
from tao_skill_bank.models.cosmos_reason.questions import Prompts
from tao_skill_bank.models.cosmos_reason.rank_assignment import Batch
from tao_skill_bank.training.distributed import Ranks
from tao_skill_bank.training.out_of_memory import explained
from tao_skill_bank.weights.safetensors_files import fingerprint

PREFETCHED_BATCHES = 2  # per worker: enough to hide a slow clip, while bounding the memory of decoded clips


@dataclass(frozen=True)
class LocalEngine:
    """A loaded model; an adapter is merged into it."""

    config: EvaluateConfig
    network: Any
    processor: Processor
    weights: Mapping[str, str | None]
    device: torch.device

    @classmethod
    def load(cls, config: EvaluateConfig, ranks: Ranks) -> "LocalEngine":
        """Load the model on this rank's device.

        Raises:
            BlockedError: the checkpoint is unusable, or the adapter belongs to another base model.
            JobFailedError: the GPU's memory is too small.

        """
        chosen = config.model
        base = chosen.base_model_path if chosen.enable_lora else None
        with explained(*out_of_memory.of_evaluation(config)):
            dtype = getattr(torch, chosen.dtype)
            network, folder = model.load_merged(chosen.model_name, base=base, dtype=dtype, ranks=ranks)
        tokenizer = chosen.tokenizer_model_name
        processor = Processor.load(folder, model.find_checkpoint(tokenizer, ranks) if tokenizer else None)
        weights = {"model": fingerprint(folder), "adapter": fingerprint(Path(chosen.model_name)) if base else None}
        return cls(config, network, processor, weights, ranks.device)

    @property
    def context(self) -> int:
        return int(self.network.config.text_config.max_position_embeddings)

    def answers(
        self, batches: Sequence[Batch], prompts: Prompts, choices: Sequence[Choices] = ()
    ) -> Iterator[tuple[Batch, list[Response]]]:
        source = loader.Batches(
            prompts,
            [[loader.Slot(position) for position in batch] for batch in batches],
            loader.Workers(_workers(self.config, self.device), PREFETCHED_BATCHES).worthwhile(len(batches)),
            loader.Padding(self.processor, side="left"),
        )
        for inputs, batch in zip(source, batches, strict=True):
            with explained(*out_of_memory.of_evaluation(self.config)):
                if choices:
                    found = self._chosen(inputs, [choices[position] for position in batch])
                else:
                    found = respond(self.network, inputs, self.processor, self._decoding(batch), self.device)
            yield batch, found

    def _chosen(self, inputs: loader.Batch, choices: Sequence[Choices]) -> list[Response]:
        """Return the most likely choice of each question."""
        scores = likelihood.score(self.network, inputs, self.processor, choices, self.device)
        return [Response(max(own, key=own.__getitem__), log_likelihoods=own) for own in scores]

    def _decoding(self, batch: Batch) -> Decoding:
        how = self.config.generation
        return Decoding(
            how.max_tokens,
            how.temperature,
            how.repetition_penalty,
            how.presence_penalty,
            how.frequency_penalty,
            seed=self.config.evaluation.seed + batch[0],
        )


def _workers(config: EvaluateConfig, device: torch.device) -> int:
    """Return the number of decoding processes; with a GPU there is at least one."""
    wanted = config.evaluation.num_processes
    return wanted if wanted > 1 or device.type == "cuda" else 0
