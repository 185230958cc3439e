"""Our forward pass and its gradients against diffusers' own, with peft's adapters, in float64 on the CPU."""

import types
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("peft")

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from tao_skill_bank.errors import RequestError
from tao_skill_bank.models.cosmos_predict.transformer import Denoiser, Execution, project_context

TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2"]
BATCH, FRAMES, HEIGHT, WIDTH = 2, 3, 4, 6
TOKENS, TEXT_FEATURES = 5, 20
TOLERANCE = 1e-5  # diffusers takes norms, rotary tables and time steps in float32


@pytest.fixture(autouse=True)
def _nearest_resize(monkeypatch: pytest.MonkeyPatch) -> None:
    """The only function of torchvision that diffusers' forward calls."""
    from diffusers.models.transformers import transformer_cosmos

    def resize(image: Tensor, size: list[int], interpolation: str) -> Tensor:
        return F.interpolate(image, size=size, mode=interpolation)

    transforms = types.SimpleNamespace(
        functional=types.SimpleNamespace(resize=resize), InterpolationMode=types.SimpleNamespace(NEAREST="nearest")
    )
    monkeypatch.setattr(transformer_cosmos, "transforms", transforms, raising=False)


def tiny_dit(**changes: Any) -> Any:
    from diffusers import CosmosTransformer3DModel

    torch.set_num_threads(1)
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "in_channels": 17,
        "out_channels": 16,
        "num_attention_heads": 2,
        "attention_head_dim": 24,
        "num_layers": 2,
        "mlp_ratio": 2.0,
        "text_embed_dim": 12,
        "adaln_lora_dim": 8,
        "max_size": (8, 16, 16),
        "rope_scale": (1.0, 3.0, 3.0),
        "extra_pos_embed_type": None,
        "use_crossattn_projection": True,
        "crossattn_proj_in_channels": TEXT_FEATURES,
        "encoder_hidden_states_channels": 12,
    }
    dit = CosmosTransformer3DModel(**(sizes | changes)).double().requires_grad_(False)
    return dit.eval()


def add_adapter(dit: Any, name: str = "default", **settings: Any) -> None:
    """Add an adapter with every tensor away from its start value, where B is zero and DoRA does nothing."""
    from peft import LoraConfig

    torch.manual_seed(len(name))
    defaults: dict[str, Any] = {"r": 4, "lora_alpha": 4, "target_modules": TARGETS}
    dit.add_adapter(LoraConfig(**(defaults | settings)), adapter_name=name)
    for parameter_name, parameter in dit.named_parameters():
        if f".{name}" in parameter_name and "lora_" in parameter_name:
            parameter.data = parameter.data.double()
            parameter.data += 0.1 * torch.randn_like(parameter)


def inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Noisy latents, condition mask, sigmas (1e-4 on the conditioned frames) and text features."""
    generator = torch.Generator().manual_seed(1)
    noisy = torch.randn(BATCH, 16, FRAMES, HEIGHT, WIDTH, generator=generator, dtype=torch.float64)
    mask = torch.zeros(BATCH, 1, FRAMES, HEIGHT, WIDTH, dtype=torch.float64)
    mask[0, :, :1] = 1
    mask[1, :, :2] = 1
    sigmas = torch.tensor([[1e-4, 0.7, 0.7], [1e-4, 1e-4, 0.3]], dtype=torch.float64)
    text = torch.randn(BATCH, TOKENS, TEXT_FEATURES, generator=generator, dtype=torch.float64)
    return noisy, mask, sigmas, text


def plain(dit: Any) -> Tensor:
    noisy, mask, sigmas, text = inputs()
    padding = torch.zeros(1, 1, HEIGHT * 8, WIDTH * 8, dtype=torch.float64)
    timestep = sigmas[:, None, :, None, None]
    out: Tensor = dit(noisy, timestep, text, condition_mask=mask, padding_mask=padding, return_dict=False)[0]
    return out


def ours(dit: Any, execution: Execution) -> Tensor:
    noisy, mask, sigmas, text = inputs()
    out: Tensor = Denoiser(dit, execution)(noisy, mask, sigmas, project_context(dit, text))
    return out


def output_and_gradients(dit: Any, run: Callable[[], Tensor]) -> dict[str, Tensor]:
    dit.zero_grad()
    torch.manual_seed(2)
    out = run()
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(3), dtype=out.dtype)
    (out * weights).sum().backward()
    return {"output": out.detach()} | {
        name: parameter.grad.clone() for name, parameter in dit.named_parameters() if parameter.requires_grad
    }


def assert_same(got: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert got.keys() == expected.keys()
    for name, tensor in expected.items():
        assert tensor.abs().max() > 0, name
        assert torch.linalg.norm(got[name] - tensor) <= TOLERANCE * torch.linalg.norm(tensor), name


@pytest.mark.parametrize("checkpointing", ["none", "pointwise", "selective", "full"])
@pytest.mark.parametrize(
    "adapter",
    [{}, {"lora_alpha": 12}, {"use_dora": True}, {"use_dora": True, "lora_alpha": 12, "r": 3}],
    ids=["lora", "lora-alpha", "dora", "dora-alpha"],
)
def test_output_and_gradients_equal_those_of_diffusers_and_peft(adapter: dict[str, Any], checkpointing: Any) -> None:
    dit = tiny_dit()
    add_adapter(dit, **adapter)
    dit.train()

    expected = output_and_gradients(dit, lambda: plain(dit))
    got = output_and_gradients(dit, lambda: ours(dit, Execution(checkpointing=checkpointing)))

    assert len(expected) == 1 + 2 * 10 * (3 if adapter.get("use_dora") else 2)
    assert_same(got, expected)


@pytest.mark.slow
def test_the_compiled_block_computes_the_same() -> None:
    dit = tiny_dit(num_layers=1)
    add_adapter(dit, use_dora=True)
    expected = output_and_gradients(dit, lambda: plain(dit))
    with torch._dynamo.config.patch(suppress_errors=False):
        got = output_and_gradients(dit, lambda: ours(dit, Execution(checkpointing="selective", compile=True)))
    assert_same(got, expected)


def test_a_model_without_adapters_and_without_a_text_projection() -> None:
    dit = tiny_dit(use_crossattn_projection=False, text_embed_dim=TEXT_FEATURES)
    with torch.no_grad():
        assert_same({"output": ours(dit, Execution())}, {"output": plain(dit)})


@pytest.mark.parametrize("second", [{"use_dora": False}, {"r": 2}, {"target_modules": ["to_q"]}])
def test_two_weighted_adapters_are_both_applied(second: dict[str, Any]) -> None:
    dit = tiny_dit()
    add_adapter(dit, "first")
    with torch.no_grad():
        one = plain(dit)
        add_adapter(dit, "second", **second)
        dit.set_adapters(["first", "second"], [0.5, 1.5])
        both = plain(dit)
        assert not torch.allclose(one, both)
        assert_same({"output": ours(dit, Execution())}, {"output": both})


def test_adapters_are_read_anew_in_every_call() -> None:
    dit = tiny_dit()
    denoiser = Denoiser(dit, Execution())
    noisy, mask, sigmas, text = inputs()

    @torch.no_grad()
    def check() -> Tensor:
        out: Tensor = denoiser(noisy, mask, sigmas, project_context(dit, text))
        assert_same({"output": out}, {"output": plain(dit)})
        return out

    base = check()
    add_adapter(dit, "one", use_dora=True)
    adapted = check()
    assert not torch.allclose(base, adapted)
    dit.set_adapters("one", 0.5)
    check()
    dit.disable_adapters()
    assert torch.equal(check(), base)
    dit.enable_adapters()
    dit.set_adapters("one", 1.0)
    dit.fuse_lora()
    torch.testing.assert_close(check(), adapted)
    dit.unfuse_lora()
    torch.testing.assert_close(check(), adapted)


@pytest.mark.parametrize("use_dora", [False, True])
def test_lora_dropout_acts_in_training_only(use_dora: bool) -> None:
    dit = tiny_dit()
    add_adapter(dit, lora_dropout=0.5, use_dora=use_dora)
    dit.eval()  # a new adapter starts in training mode
    with torch.no_grad():
        assert_same({"output": ours(dit, Execution())}, {"output": plain(dit)})
    dit.train()
    with torch.no_grad():
        draws = torch.stack([ours(dit, Execution()) for _ in range(2)])
    assert not torch.allclose(draws[0], draws[1])


@pytest.mark.parametrize("use_dora", [False, True])
def test_dropout_draws_the_masks_that_peft_draws(use_dora: bool) -> None:
    dit = tiny_dit()
    add_adapter(dit, lora_dropout=0.3, use_dora=use_dora)
    dit.train()
    expected = output_and_gradients(dit, lambda: plain(dit))
    for checkpointing in ("none", "full"):
        got = output_and_gradients(dit, lambda: ours(dit, Execution(checkpointing=checkpointing)))  # noqa: B023
        assert_same(got, expected)


def test_norms_of_dora_follow_a_weight_that_is_loaded_later() -> None:
    dit = tiny_dit()
    add_adapter(dit, use_dora=True)
    denoiser = Denoiser(dit, Execution())
    noisy, mask, sigmas, text = inputs()
    with torch.no_grad():
        denoiser(noisy, mask, sigmas, project_context(dit, text))
        dit.load_state_dict({name: tensor * 1.5 for name, tensor in dit.state_dict().items()})
        out = denoiser(noisy, mask, sigmas, project_context(dit, text))
        assert_same({"output": out}, {"output": plain(dit)})


def test_training_follows_sampling_in_inference_mode() -> None:
    dit = tiny_dit()
    add_adapter(dit, use_dora=True)
    denoiser = Denoiser(dit, Execution())
    noisy, mask, sigmas, text = inputs()
    with torch.inference_mode():
        denoiser(noisy, mask, sigmas, project_context(dit, text))
    expected = output_and_gradients(dit, lambda: plain(dit))
    context = project_context(dit, text)
    assert_same(output_and_gradients(dit, lambda: denoiser(noisy, mask, sigmas, context)), expected)


def test_another_kind_of_cosmos_transformer_is_an_error() -> None:
    with pytest.raises(RequestError, match="extra_pos_embed_type"):
        Denoiser(tiny_dit(extra_pos_embed_type="learnable"), Execution())
