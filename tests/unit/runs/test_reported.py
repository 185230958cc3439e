from hypothesis import given
from hypothesis import strategies as st

from tao_skill_bank.runs import reported
from tao_skill_bank.runs.run_directory import epoch_seconds

TIME = st.one_of(
    st.floats(0, 1e9), st.just("2026-11-30T12:00:00+00:00"), st.just("2026-11-30T14:00:01.5+02:00"), st.just("x")
)
LINE = st.fixed_dictionaries(
    {}, optional={"time": TIME, "step": st.integers(0, 9), "state": st.sampled_from(["RUNNING"])}
)


@given(st.lists(LINE, max_size=8))
def test_status_lines_say_together_what_all_of_them_say(lines: list[dict[str, object]]) -> None:
    seen = reported.read(iter(lines))
    times = [moment for line in lines if (moment := epoch_seconds(line.get("time"))) is not None]
    assert seen.duration_seconds == (round(max(times) - min(times), 3) if times else None)
    assert seen.step == next((line["step"] for line in reversed(lines) if "step" in line), 0)
    assert seen.started_at == (str(lines[0].get("time", "")) if lines else "")
    assert seen.last == (lines[-1] if lines else {})
