"""Write a new model skill that runs: skills/NAME and src/tao_skill_bank/models/PACKAGE. Nothing else changes."""

import argparse
import sys
from pathlib import Path

from tao_skill_bank.authoring import new_skill
from tao_skill_bank.errors import TaoSkillsError

ROOT = Path(__file__).parents[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="of the skill, such as tao-finetune-clip-classifier")
    parser.add_argument("--package", required=True, help="of the model, such as clip_classifier")
    parser.add_argument("--kind", default="class_folders", help=f"of its datasets: {', '.join(new_skill.KINDS)}")
    parser.add_argument("--bank", type=Path, default=ROOT, help="folder that holds skills/")
    parser.add_argument("--source", type=Path, default=ROOT / "src", help="folder that holds tao_skill_bank/models/")
    flags = parser.parse_args()
    wanted = new_skill.NewSkill(flags.name, flags.package, flags.kind, flags.bank.absolute(), flags.source.absolute())
    try:
        written = new_skill.write(wanted)
    except TaoSkillsError as error:
        for problem in error.problems:
            print(f"error: {problem.message}\n  fix: {problem.fix}", file=sys.stderr)
        return error.exit_code
    for path in written:
        print(path)
    print(f"Next: tao-skills show {flags.name}; references/add-a-model.md names every file and hook.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
