"""The whole command that plans a training on data that were just written."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tao_skill_bank.cli.output import command
from tao_skill_bank.cli.overrides import option_words

if TYPE_CHECKING:
    from tao_skill_bank.bank.catalog import Skill

ACTION: Final = "train"
KINDS = {"llava": "annotations", "clips": "captioned_clips"}  # what data are converted to, and the kind of input
TRAIN: Final = "train"
HELD_OUT = ("val", "validation", "eval", "test")  # names of splits
MAX_ROUNDS = 4


def for_annotations(annotations: Path, media: Path) -> list[str]:
    """Return the command that trains on an annotation file and its media, each given by its own key."""
    skill = _skill(KINDS["llava"])
    if skill is None:
        return []
    source = skill.info.data_sources[ACTION][TRAIN]
    paths = {source.annotation_path: annotations, source.media_path: media}
    return _command(skill, {}, {str(key): str(path.absolute()) for key, path in paths.items()})


def for_folder(folder: Path, target: str) -> list[str]:
    """Return the command that trains on a converted folder, by its splits where it has such."""
    skill = _skill(KINDS[target])
    if skill is None:
        return []
    train = folder / TRAIN if (folder / TRAIN).is_dir() else folder
    held_out = [folder / name for name in HELD_OUT if (folder / name).is_dir()] if train != folder else []
    roles = {"train": train, **({"eval": held_out[0]} if held_out else {})}
    return _command(skill, {role: str(path.absolute()) for role, path in roles.items()}, {})


def _skill(kind: str) -> "Skill | None":
    """Return the first skill that trains on a kind of input."""
    from tao_skill_bank.bank import catalog
    from tao_skill_bank.cli.data_reading import trained_on

    return next((skill for skill in catalog.skills() if trained_on(skill) == kind), None)


def _command(skill: "Skill", datasets: dict[str, Any], overrides: dict[str, Any]) -> list[str]:
    """Return the command with what a valid request needs besides its data, the first where there is a choice."""
    from tao_skill_bank.contracts import Request
    from tao_skill_bank.spec import build

    request = Request(skill.name, ACTION, datasets=datasets, overrides=overrides)
    added: dict[str, Any] = {}
    for _ in range(MAX_ROUNDS):
        problems = build.problems_with(skill, request, added)
        if not problems:
            words = [word for role, path in datasets.items() for word in (f"--{role}", path)]
            return [command("plan", skill.name, ACTION, *words, *option_words(overrides | added))]
        for problem in problems:
            added |= problem.fix_set or next(iter(problem.fix_choices), {})
    return []
