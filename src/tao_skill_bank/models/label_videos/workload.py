"""Describes to preflight what a spec of this skill reads, and which server it sends frames to. No torch here."""

from collections.abc import Mapping
from typing import Any

from tao_skill_bank.contracts import Input, Limit, Recipient, Workload
from tao_skill_bank.models.label_videos import clip_pool, estimate

Spec = Mapping[str, Any]
ROLE = "clips"


def describe(action: str, spec: Spec) -> Workload:
    """Return the workload of a valid nested spec."""
    return DESCRIBERS[action](spec)


def _label(spec: Spec) -> Workload:
    media = spec.get("media_dir") or clip_pool.usual_media(spec["clips"])
    inputs = [Input(ROLE, "unlabelled_clips", {"path": spec["clips"], "media_path": media})]
    if spec.get("prompts"):
        inputs.append(Input("prompts", "prompt_folder", {"path": spec["prompts"]}))
    return Workload(
        adds=True,
        inputs=tuple(inputs),
        limit=Limit("pilot", spec["pilot"], ROLE) if spec.get("pilot") else None,
        recipients=(_recipient(spec["endpoint"], spec),) if spec["endpoint"].get("url") else (),
    )


def _recipient(endpoint: Spec, spec: Spec) -> Recipient:
    requests, input_tokens, output_tokens = estimate.per_clip(spec)
    return Recipient(
        url=endpoint["url"],
        path="endpoint.url",
        allow_path="endpoint.allow_hosts",
        role=ROLE,
        what="frames",
        allowed=tuple(endpoint["allow_hosts"]),
        requests=requests,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        input_price=endpoint.get("price_per_million_input_tokens"),
        output_price=endpoint.get("price_per_million_output_tokens"),
        key_variable=endpoint["api_key_variable"],
    )


DESCRIBERS = {"label": _label}
