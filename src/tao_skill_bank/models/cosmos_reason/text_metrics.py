"""Text metrics of free answers, by libraries: BLEU, ROUGE and BERTScore, for any script."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tao_skill_bank.models.cosmos_reason import answers, bertscore

LIBRARIES = {"bleu": "sacrebleu", "rouge": "rouge_score"}  # a missing bert-score is reported in not_computed
ROUGE = ("rouge1", "rouge2", "rougeL")
BLEU_ORDER = 4
ENGLISH_MODELS = ("microsoft/deberta", "roberta-", "bert-base-uncased", "bert-large-uncased")
KANA_OR_SOUTHEAST_ASIA = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff]")
HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
NO_WORDS = "no truth has a letter or a digit"


@dataclass(frozen=True)
class TextMetrics:
    """The free text metrics to compute."""

    names: tuple[str, ...] = ("bleu", "rouge")
    bertscore_model: str = "microsoft/deberta-xlarge-mnli"
    bertscore_num_layers: int | None = None
    soft_threshold: float | None = None


@dataclass
class Computed:
    """Values by metric, None where `reasons` says why; `notes` says how a value was computed; `each` is per answer."""

    values: dict[str, float | int | None] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    each: dict[str, list[float]] = field(default_factory=dict)


def compute(responses: Sequence[str], truths: Sequence[str], wanted: TextMetrics) -> Computed:
    """Return the text metrics of responses against their truths; those that were not requested are None."""
    found = Computed()
    for name, add in (("bleu", _bleu), ("rouge", _rouge)):
        if name not in wanted.names:
            found.values[name], found.reasons[name] = None, "not requested in metrics.names"
        elif not any(map(answers.has_word, truths)):
            found.values[name], found.reasons[name] = None, NO_WORDS
        else:
            add(responses, truths, found)
    _bertscore(responses, truths, wanted, found)
    return found


def bleu_tokenizer(texts: Sequence[str]) -> str:
    """Return sacrebleu's tokenizer for the scripts of some texts.

    13a, the default of sacrebleu, splits at ASCII punctuation only. zh splits Chinese characters, char all of them
    (kana, Thai, Lao, Khmer and Burmese have no spaces between words), intl splits at the punctuation of any script.
    """
    text = "".join(texts)
    if KANA_OR_SOUTHEAST_ASIA.search(text):
        return "char"
    if HAN.search(text):
        return "zh"
    return "13a" if is_latin(texts) else "intl"


def is_latin(texts: Sequence[str]) -> bool:
    """Return whether all letters of some texts are Latin."""
    letters = {c for text in texts for c in text if c.isalpha() and not c.isascii()}
    return all(unicodedata.name(c, "").startswith("LATIN") for c in unicodedata.normalize("NFKC", "".join(letters)))


class RougeTokenizer:
    """Words of any script. Of ASCII text they are those of rouge-score's own tokenizer with stemming."""

    def __init__(self) -> None:
        from rouge_score.tokenizers import DefaultTokenizer

        self.english = DefaultTokenizer(use_stemmer=True)

    def tokenize(self, text: str) -> list[str]:
        found = [self.english.tokenize(word) if word.isascii() else [word] for word in answers.words(text)]
        return [str(word) for part in found for word in part]


def _bleu(responses: Sequence[str], truths: Sequence[str], found: Computed) -> None:
    """Add corpus BLEU in [0, 1], and the mean over answers with the n-gram orders that each has."""
    import sacrebleu

    name = bleu_tokenizer([*responses, *truths])
    scorer = sacrebleu.BLEU(effective_order=True, tokenize=name)
    scores = [scorer.sentence_score(*pair).score / 100 for pair in _pairs(responses, truths)]
    found.each["sentence_bleu"] = scores
    found.values["sentence_bleu"] = sum(scores) / len(scores)
    found.notes["bleu"] = f"sacrebleu, tokenizer {name}"
    if _are_short(truths, scorer):
        found.values["bleu"] = None
        found.reasons["bleu"] = f"no truth has {BLEU_ORDER} words in a row; sentence_bleu counts shorter ones"
        return
    found.values["bleu"] = sacrebleu.corpus_bleu(list(responses), [list(truths)], tokenize=name).score / 100
    if _are_short(responses, scorer):
        found.notes["bleu"] += f"; 0 because no answer has {BLEU_ORDER} words in a row"


def _are_short(texts: Sequence[str], scorer: Any) -> bool:
    return all(len(scorer.tokenizer(text).split()) < BLEU_ORDER for text in texts)


def _pairs(responses: Sequence[str], truths: Sequence[str]) -> list[tuple[str, list[str]]]:
    return [(response, [truth]) for response, truth in zip(responses, truths, strict=True)]


def _rouge(responses: Sequence[str], truths: Sequence[str], found: Computed) -> None:
    """Add the mean ROUGE F-measures (rouge-score, words of any script, English words stemmed)."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer: Any = RougeScorer(list(ROUGE), tokenizer=RougeTokenizer())
    scores = [scorer.score(truth, response) for response, truth in zip(responses, truths, strict=True)]
    for name in ROUGE:
        found.each[name] = [float(score[name].fmeasure) for score in scores]
        found.values[name] = sum(found.each[name]) / len(scores)


def _bertscore(responses: Sequence[str], truths: Sequence[str], wanted: TextMetrics, found: Computed) -> None:
    model = wanted.bertscore_model
    if "bertscore" not in wanted.names:
        value, reason = None, "not requested in metrics.names"
    elif model.startswith(ENGLISH_MODELS) and not is_latin(truths):
        reason = f"{model} reads English: set metrics.bertscore_model to a multilingual encoder (xlm-roberta-large)"
        value = None
    else:
        value, reason = bertscore.mean_f1(responses, truths, model, wanted.bertscore_num_layers)
    found.values["bertscore"] = value
    if reason:
        found.reasons["bertscore"] = reason
