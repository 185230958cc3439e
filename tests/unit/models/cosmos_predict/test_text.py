import plain_diffusers
import pytest
import torch

from tao_skill_bank.models.cosmos_predict import pipeline, text
from tao_skill_bank.models.cosmos_predict.text_limit import TEMPLATE_TOKENS

CPU = torch.device("cpu")
PROMPTS = ["The robot moves left.", "A much longer instruction. " * 60, ""]


@pytest.fixture(scope="module")
def encoder(tiny_pipeline):
    return pipeline.load_text_encoder(tiny_pipeline, torch.float32, CPU)


@pytest.fixture(scope="module")
def projector(tiny_pipeline):
    return pipeline.load_context_projection(tiny_pipeline, torch.float32, CPU)


def test_features_are_those_of_diffusers_pipeline(tiny_pipeline, encoder, monkeypatch):
    plain = plain_diffusers.load(tiny_pipeline, monkeypatch)
    features = text.encode_prompts(*encoder, PROMPTS)
    assert features.shape[:2] == (3, 512)
    torch.testing.assert_close(features, plain._get_prompt_embeds(PROMPTS), atol=1e-5, rtol=1e-5)


def test_contexts_are_projected_features(tiny_pipeline, encoder, projector):
    transformer = pipeline.load_transformer(tiny_pipeline, torch.float32, CPU)
    contexts = text.encode_contexts(projector, *encoder, PROMPTS)
    expected = transformer.crossattn_proj(text.encode_prompts(*encoder, PROMPTS))
    torch.testing.assert_close(contexts, expected)
    assert contexts.shape == (3, 512, transformer.config.encoder_hidden_states_channels)


def test_prompts_have_contexts_of_their_own(encoder, projector):
    first, second = text.encode_contexts(projector, *encoder, ["left", "right"])
    assert not torch.equal(first, second)


def test_the_null_context_is_the_projection_of_zeros(encoder, projector):
    features = text.encode_prompts(*encoder, ["left"])
    null = text.null_context(projector, features.shape[-1])
    torch.testing.assert_close(null, projector.crossattn_proj(torch.zeros_like(features)))


def test_a_prompt_that_is_cut_is_logged_with_the_words_at_the_cut(encoder, caplog):
    tokenizer = encoder[1]
    text.tokenize(tokenizer, "Lift the mug.")
    assert not caplog.messages
    tokens = text.tokenize(tokenizer, "Lift the mug. " * 60)
    (message,) = caplog.messages
    assert len(tokens) == text.MAX_TOKENS
    assert "of 512" in message
    assert "mug" in message


def test_the_conversation_around_a_prompt_takes_no_more_than_is_set_aside_for_it(encoder):
    tokenizer = encoder[1]
    empty = text.tokenize(tokenizer, "")
    assert (empty != tokenizer.pad_token_id).sum() <= TEMPLATE_TOKENS
