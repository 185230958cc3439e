"""BERTScore with a tiny real encoder in a local folder."""

import sys
from pathlib import Path

import pytest
import torch

from tao_skill_bank.models.cosmos_reason import bertscore
from tao_skill_bank.models.cosmos_reason.text_metrics import TextMetrics, compute

pytest.importorskip("bert_score")
TRUTHS = ["the car turns right", "the truck", "left a truck turns", "left"]
RESPONSES = ["a car turns left", "the truck", "zz left", "  "]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers of random BERT; its tokenizer states no longest text, as that of deberta-xlarge-mnli."""
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("encoder")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "the", "car", "truck", "turns", "left", "right"]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(words), max_position_embeddings=64, **sizes)).save_pretrained(folder)
    return folder


def _expected(encoder: Path, response: str, truth: str) -> float:
    """Greedy matching of token embeddings by cosine (Zhang et al. 2020, section 3).

    The first and last token may be matched, as the library does, and count for nothing.
    """
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(str(encoder)), AutoModel.from_pretrained(str(encoder)).eval()

    def embedded(text: str) -> torch.Tensor:
        with torch.no_grad():
            hidden = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        return torch.nn.functional.normalize(hidden, dim=-1)

    similarity = embedded(response) @ embedded(truth).T
    precision, recall = similarity.max(1).values[1:-1].mean(), similarity.max(0).values[1:-1].mean()
    return float(2 * precision * recall / (precision + recall))


def test_the_mean_f1_is_that_of_the_paper_and_an_empty_answer_scores_zero(encoder: Path) -> None:
    value, reason = bertscore.mean_f1(RESPONSES, TRUTHS, str(encoder), 2)
    expected = [_expected(encoder, *pair) for pair in zip(RESPONSES[:3], TRUTHS[:3], strict=True)]
    assert reason == ""
    assert value == pytest.approx((sum(expected) + 0) / 4, abs=1e-5)
    assert expected[1] == pytest.approx(1)
    assert bertscore.mean_f1(["", " "], ["a car", "a truck"], str(encoder), 2) == (0.0, "")


def test_a_text_that_is_longer_than_the_encoder_takes_is_cut(encoder: Path) -> None:
    value, reason = bertscore.mean_f1(["a car " * 100], ["a car"], str(encoder), 1)
    assert reason == ""
    assert value is not None
    assert 0 < value <= 1


@pytest.mark.parametrize(
    ("model", "layers", "reason"),
    [("/nowhere/encoder", 2, "is not available"), ("/nowhere/encoder", None, "metrics.bertscore_num_layers")],
)
def test_what_cannot_be_computed_is_null_with_the_reason(model: str, layers: int | None, reason: str) -> None:
    found = compute(["a car"], ["a truck"], TextMetrics(("bertscore",), model, layers))
    assert found.values["bertscore"] is None
    assert reason in found.reasons["bertscore"]


def test_more_layers_than_the_encoder_has_are_told(encoder: Path) -> None:
    value, reason = bertscore.mean_f1(["a car"], ["a truck"], str(encoder), 5)
    assert value is None
    assert "not available" in reason


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bert_score.utils", None)
    assert "tao-skill-bank[bertscore]" in bertscore.mean_f1(["a"], ["b"], "x", 1)[1]
