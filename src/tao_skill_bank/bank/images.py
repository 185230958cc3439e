"""Container images: references/versions.yaml by key, and which image a job runs in.

Our own image runs the trainers of this package. A third-party image has its own commands: they read the same config,
with Hub ids instead of folders that this package would have filled.
"""

import re
from collections.abc import Sequence
from dataclasses import field, replace
from pathlib import Path

from tao_skill_bank.bank import catalog
from tao_skill_bank.bank.catalog import Skill
from tao_skill_bank.contracts import Finding, Job, contract, from_json
from tao_skill_bank.core import nested, packaged_yaml
from tao_skill_bank.errors import Problem, RequestError, UnknownNameError
from tao_skill_bank.weights import model_uri

OUR_OWN = "tao-skill-bank"


@contract
class Image:
    """One entry of versions.yaml.

    Attributes:
        image: its name for a container engine.
        get: the command that pulls or builds it.
        confirm: a skill's own image is run only once a request names it, or a sealed plan shows it.
        commands: by action, the program that takes `--config FILE`; empty if the image contains this package.

    """

    image: str
    get: str = ""
    confirm: bool = False
    commands: dict[str, tuple[str, ...]] = field(default_factory=dict)


@contract
class Images:
    """The content of references/versions.yaml."""

    images: dict[str, Image]


def known() -> dict[str, Image]:
    """Return every image of the bank, by key; empty if the bank has no versions.yaml."""
    path = catalog.bank_root() / "references" / "versions.yaml"
    if not path.is_file():
        return {}
    return from_json(Images, packaged_yaml.parse(path.read_text(encoding="utf-8")), str(path)).images


def resolve(name: str) -> Image:
    """Return the image for a key, an image name or KEY=IMAGE; an unlisted image is assumed to contain this package.

    Raises:
        UnknownNameError: there is no such key.
        RequestError: it is not a valid image name.

    """
    images = known()
    if name in images:
        return images[name]
    if re.search(r"^-|\s|^$", name):
        message = f"'{name}' is not a valid image name."
        raise RequestError.of(
            "invalid_image", message, f"Give an image name, or one of: {', '.join(images)}.", path="image"
        )
    if not re.search(r"[/:@=.]", name) and (hint := catalog.did_you_mean(name, images)):
        message = f"Unknown image key '{name}'.{hint}"
        raise UnknownNameError.of("unknown_image", message, f"Use one of: {', '.join(images)}.", path="image")
    key, separator, image = name.partition("=")
    if separator and "/" not in key:
        if key not in images:
            message = f"Unknown image key '{key}'.{catalog.did_you_mean(key, images)}"
            raise UnknownNameError.of("unknown_image", message, f"Use one of: {', '.join(images)}.", path="image")
        return replace(images[key], image=image, get=f"docker pull {image}")
    by_image = {entry.image: entry for entry in reversed(images.values())}
    return by_image.get(name, Image(name, get=f"docker pull {name}"))


def of_skill(skill: Skill) -> Image | None:
    """Return the skill's own image. Raises UnknownNameError when versions.yaml does not have it."""
    key = skill.info.container_image
    if key is None:
        return None
    images = known()
    if key not in images:
        path = Path(skill.folder, "references", "skill_info.yaml")
        message = f"{path} names image key '{key}', which references/versions.yaml does not have."
        raise UnknownNameError.of("unknown_image", message, f"Use one of: {', '.join(images)}.", path="container_image")
    return images[key]


def get(name: str) -> str:
    """Return the command that pulls or builds an image."""
    by_image = {entry.image: entry.get for entry in reversed(known().values())}
    return by_image.get(name) or f"docker pull {name}"


def choose(job: Job, skill: Skill, *, runs_in_image: bool) -> tuple[Job, list[Finding]]:
    """Return the job with the image that it runs in, and a finding if the image must be confirmed.

    Raises:
        RequestError: there is no image, or it cannot run the request.
        UnknownNameError: the request names a key that does not exist.

    """
    if not runs_in_image:
        return job, []
    chosen = resolve(job.image) if job.image else of_skill(skill)
    if chosen is None:
        message = f"Platform {job.platform.name} runs containers; neither the request nor {skill.name} names an image."
        raise RequestError.of("image_needed", message, "Specify one: --image IMAGE", path="image")
    findings = [] if job.image or not chosen.confirm else [_unconfirmed(chosen, skill)]
    if not chosen.commands:
        return replace(job, image=chosen.image), findings
    return _for_own_commands(job, chosen, skill.action(job.action).inputs.models), findings


def _unconfirmed(image: Image, skill: Skill) -> Finding:
    message = f"No image was named, so {skill.name} would run in its own: {image.image}"
    fix = f"Confirm it with --image {skill.info.container_image}, name another (ours: --image {OUR_OWN}), or seal "
    fix += "the plan that shows it and run that: tao-skills plan ... --out plan.json; tao-skills run --plan plan.json"
    return Finding("image_unconfirmed", "warning", message, fix, "image", {"blocks_run": True, "image": image.image})


def _for_own_commands(job: Job, image: Image, model_keys: Sequence[str]) -> Job:
    """Return the job for a third-party image: run by its own command, which loads models from the Hub itself."""
    problems, config = [], job.config
    if job.action not in image.commands:
        message = f"Image {image.image} has no command for {job.action}; it has: {', '.join(image.commands)}."
        problems.append(Problem("action_not_in_image", message, f"Use ours: --image {OUR_OWN}", "image", image.image))
    if job.resources.nodes > 1:
        message = f"Image {image.image} supports a single node only; the job requests {job.resources.nodes}."
        problems.append(Problem("nodes_not_in_image", message, f"Use ours: --image {OUR_OWN}", "platform.nodes"))
    for uri in (uri for uri, _ in job.fetches if not model_uri.is_remote(uri)):
        message = f"Image {image.image} cannot stage {uri} for the job."
        problems.append(Problem("storage_not_in_image", message, f"Use ours: --image {OUR_OWN}", "datasets", uri))
    if job.results_uri is not None:
        message = f"Image {image.image} cannot upload results to {job.results_uri}."
        problems.append(Problem("storage_not_in_image", message, f"Use ours: --image {OUR_OWN}", "results_dir"))
    for key in model_keys:
        uri = nested.get(job.spec, key)
        if not isinstance(uri, str) or not model_uri.is_remote(uri):
            continue
        name, separator, _ = uri.removeprefix(model_uri.HUB).partition("@")
        if uri.startswith(model_uri.BUILTIN) or separator:
            what = f"revisions ({uri})" if separator else f"embedded models ({uri})"
            fix = f"Use ours: --image {OUR_OWN}" + (f", or {key}={model_uri.HUB}{name}" if separator else "")
            problems.append(
                Problem("model_not_in_image", f"Image {image.image} does not support {what}.", fix, key, uri)
            )
        config = nested.with_value(config, key, name)
    if problems:
        raise RequestError(problems)
    return replace(job, image=image.image, command=image.commands[job.action], config=config, fetches=())
