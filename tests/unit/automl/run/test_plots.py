import base64
import io
import sys

import pytest
from search_trials import add_recipe, add_trial, make_search

from tao_skill_bank.automl.plan.history import TrialState
from tao_skill_bank.automl.run import plots

pytestmark = pytest.mark.usefixtures("third_skill")


def drawn(search) -> dict[str, plots.Plot]:
    return {plot.title: plot for plot in plots.of_search(search, search.storage.entries())}


@pytest.fixture
def search(tmp_path):
    """Return a search of six complete trials that the learning rate alone decides."""
    search = make_search(tmp_path / "run")
    add_recipe(search, 1.2, 0.9)
    for place, rate in enumerate((2e-4, 5e-4, 2e-3, 5e-3, 9e-3)):
        add_trial(search, rate, place + 1, 1.0 + place / 10, 0.8 - place / 10)
    return search


@pytest.mark.slow
def test_every_plot_that_one_objective_allows_is_a_picture_for_light_and_for_dark(search):
    from PIL import Image

    found = drawn(search)
    assert {title for title, plot in found.items() if plot.missing} == {"Pareto front"}
    for plot in found.values():
        if plot.missing:
            continue
        pictures = []
        for uri in (plot.light, plot.dark):
            picture = Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,"))))
            assert picture.width / plot.width == pytest.approx(plots.DPI / plots.PIXELS_PER_INCH, rel=0.01)
            assert picture.getpixel((0, 0))[3] == 0, "the card's colour must show through"
            pictures.append(picture.tobytes())
        assert pictures[0] != pictures[1]
        assert len(plot.alt) > 40


@pytest.mark.slow
def test_the_history_has_the_best_so_far(search):
    history = drawn(search)["Optimization history"]
    assert history.rows[0] == (0, 0.9, 0.9)
    assert history.rows[-1] == (5, pytest.approx(0.4), pytest.approx(0.4))


@pytest.mark.slow
def test_importances_name_the_parameter_that_decides(tmp_path):
    search = make_search(tmp_path / "run")
    add_recipe(search, 0.9)
    for place in range(24):
        rate = 1e-4 * 10 ** (place / 12)
        add_trial(search, rate, place * 7 % 6, abs(place - 12) / 12)
    rows = drawn(search)["Parameter importances"].rows
    assert rows[0][0] == "optm_lr"
    assert rows[0][1] > 0.5


@pytest.mark.slow
def test_scores_by_epoch_are_those_of_every_trial_that_did_not_fail(search):
    add_trial(search, 1e-3, 3, 0.1, state=TrialState.FAILED, why="It broke.")
    found = drawn(search)["Scores by epoch"]
    assert found.header == ("Trial", "Epoch 1", "Epoch 2")
    assert [row[0] for row in found.rows] == [0, 1, 2, 3, 4, 5]
    assert "trial 5, reached 0.4" in found.alt


@pytest.mark.slow
def test_paused_trials_show_their_rungs(tmp_path):
    search = make_search(tmp_path / "run", {"train.epoch": 9}, algorithm="asha")
    add_recipe(search, 0.9, 0.8, 0.7, state=TrialState.PAUSED)
    add_trial(search, 2e-3, 3, 0.9, state=TrialState.PAUSED)
    found = drawn(search)["Scores by epoch"]
    assert found.light
    assert found.note == "Trials pause after epoch 1, epoch 3."
    assert found.rows[1] == (1, 0.9, None, None)


@pytest.mark.slow
def test_two_objectives_have_a_front(tmp_path):
    search = make_search(tmp_path / "run", objectives=["metric", "cost"])
    add_recipe(search, 1.0, 0.9)
    add_trial(search, 2e-3, 3, 0.9, 0.5, gpu_hours=3.0)
    add_trial(search, 2e-3, 4, 0.9, 0.7, gpu_hours=4.0)
    add_trial(search, 3e-3, 2, 0.9, 0.8, gpu_hours=2.0)
    found = drawn(search)
    assert not [plot.missing for plot in found.values() if plot.missing]
    assert all(plot.light for plot in found.values())
    assert [row[-1] for row in found["Pareto front"].rows] == ["yes", "yes", "no", "yes"]


@pytest.mark.slow
def test_a_metric_that_is_maximised_is_shown_as_it_is(tmp_path):
    search = make_search(tmp_path / "run", metric="val/accuracy", direction="maximize")
    add_recipe(search, -0.5)
    add_trial(search, 2e-3, 3, -0.75)
    add_trial(search, 3e-3, 3, -0.6)
    found = drawn(search)
    assert found["Optimization history"].rows == ((0, 0.5, 0.5), (1, 0.75, 0.75), (2, 0.6, 0.75))
    assert found["Parallel coordinates"].light


def test_too_few_trials_leave_every_plot_out_with_its_reason(tmp_path):
    search = make_search(tmp_path / "run")
    assert all(plot.missing for plot in drawn(search).values())
    add_recipe(search, 0.9, state=TrialState.RUNNING)
    found = drawn(search)
    assert found["Parameter importances"].missing == "It takes 4 complete trials; there are 0."
    assert found["Scores by epoch"].missing == "All scores are from epoch 1."


@pytest.mark.slow
def test_trials_that_are_all_alike_are_no_traceback(tmp_path):
    search = make_search(tmp_path / "run")
    for _ in range(5):
        add_recipe(search, 0.9, 0.9)
    found = drawn(search)
    assert found["Parameter importances"].missing == "All complete trials have the same score."
    assert found["Parallel coordinates"].light


@pytest.mark.slow
def test_what_optuna_meets_is_said_in_place_of_the_plot(search, monkeypatch):
    import optuna.visualization.matplotlib

    def broken(*_arguments, **_options):
        raise ZeroDivisionError("float division by zero")

    monkeypatch.setattr(optuna.visualization.matplotlib, "plot_parallel_coordinate", broken)
    found = drawn(search)
    assert found["Parallel coordinates"].missing == (
        "Optuna could not draw it: ZeroDivisionError: float division by zero"
    )
    assert found["Optimization history"].light


def test_without_matplotlib_the_figures_are_there_as_tables(search, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    found = drawn(search)
    assert not any(plot.light for plot in found.values())
    assert {title for title, plot in found.items() if plot.missing} == {"Pareto front"}
    assert found["Optimization history"].rows
    assert found["Parameter importances"].rows


@pytest.mark.slow
def test_logarithmic_axes_show_values_and_no_exponents(search, monkeypatch):
    from matplotlib.figure import Figure

    labels = []
    save = Figure.savefig

    def keep(figure, *arguments, **options):
        save(figure, *arguments, **options)
        labels.append([label.get_text() for axes in figure.axes for label in axes.get_yticklabels()])

    monkeypatch.setattr(Figure, "savefig", keep)
    drawn(search)
    parallel = labels[-1]
    assert {"2", "4", "8", "16", "32"} <= set(parallel)
    assert "0.009" in parallel
    assert not any("10^" in label or "mathdefault{10" in label for label in parallel)
