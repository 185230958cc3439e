"""The example of references/workflows.md is a valid workflow."""

import pytest

from tao_skill_bank.core import yaml12
from tao_skill_bank.workflows import checks, files


@pytest.fixture
def example(project_root):
    text = (project_root / "references" / "workflows.md").read_text()
    return yaml12.parse(text.partition("```yaml\n")[2].partition("```")[0], "the page")


def test_the_example_of_the_page_is_a_valid_workflow(example):
    workflow = files.parse(example, "references/workflows.md")
    assert [each.step.name for each in checks.placed(workflow)][-1] == "rounds"
