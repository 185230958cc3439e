"""Write the wrongly answered questions of an evaluation as parquet."""

import argparse
import sys
from pathlib import Path

from tao_skill_bank.errors import TaoSkillsError
from tao_skill_bank.runs.gaps import analyze


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results-dir", type=Path, required=True, help="run directory of an evaluation")
    parser.add_argument("--gaps-parquet", type=Path, required=True, help="parquet file to write")
    parser.add_argument("--kpi-ann-path", type=Path, help="annotation file of the evaluated records")
    parser.add_argument("--kpi-media-path", type=Path, help="media folder of the evaluated records")
    options = parser.parse_args()
    try:
        report = analyze(options.results_dir, options.gaps_parquet, options.kpi_ann_path, options.kpi_media_path)
    except TaoSkillsError as error:
        for problem in error.problems:
            print(f"error: {problem.message}\n  fix: {problem.fix}", file=sys.stderr)
        return error.exit_code
    for warning in report.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"{report.parquet}: {report.gaps} gaps in {report.records} records")
    return 0


if __name__ == "__main__":
    sys.exit(main())
