"""The workload of version 1 plans, in which each form of input had its own field."""

from typing import Any

FORMS = ("datasets", "clips", "prompts", "media", "adapters")


def workload_of_version_1(workload: dict[str, Any]) -> dict[str, Any]:
    """Return a workload of a version 1 plan in the current form: `inputs` replaces the fields of `FORMS`. Pure."""
    kept = {name: value for name, value in workload.items() if name not in FORMS}
    return {"warm_up": None, **kept, "inputs": [*workload.get("inputs", ()), *_inputs(workload)]}


def _inputs(workload: dict[str, Any]) -> list[dict[str, Any]]:
    found = [
        _input(
            use["role"], "annotations", _named(use, "annotation_path", "media_path"), _named(use, "conversations_key")
        )
        for use in workload.get("datasets") or ()
    ]
    found += [
        _input(use["role"], "captioned_clips", {"path": use["folder"]}, _without(use, "role", "folder"))
        for use in workload.get("clips") or ()
    ]
    if workload.get("prompts"):
        found.append(_input("eval", "prompt_pairs", {"path": workload["prompts"]}))
    is_video = workload.get("fps") is not None or workload.get("num_frames") is not None
    for path in workload.get("media") or ():
        found.append(_input("media", "media_file", {"path": path}, {"media": "video" if is_video else "image"}))
    found += [_input("adapter", "adapter", {"path": path}) for path in workload.get("adapters") or ()]
    return found


def _input(role: str, kind: str, paths: dict[str, str], options: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"role": role, "kind": kind, "paths": paths, "options": options or {}}


def _named(use: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: use[name] for name in names if name in use}


def _without(use: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in use.items() if name not in names}
