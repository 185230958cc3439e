"""BERTScore by its authors' library, bert-score: the mean F1 of the answers against the truths.

The library's last release (0.3.13) is of February 2023. With transformers 5 it still works, except for two
issues that are handled here: a tokenizer without a length limit overflows (that of its recommended
model has none), and the tokenizer method it calls for an empty text was removed. An empty text scores 0, as in the
library. torchmetrics 1.9, which is maintained, was tried: it sorts answers and truths by length independently, so
answers are compared with the wrong truths.
"""

from collections import defaultdict
from collections.abc import Sequence
from importlib import import_module
from typing import Any

BATCH_SIZE = 64
NAME = "bert-score"


def mean_f1(
    responses: Sequence[str], truths: Sequence[str], model: str, num_layers: int | None
) -> tuple[float | None, str]:
    """Return the mean F1, or None and the reason why it was not computed.

    Args:
        responses: the answers.
        truths: the reference of each answer.
        model: a hub id or a folder of an encoder.
        num_layers: layer whose output is compared; None uses the library's default for known models.

    """
    try:
        library: Any = import_module("bert_score.utils")
    except ImportError:
        return None, f"the Python package {NAME} is not installed: pip install 'tao-skill-bank[bertscore]'"
    layers = num_layers or library.model2layers.get(model)
    if layers is None:
        return None, f"{NAME} has no default layer for {model}: set metrics.bertscore_num_layers"
    try:
        tokenizer, encoder = library.get_tokenizer(model), library.get_model(model, layers)
    except (OSError, AssertionError) as error:  # it asserts that the encoder has enough layers
        return None, f"{model} is not available: {(str(error).splitlines() or [type(error).__name__])[0]}"
    pairs = [(answer.strip(), truth.strip()) for answer, truth in zip(responses, truths, strict=True)]
    whole = [pair for pair in pairs if all(pair)]
    return (sum(_scores(library, tokenizer, encoder, whole)) / len(pairs) if whole else 0.0), ""


def _scores(library: Any, tokenizer: Any, encoder: Any, pairs: Sequence[tuple[str, str]]) -> list[float]:
    import torch

    from tao_skill_bank.training.distributed import uses_gpu

    device = torch.device("cuda" if uses_gpu() else "cpu")
    tokenizer.model_max_length = min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
    weights: dict[int, float] = defaultdict(lambda: 1.0)  # equal weights, except for these two
    weights[tokenizer.sep_token_id] = weights[tokenizer.cls_token_id] = 0.0
    answers, truths = [answer for answer, _ in pairs], [truth for _, truth in pairs]
    found = library.bert_cos_score_idf(
        encoder.to(device), truths, answers, tokenizer, weights, device=device, batch_size=BATCH_SIZE
    )
    return [float(value) for value in found[..., 2].cpu()]
