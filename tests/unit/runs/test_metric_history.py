import json
import math

from hypothesis import given
from hypothesis import strategies as st

from tao_skill_bank.runs import metric_history, run_directory
from tao_skill_bank.runs.metric_history import Curve

NUMBER = st.one_of(st.floats(), st.integers(-5, 30), st.booleans(), st.none(), st.just(10**400), st.just("3"))
STEP = st.one_of(st.integers(0, 12), NUMBER)
LINE = st.fixed_dictionaries({}, optional={"step": STEP, "loss": NUMBER, "a/b": NUMBER, "a/c": NUMBER, "x": NUMBER})


def is_number(value: object) -> bool:
    is_plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_plain and abs(value) < 1e308 and math.isfinite(value)


def plain_reader(lines: list[dict[str, object]]) -> tuple[Curve, dict[str, object]]:
    """Return the curve of `loss` and the newest values, by keeping everything."""
    points = {
        line["step"]: line["loss"] for line in lines if is_number(line.get("step")) and is_number(line.get("loss"))
    }
    newest = {name: value for line in lines for name, value in line.items() if "/" in name}
    return Curve(tuple(map(float, sorted(points))), tuple(float(points[step]) for step in sorted(points))), newest


@given(st.lists(LINE, max_size=40))
def test_a_history_is_what_a_plain_reader_keeps(lines: list[dict[str, object]]) -> None:
    lines = [{name: value for name, value in line.items() if not _is_huge(value)} for line in lines]
    history = metric_history.read(lines, ["loss", "absent"])
    curve, newest = plain_reader(lines)
    assert history.series["loss"].curve() == curve if curve.steps else history.series == {}
    assert repr(history.newest) == repr({name: newest[name] for name in history.newest})
    assert set(history.newest) == set(newest)


def _is_huge(value: object) -> bool:
    return isinstance(value, float) and 1e308 <= abs(value) < math.inf


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30), st.integers(1, 4)), min_size=1, max_size=6))
def test_every_resume_writes_its_steps_over_the_earlier_ones(runs: list[tuple[int, int, int]]) -> None:
    lines = [
        {"step": step, "loss": run + step / 100}
        for run, (start, length, stride) in enumerate(runs)
        for step in range(start, start + length, stride)
    ]
    assert metric_history.read(lines, ["loss"]).series["loss"].curve() == plain_reader(lines)[0]


def test_the_newest_values_are_kept_of_lines_that_all_name_other_metrics() -> None:
    lines = [{f"a/{number % 200}": number, f"b/{number}": 0} for number in range(1000)]
    newest = metric_history.read(lines, []).newest
    assert [newest[f"a/{number}"] for number in range(200)] == list(range(800, 1000))
    assert len(newest) == 1200


@given(values=st.lists(st.floats(-5, 5), min_size=1, max_size=300), max_points=st.integers(4, 40))
def test_a_thinned_curve_keeps_its_ends_and_extremes_and_says_so(values: list[float], max_points: int) -> None:
    lines = [{"step": step, "loss": value} for step, value in enumerate(values)]
    points = metric_history.read(lines, ["loss"]).series["loss"]
    whole, thinned = points.curve(), points.curve(max_points)
    assert len(thinned.steps) == len(thinned.values) <= max_points
    assert set(zip(thinned.steps, thinned.values, strict=True)) <= set(zip(whole.steps, whole.values, strict=True))
    assert (thinned.steps[0], thinned.steps[-1]) == (0, len(values) - 1)
    assert (min(thinned.values), max(thinned.values)) == (min(values), max(values))
    assert thinned.thinned_from == (len(values) if len(values) > max_points else 0)
    assert list(thinned.steps) == sorted(thinned.steps)


JSON = st.dictionaries(st.text(max_size=4), st.one_of(st.floats(), st.integers(), st.text(max_size=4), st.none()))
ODD = [
    '{"a": "\\ud800"}',
    '{"a": 1e999}',
    '{"a": -Infinity}',
    '{"a": 1, "a": 2}',
    '{"a": 01}',
    "{}",
    '{"a": 1}}',
    " {}",
]
ODD += [
    f'{{"a": {"9" * 4000}}}',
    '\ufeff{"a": 1}',
    '{"a": "\t"}',
    '{"a": "\x00"}',
    '{"a": -0}',
    '{"a": 1.}',
    "3",
    "null",
]


@given(
    st.one_of(JSON.map(json.dumps), JSON.map(lambda value: json.dumps(value, ensure_ascii=False)), st.sampled_from(ODD))
)
def test_a_flat_line_is_read_as_any_other_json(line: str) -> None:
    data = line.encode("utf-8", "surrogatepass")
    try:
        plain = run_directory.json_reader.loads(data)
    except ValueError:
        plain = None
    expected = plain if isinstance(plain, dict) else None
    assert repr(run_directory._json_object(data)) == repr(expected)
