"""Contexts of captions: encoded once, kept by what makes them, dropped where a draw says so."""

import json
import shutil

import predict_training
import pytest
import torch

from tao_skill_bank.models.cosmos_predict import contexts, pipeline, text
from tao_skill_bank.models.cosmos_predict.latents import Base

CAPTIONS = ["The robot arm moves the red ball to the left.", "The gripper picks up the blue box."]


@pytest.fixture
def run(tmp_path):
    with predict_training.one_rank(tmp_path / "run") as run:
        yield run


@pytest.fixture
def encoded(monkeypatch):
    """The captions that the text encoder read."""
    read = []
    real = text.encode_contexts

    def count(projector, encoder, tokenizer, prompts):
        read.extend(prompts)
        return real(projector, encoder, tokenizer, prompts)

    monkeypatch.setattr(text, "encode_contexts", count)
    return read


def prepare(folder, run, captions=CAPTIONS, *, keep=True):
    return contexts.prepare(captions, Base(folder, torch.float32), run, keep=keep)


@pytest.mark.slow
def test_kept_contexts_are_those_that_are_encoded_every_time(tiny_pipeline, run, encoded):
    kept, fresh = prepare(tiny_pipeline, run), prepare(tiny_pipeline, run, keep=False)
    assert kept.encoder is None
    assert fresh.encoder is not None
    asked = [CAPTIONS[1], CAPTIONS[0], CAPTIONS[1]]
    torch.testing.assert_close(kept.of(asked), fresh.of(asked))
    assert encoded[-3:] == asked
    assert not torch.equal(kept.of(asked[:1]), kept.of(asked[1:2]))


@pytest.mark.slow
@pytest.mark.parametrize("keep", [True, False])
def test_a_dropped_caption_is_the_projection_of_zeros(keep, tiny_pipeline, run):
    made = prepare(tiny_pipeline, run, keep=keep)
    found = made.of(CAPTIONS, torch.tensor([False, True]))
    dit = pipeline.load_transformer(tiny_pipeline, torch.float32, torch.device("cpu"))
    zeros = dit.crossattn_proj(torch.zeros(1, 512, dit.config.crossattn_proj_in_channels))[0]
    torch.testing.assert_close(found[1], zeros)
    torch.testing.assert_close(found[:1], made.of(CAPTIONS[:1]))


@pytest.mark.slow
def test_a_second_run_encodes_new_captions_alone_and_loads_no_encoder_for_none(
    tiny_pipeline, run, encoded, monkeypatch
):
    prepare(tiny_pipeline, run, [*CAPTIONS, CAPTIONS[0]])
    assert sorted(encoded) == sorted(CAPTIONS)
    encoded.clear()
    prepare(tiny_pipeline, run, [*CAPTIONS, "A new one."])
    assert encoded == ["A new one."]
    monkeypatch.setattr(pipeline, "load_text_encoder", None)
    assert set(prepare(tiny_pipeline, run).kept) == set(CAPTIONS)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["transformer", "tokenizer"])
def test_contexts_of_another_projection_or_tokenizer_are_made_anew(part, tiny_pipeline, run, encoded, tmp_path):
    prepare(tiny_pipeline, run)
    encoded.clear()
    other = shutil.copytree(tiny_pipeline, tmp_path / "other")
    if part == "tokenizer":
        template = other / part / "chat_template.jinja"
        template.write_text(template.read_text() + " ")
    else:
        path = other / part / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"mlp_ratio": 4.0}))
    prepare(other, run)
    assert sorted(encoded) == sorted(CAPTIONS)
