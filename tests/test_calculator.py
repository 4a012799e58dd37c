"""The calculator's parts: fields, slopes, EM, examples, Python lines, sliders."""

from __future__ import annotations

from urllib.parse import parse_qs

import numpy as np
import pytest

import estep_xp as ex

pytest.importorskip("starlette", reason="the page needs the extra calculator")
from estep_xp.calculator import em, fields, picture, presets, recipe, sensitivity, sliders, view
from estep_xp.calculator.fields import WORKED, Fields
from estep_xp.calculator.textbook import textbook_responsibilities
from tests.commands import needs_jax
from tests.pages import (
    EXAMPLE,
    inputs,
    mixture,
)


def test_a_link_fills_the_fields():
    assert fields.read_fields({}) == WORKED
    assert fields.read_fields({"x": "7"}) == WORKED._replace(x="7")
    assert fields.read_fields({"means": "1,2,3"}) == WORKED._replace(means="1,2,3", weights="")
    typed = Fields("1, 2\n3", "−1 +2", '"&=<;', "")
    back = {name: text for name, (text,) in parse_qs(typed.query, keep_blank_values=True).items()}
    assert fields.read_fields(back) == typed


def test_every_bad_field_has_its_message():
    found, errors = fields.check_fields(Fields("1, two", "2, 6", "1, -1.5", "1"))
    assert found is None
    assert errors == {
        "x": "value 2 is two; must be a number",
        "variances": "value 2 is -1.5; must be positive",
        "weights": "value 2 is missing; there must be 2 values, one for each of the means",
    }
    found, errors = fields.check_fields(Fields("1", "2, 6", "1, 2", " \n"))
    assert errors == {}
    assert found.weights.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": "1 " * 20_001}, "has 20001 values; the page takes 20000 observations"),
        (
            {"means": "1 " * 51, "variances": "1 " * 51, "weights": ""},
            "has 51 values; the page takes 50 components",
        ),
    ],
)
def test_work_is_bounded(changes, message):
    found, errors = fields.check_fields(WORKED._replace(**changes))
    assert found is None
    assert [text.partition(",")[0] for text in errors.values()] == [message]


def numerical_slopes(given):
    """Return central differences of the log-likelihood, parameter by parameter."""
    rows = []
    for field in ("means", "variances", "weights"):
        values = getattr(given, field)
        row = []
        for j in range(len(values)):
            step = np.zeros(len(values))
            step[j] = 1e-6 * max(1.0, abs(values[j]))
            up, down = (given._replace(**{field: values + sign * step}) for sign in (1, -1))
            rise = ex.log_likelihood(given.x, mixture(up)) - ex.log_likelihood(
                given.x, mixture(down)
            )
            row.append(rise / (2 * step[j]))
        rows.append(row)
    return rows


SLOPED = {
    "worked": EXAMPLE,
    "more": inputs(np.linspace(-3, 9, 100), [0, 4, 5], [1, 2, 0.5], [3, 1, 2]),
    "underflow": inputs([1, 4, 100], [2, 6], [1, 1.5], [0.45, 0.55]),
}


@pytest.mark.parametrize("name", SLOPED)
def test_slopes_are_those_of_the_log_likelihood(name):
    *slopes, how = sensitivity.gradient_by_statistics(SLOPED[name])
    np.testing.assert_allclose(slopes, numerical_slopes(SLOPED[name]), rtol=1e-5, atol=1e-5)
    assert "statistics" in how


@needs_jax
@pytest.mark.parametrize("name", [*SLOPED, "zero weight"])
def test_jax_gives_the_same_slopes(name):
    given = SLOPED.get(name, EXAMPLE._replace(weights=np.asarray([0.0, 1.0])))
    *closed, _ = sensitivity.gradient_by_statistics(given)
    *automatic, how = sensitivity.gradient_by_autodiff(given)
    np.testing.assert_allclose(automatic, closed, rtol=1e-9, atol=1e-12)
    assert "jax.grad" in how


def test_no_slopes_at_zero_density():
    *slopes, _ = sensitivity.gradient_by_statistics(inputs([0, 1e200], [0], [1]))
    assert np.isnan(slopes).all()


