"""Text metrics of any script."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tao_skill_bank.models.cosmos_reason.text_metrics import RougeTokenizer, TextMetrics, bleu_tokenizer, compute


@pytest.mark.parametrize(
    ("text", "tokenizer"),
    [
        ("It turns left – naïvely.", "13a"),
        ("一辆红色的车向左转弯", "zh"),
        ("車は左に曲がる", "char"),
        ("รถเลี้ยวซ้าย", "char"),
        ("السيارة تتجه يسارا الآن", "intl"),
        ("गाड़ी अभी बाएँ मुड़ती है", "intl"),
        ("Машина едет сейчас налево", "intl"),
    ],
)
def test_every_script_has_scores_between_those_of_equal_and_unrelated_texts(text: str, tokenizer: str) -> None:
    assert bleu_tokenizer([text]) == tokenizer
    same = compute([text], [text], TextMetrics())
    part = compute([text[: len(text) * 3 // 4]], [text], TextMetrics())
    other = compute(["xyz q w e r t"], [text], TextMetrics())
    assert same.values["bleu"] == pytest.approx(1.0)
    for name in ("sentence_bleu", "rouge1", "rougeL"):
        assert same.values[name] == pytest.approx(1.0)
        assert 1.0 > (part.values[name] or 0.0) > (other.values[name] or 0.0), name
    assert same.notes["bleu"] == f"sacrebleu, tokenizer {tokenizer}"


@given(st.text(st.characters(max_codepoint=127), max_size=60))
def test_words_of_ascii_text_are_those_of_rouge_itself(text: str) -> None:
    from rouge_score.tokenizers import DefaultTokenizer

    assert RougeTokenizer().tokenize(text) == DefaultTokenizer(use_stemmer=True).tokenize(text)


def test_what_cannot_be_computed_is_null_with_the_reason() -> None:
    found = compute(["👍"], ["👍"], TextMetrics())
    assert (found.values["bleu"], found.values["rouge"]) == (None, None)
    assert found.reasons["rouge"] == "no truth has a letter or a digit"
    short = compute(["a car"], ["a car"], TextMetrics())
    assert short.values["bleu"] is None
    assert "no truth has 4 words" in short.reasons["bleu"]
    assert short.values["sentence_bleu"] == pytest.approx(1.0)
    chinese = compute(["左"], ["左"], TextMetrics(("bertscore",)))
    assert "multilingual" in chinese.reasons["bertscore"]
