"""Container images: references/versions.yaml by key, and what a job needs to run in one.

Our own image runs the trainers of this package. Another one brings commands of its own: they read the same config, with
hub ids in place of folders that this package would have filled.
"""

import re
from collections.abc import Sequence
from dataclasses import field, replace
from pathlib import Path

import yaml

from tao_skill_bank.bank import catalog
from tao_skill_bank.bank.catalog import Skill
from tao_skill_bank.contracts import Finding, Job, contract, from_json
from tao_skill_bank.core import nested
from tao_skill_bank.errors import Problem, RequestError, UnknownNameError
from tao_skill_bank.weights import model_uri

OUR_OWN = "tao-skill-bank"


@contract
class Image:
    """One entry of versions.yaml.

    Attributes:
        image: the name by which a container engine knows it.
        get: the command that brings it to a machine.
        confirm: a skill's own image is run only once a request names it, or a sealed plan shows it.
        commands: by action, the program in the image that takes `--config FILE`; empty where it holds this package.

    """

    image: str
    get: str = ""
    confirm: bool = False
    commands: dict[str, tuple[str, ...]] = field(default_factory=dict)


@contract
class Images:
    """The whole file."""

    images: dict[str, Image]


def known() -> dict[str, Image]:
    """Return every image of the bank, by key; none where the bank has no versions.yaml."""
    path = catalog.bank_root() / "references" / "versions.yaml"
    if not path.is_file():
        return {}
    return from_json(Images, yaml.safe_load(path.read_text(encoding="utf-8")), str(path)).images


def resolve(name: str) -> Image:
    """Return what a key, an image or KEY=IMAGE means; an image that no entry names is taken to hold this package.

    Raises:
        UnknownNameError: there is no such key.
        RequestError: no engine could have an image of this name.

    """
    images = known()
    if name in images:
        return images[name]
    if re.search(r"^-|\s|^$", name):
        message = f"'{name}' is no name of an image."
        raise RequestError.of("invalid_image", message, f"Name one, or one of: {', '.join(images)}.", path="image")
    if not re.search(r"[/:@=.]", name) and (hint := catalog.did_you_mean(name, images)):
        message = f"There is no image key '{name}'.{hint}"
        raise UnknownNameError.of("unknown_image", message, f"Use one of: {', '.join(images)}.", path="image")
    key, separator, image = name.partition("=")
    if separator and "/" not in key:
        if key not in images:
            message = f"There is no image key '{key}'.{catalog.did_you_mean(key, images)}"
            raise UnknownNameError.of("unknown_image", message, f"Use one of: {', '.join(images)}.", path="image")
        return replace(images[key], image=image, get=f"docker pull {image}")
    by_image = {entry.image: entry for entry in reversed(images.values())}
    return by_image.get(name, Image(name, get=f"docker pull {name}"))


def of_skill(skill: Skill) -> Image | None:
    """Return the image that a skill names as its own. Raises UnknownNameError when it names none of the file."""
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
    """Return the command that brings an image to a machine."""
    by_image = {entry.image: entry.get for entry in reversed(known().values())}
    return by_image.get(name) or f"docker pull {name}"


def choose(job: Job, skill: Skill, *, runs_in_image: bool) -> tuple[Job, list[Finding]]:
    """Return the job with the image that it runs in, and whether that one has to be confirmed.

    Raises:
        RequestError: there is no image, or what the request asks for cannot run in it.
        UnknownNameError: the request names a key that does not exist.

    """
    if not runs_in_image:
        return job, []
    chosen = resolve(job.image) if job.image else of_skill(skill)
    if chosen is None:
        message = f"Platform {job.platform.name} runs containers; neither the request nor {skill.name} names an image."
        raise RequestError.of("image_needed", message, "Name one: --image IMAGE", path="image")
    findings = [] if job.image or not chosen.confirm else [_unconfirmed(chosen, skill)]
    if not chosen.commands:
        return replace(job, image=chosen.image), findings
    return _for_own_commands(job, chosen, skill.action(job.action).inputs.models), findings


def _unconfirmed(image: Image, skill: Skill) -> Finding:
    message = f"No image was named, so {skill.name} would run in its own: {image.image}"
    fix = f"Say yes to it with --image {skill.info.container_image}, name another (ours: --image {OUR_OWN}), or seal "
    fix += "the plan that shows it and run that: tao-skills plan ... --out plan.json; tao-skills run --plan plan.json"
    return Finding("image_unconfirmed", "warning", message, fix, "image", {"blocks_run": True, "image": image.image})


def _for_own_commands(job: Job, image: Image, model_keys: Sequence[str]) -> Job:
    """Return the job as a foreign image runs it: by its own command, which loads models from the hub by itself."""
    problems, config = [], job.config
    if job.action not in image.commands:
        message = f"Image {image.image} has no command for {job.action}; it has: {', '.join(image.commands)}."
        problems.append(Problem("action_not_in_image", message, f"Use ours: --image {OUR_OWN}", "image", image.image))
    if job.resources.nodes > 1:
        message = f"Image {image.image} is started on one node only; the job asks for {job.resources.nodes}."
        problems.append(Problem("nodes_not_in_image", message, f"Use ours: --image {OUR_OWN}", "platform.nodes"))
    for uri in (uri for uri, _ in job.fetches if not model_uri.is_remote(uri)):
        message = f"Image {image.image} cannot bring {uri} to the job."
        problems.append(Problem("storage_not_in_image", message, f"Use ours: --image {OUR_OWN}", "datasets", uri))
    if job.results_uri is not None:
        message = f"Image {image.image} cannot bring results to {job.results_uri}."
        problems.append(Problem("storage_not_in_image", message, f"Use ours: --image {OUR_OWN}", "results_dir"))
    for key in model_keys:
        uri = nested.get(job.spec, key)
        if not isinstance(uri, str) or not model_uri.is_remote(uri):
            continue
        name, separator, _ = uri.removeprefix(model_uri.HUB).partition("@")
        if uri.startswith(model_uri.BUILTIN) or separator:
            what = f"revisions ({uri})" if separator else f"embedded models ({uri})"
            fix = f"Use ours: --image {OUR_OWN}" + (f", or {key}={model_uri.HUB}{name}" if separator else "")
            problems.append(Problem("model_not_in_image", f"Image {image.image} knows no {what}.", fix, key, uri))
        config = nested.with_value(config, key, name)
    if problems:
        raise RequestError(problems)
    return replace(job, image=image.image, command=image.commands[job.action], config=config, fetches=())