def test_one_em_step_is_the_librarys():
    climb = em.take_step(WORKED, EXAMPLE)
    expected = ex.m_step(ex.expected_statistics(EXAMPLE.x, mixture(EXAMPLE)))
    found, _ = fields.check_fields(climb.fields)
    np.testing.assert_allclose(found.means, expected.components.means, rtol=1e-7)
    np.testing.assert_allclose(found.variances, expected.components.variances, rtol=1e-7)
    np.testing.assert_allclose(found.weights, expected.weights, rtol=1e-7)
    assert climb.fields.x == WORKED.x
    assert climb.log_likelihoods == pytest.approx(
        [ex.log_likelihood(EXAMPLE.x, model) for model in (mixture(EXAMPLE), expected)]
    )


def test_em_converges_and_rises():
    geyser = presets.presets()[1].fields
    climb = em.run_to_convergence(geyser, fields.check_fields(geyser)[0])
    assert climb.log_likelihoods[-1] == pytest.approx(-1034.00175, abs=1e-4)
    assert (np.diff(climb.log_likelihoods) > 0).all()
    assert climb.summary.startswith("Converged after ")
    found, _ = fields.check_fields(climb.fields)
    np.testing.assert_allclose(found.means, [54.6149, 80.0911], rtol=1e-4)


def test_em_goes_on_where_patience_ended(monkeypatch):
    monkeypatch.setattr(em, "_PATIENCE", 0.0)
    geyser = presets.presets()[1].fields
    climb = em.run_to_convergence(geyser, fields.check_fields(geyser)[0])
    assert climb.summary.startswith("Not converged after 1 step: ")
    assert climb.warning == "The log-likelihood still rises: press again to go on."


def test_em_says_what_has_collapsed():
    few = presets.presets()[-1].fields
    climb = em.run_to_convergence(few, fields.check_fields(few)[0])
    assert climb.warning.startswith("Component 1 has collapsed onto equal numbers: ")
    assert "try fewer components" in climb.warning


def test_em_ends_well_on_the_worked_example():
    climb = em.run_to_convergence(WORKED, EXAMPLE)
    assert climb.summary.startswith("Converged after ")
    assert climb.warning == ""
    fit = ex.fit(EXAMPLE.x, mixture(EXAMPLE), tol=1e-12, max_iter=10_000)
    found, _ = fields.check_fields(climb.fields)
    np.testing.assert_allclose(found.means, fit.mixture.components.means, rtol=1e-3)


def test_examples_to_begin_with():
    for preset in presets.presets():
        given, errors = fields.check_fields(preset.fields)
        assert errors == {}
        fails = np.isnan(textbook_responsibilities(given)).any()
        assert fails == (preset.name == "Underflow")
        assert np.isfinite(ex.log_likelihood(given.x, mixture(given)))


def test_the_textbooks_formula_where_it_works():
    step = ex.e_step(EXAMPLE.x, mixture(EXAMPLE))
    np.testing.assert_allclose(textbook_responsibilities(EXAMPLE), step.responsibilities)


LONG = np.random.default_rng(0).normal(4, 2, 1500).tolist()


@pytest.mark.parametrize("x", [[0.5, 1.2, 3.8], [1e-300, -1e22, 3], LONG[:300], LONG])
def test_the_python_lines_compute_what_is_shown(tmp_path, monkeypatch, capsys, x):
    given = inputs(x, [2, 6], [1, 1.5], [0.45, 0.55])
    (tmp_path / recipe.FILE).write_text("x,more\n" + "".join(f"{value!r},0\n" for value in x))
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(recipe.write_recipe(given), names)
    expected = ex.e_step(given.x, mixture(given))
    for mine, theirs in zip(names["result"], expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    *_, mean_max, total = capsys.readouterr().out.split()
    assert float(mean_max) == expected.mean_max_responsibility
    assert float(total) == expected.total_log_likelihood


@pytest.mark.parametrize("given", [EXAMPLE, inputs([5], [5], [1e-9]), inputs([1e9], [0], [1e12])])
def test_sliders_reach_where_parameters_stand(given):
    found = sliders.make_sliders(given)
    assert len(found) == len(given.means)
    for component in found:
        for slider in component:
            lowest, highest, step, value = map(float, slider[2:])
            assert lowest <= value <= highest
            assert 0 < step <= (highest - lowest) / 100
        assert float(component[1].lowest) > 0


def test_extreme_numbers_have_no_sliders_and_no_picture():
    given = inputs([-1e308, 1e308], [0], [1e308])
    assert sliders.make_sliders(given) == []
    assert picture.make_picture(given, view.calculate(given).evaluation.results) is None
