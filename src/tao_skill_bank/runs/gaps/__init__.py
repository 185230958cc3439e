"""Gap analysis: results.json of an evaluation -> parquet of the questions that were answered wrongly."""

from tao_skill_bank.runs.gaps.analysis import analyze
from tao_skill_bank.runs.gaps.report import GapReport
from tao_skill_bank.runs.gaps.table import COLUMNS
from tao_skill_bank.runs.gaps.text import normalised

__all__ = ["COLUMNS", "GapReport", "analyze", "normalised"]
