"""Regenerate schemas, manifests, templates and parameter tables from the dataclasses; `--check` fails on drift."""

import argparse
import sys

from tao_skill_bank.authoring import generated_files
from tao_skill_bank.errors import TaoSkillsError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is stale")
    check = parser.parse_args().check
    try:
        files = generated_files.outputs()
    except TaoSkillsError as error:
        for problem in error.problems:
            print(f"error: {problem.message}\n  fix: {problem.fix}", file=sys.stderr)
        return error.exit_code
    changed = generated_files.stale(files) if check else generated_files.write(files)
    for path in changed:
        print(f"{'stale' if check else 'wrote'}: {path}")
    if check and changed:
        print("Run: make schemas", file=sys.stderr)
    return 1 if check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
