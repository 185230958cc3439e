from collections import Counter

from tao_skill_bank.contracts import Finding
from tao_skill_bank.data.check.distributions import Bar, Histogram
from tao_skill_bank.data.check.survey import Split, Survey
from tao_skill_bank.report import data_check


def test_a_page_shows_findings_by_severity_and_why_a_histogram_is_missing(tmp_path):
    survey = Survey(
        path="/data/<b>",
        kind="annotations",
        splits=(Split("train", "/data", "records", 3, 3, 1, 90.0, Counter()),),
        histograms=(
            Histogram("Rate", "1/s", (Bar("24 & more", 1), Bar("30", 3))),
            Histogram("Tokens", missing="none"),
        ),
        findings=(
            Finding("noted", "info", "a note"),
            Finding("warned", "warning", "a warning", "a fix"),
            Finding("blocked", "blocking", "a fault", "another fix"),
        ),
    )
    page = data_check.write(survey, tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.index("a fault") < page.index("a warning") < page.index("<li>a note</li>")
    assert "/data/&lt;b&gt;" in page
    assert "24 &amp; more" in page
    assert 'width="250.0"' in page
    assert "3 (75%)" in page
    assert "Not shown: none." in page
    assert "1 min 30 s" in page
