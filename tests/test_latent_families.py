"""Student-t components and factor analysers: what is special to them. All laws hold, too."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import estep_xp as ex
from tests.oracle import assert_log_joint, mp
from tests.records import FACTOR_ANALYZER, STUDENT_T, Problem, parametrize, problem, rounded

latent = parametrize(STUDENT_T, FACTOR_ANALYZER)
WEIGHTS = np.array([0.25, 0.25, 0.5])

# Densities


@pytest.mark.one_program("degrees", "dtype")  # see conftest.py
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("degrees", [[0.01, 0.5, 3.0], [49.0, 1e4, 1e6], [1e8, 1e10, 1e12]])
@pytest.mark.backends("numpy", "array_api_strict", "torch", "jax")
def test_student_t_at_extremes(backend, dtype, degrees):
    problems = (20, 1e4), (20, 1e-3), (2, 1.0)
    for d, size in problems[:1] if backend.name == "jax" else problems:  # each is compiled
        params = rounded(STUDENT_T.random(1, 3, d) | {"degrees": np.array(degrees)}, dtype)
        x = (size * STUDENT_T.data(2, 3, d)).astype(dtype).astype(float)
        case = Problem(STUDENT_T, x, WEIGHTS, params)
        joint = ex.log_joint(backend.data(x, dtype), case.mixture(backend, dtype))
        backend.assert_like(joint, dtype)
        assert_log_joint(backend.to_numpy(joint), case.oracle(), dtype)


def test_with_many_degrees_it_is_the_gaussian():
    case = problem(STUDENT_T, n=20)
    means, factors = case.params["means"], case.params["precision_cholesky"]
    t = ex.StudentT(means, factors, np.full(3, 1e12)).log_prob(case.x)
    np.testing.assert_allclose(t, ex.FullGaussian(means, factors).log_prob(case.x), atol=1e-9)


@pytest.mark.parametrize("far", [1e100, 1e200, 1e305])
@pytest.mark.backends("numpy", "torch", "jax", "jax_jit")
def test_rows_whose_squares_overflow_have_a_density(backend, far):
    fields = [[[0.0, 0.0]], [np.eye(2).tolist()], [1.0]]
    components = ex.StudentT(*(backend.asarray(field, "float64") for field in fields))
    x = backend.data([[far, 0.0], [3.0, 4.0]], "float64")
    found = backend.call(lambda x, c: c.log_prob(x), x, components)
    exact = [
        mp.loggamma(1.5) - mp.loggamma(0.5) - mp.log(mp.pi) - 1.5 * mp.log1p(mp.mpf(q))
        for q in (mp.mpf(far) ** 2, 25)
    ]
    np.testing.assert_allclose(backend.to_numpy(found)[:, 0], np.array(exact, float), rtol=1e-14)


@pytest.mark.parametrize("noise", [1.0, 1e-6, 1e-12])
def test_little_noise_costs_few_digits(noise):
    """Rows of the model itself, for which the usual form is off by 0.02 at a ratio of 1e12."""
    params = FACTOR_ANALYZER.random(1, 3, 6)
    params["noise_variances"] = noise * params["noise_variances"]
    mixture = ex.Mixture(WEIGHTS, ex.FactorAnalyzer(**params))
    x, labels = ex.sample(mixture, 8, seed=4)
    exact, _ = FACTOR_ANALYZER.exact_log_density(x, params)
    own = np.arange(8), labels
    errors = mixture.components.log_prob(x)[own] - exact[own].astype(float)
    assert np.abs(errors).max() < 1e-14 + 2e-15 / np.sqrt(noise)


def test_a_factor_that_loads_nothing_changes_nothing():
    params = FACTOR_ANALYZER.random(1, 3, 4)
    params["loadings"][:, :, 1] = 0.0
    fewer = params | {"loadings": params["loadings"][:, :, :1]}
    x = FACTOR_ANALYZER.data(1, 10, 4)
    one, other = (ex.FactorAnalyzer(**p).log_prob(x) for p in (params, fewer))
    np.testing.assert_allclose(one, other, rtol=1e-14)


# EM


@latent
@pytest.mark.parametrize("accelerate", [False, True])
def test_em_never_falls_and_finds_what_made_the_rows(record, accelerate):
    params = record.random(5, 2, 4)
    params["means"] = np.array([[-4.0, 0.0, 2.0, 0.0], [4.0, 1.0, -2.0, 0.0]])
    truth = ex.Mixture([0.4, 0.6], record.family(**params))
    x, labels = ex.sample(truth, 1500, seed=2)
    start = ex.initialize(x, 2, truth.components)
    result = ex.fit(x, start, variance_floor=0.0, tol=1e-7, accelerate=accelerate)
    assert (np.diff(result.history) > -1e-9).all()
    assert result.log_likelihood > ex.log_likelihood(x, truth)
    found = ex.predict(x, result.mixture)
    assert max(np.mean(found == labels), np.mean(found != labels)) > 0.93


def test_outliers_are_of_little_weight():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0.0, 1.0, (300, 2)), rng.uniform(-500.0, 500.0, (9, 2))])
    result = ex.fit(x, ex.initialize(x, 1, ex.StudentT))
    scales = result.mixture.components.scales[0]
    np.testing.assert_allclose(result.mixture.components.means, 0.0, atol=0.2)
    assert 0.4 < np.linalg.eigvalsh(scales)[0] < np.linalg.eigvalsh(scales)[1] < 1.2
    assert 0.5 < result.mixture.components.degrees[0] < 3.0


def test_degrees_grow_where_rows_are_gaussian():
    x = np.random.default_rng(1).standard_normal((2000, 2))
    result = ex.fit(x, ex.initialize(x, 1, ex.StudentT), tol=1e-9, max_iter=300, accelerate=True)
    assert result.mixture.components.degrees[0] > 20.0


@latent
def test_estimate_from_labels(record):
    params = record.random(5, 2, 4)
    params["means"] = np.array([[-4.0, 0.0, 2.0, 0.0], [4.0, 1.0, -2.0, 0.0]])
    truth = ex.Mixture([0.4, 0.6], record.family(**params))
    x, labels = ex.sample(truth, 2000, seed=2)
    mixture = ex.estimate(x, labels, truth.components)
    np.testing.assert_allclose(mixture.components.means, params["means"], atol=0.4)


@latent
@pytest.mark.parametrize("row", [0, 1])
def test_rows_that_are_all_equal(record, row):
    x = np.repeat(problem(record).x[row : row + 1], 5, axis=0)
    start = ex.initialize(x, 3, record.family(**problem(record).params))
    with pytest.warns(ex.CollapseWarning, match="vary within no component"):
        result = ex.fit(x, start)
    assert np.isfinite(result.log_likelihood)


# Starts, criteria, and other uses


def test_a_template_says_how_many_factors_there_are():
    x, _ = ex.sample(ex.Mixture(WEIGHTS, ex.FactorAnalyzer(**FACTOR_ANALYZER.random(1, 3, 5))), 300)
    template = ex.FactorAnalyzer(np.zeros((1, 5)), np.ones((1, 5, 2)), np.ones((1, 5)))
    table = ex.select(x, [template, ex.FullGaussian], [1, 2]).table
    assert {(row.family, row.n_components) for row in table} == {
        (family, k) for family in ("FactorAnalyzer", "FullGaussian") for k in (1, 2)
    }
    for method in ("k-means", "k-means++", "random", "random_rows"):
        start = ex.initialize(x, 2, template, method=method)
        assert start.components.loadings.shape == (2, 5, 2)
        assert np.isfinite(ex.log_likelihood(x, start))
    with pytest.raises(TypeError, match="family is the class FactorAnalyzer, which does not say"):
        ex.initialize(x, 2, ex.FactorAnalyzer)


@pytest.mark.parametrize(("d", "q", "count"), [(5, 2, 2 * 5 + 10 - 1), (3, 3, 3 + 6), (1, 1, 2)])
def test_number_of_parameters(d, q, count):
    components = ex.FactorAnalyzer(np.zeros((3, d)), np.ones((3, d, q)), np.ones((3, d)))
    assert ex.n_parameters(ex.Mixture([1, 1, 1], components)) == 3 * count + 2
    t = ex.StudentT(np.zeros((3, d)), np.stack([np.eye(d)] * 3), np.ones(3))
    assert ex.n_parameters(ex.Mixture([1, 1, 1], t)) == 3 * (d + d * (d + 1) // 2 + 1) + 2


@latent
def test_marginal_and_condition(record):
    case = problem(record, n=6, d=4)
    mixture = ex.Mixture(case.weights, record.family(**case.params))
    known, rest = [3, 1], [0, 2]
    alone = ex.marginal(mixture, known)
    for row in case.x:
        conditional = ex.condition(mixture, known, row[known])
        expected = ex.log_density(row[None, :], mixture) - ex.log_density(row[None, known], alone)
        found = ex.log_density(row[None, rest], conditional)
        np.testing.assert_allclose(found, expected, rtol=1e-11)


@pytest.mark.backends("numpy", "array_api_strict", "torch", "jax")
def test_rows_drawn_have_the_distribution(backend):
    factors = FACTOR_ANALYZER.random(3, 1, 3)
    mixture = ex.Mixture(backend.asarray([1.0]), FACTOR_ANALYZER.components(backend, factors))
    x = backend.to_numpy(ex.sample(mixture, 20_000, seed=1).x)
    covariance = backend.to_numpy(mixture.components.covariances)[0]
    np.testing.assert_allclose(np.cov(x.T), covariance, atol=0.06 * covariance.max())
    t = {"means": [[5.0]], "precision_cholesky": [[[0.5]]], "degrees": [3.0]}
    t = {name: np.array(value) for name, value in t.items()}
    mixture = ex.Mixture(backend.asarray([1.0]), STUDENT_T.components(backend, t))
    x = backend.to_numpy(ex.sample(mixture, 5000, seed=1).x)[:, 0]
    assert stats.kstest(x, stats.t(3.0, 5.0, 2.0).cdf).pvalue > 1e-3


@latent
def test_a_file_holds_every_bit(record, tmp_path):
    case = problem(record, dtype="float32")
    arrays = {name: a.astype("float32") for name, a in case.params.items()}
    ex.save(
        tmp_path / "m.json", ex.Mixture(case.weights.astype("float32"), record.family(**arrays))
    )
    again = ex.load(tmp_path / "m.json").components
    for one, other in zip(again, arrays.values(), strict=True):
        assert one.dtype == np.float32
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("components", "message"),
    [
        (ex.StudentT([[0.0]], [[[1.0]]], [0.0]), r"degrees\[0\] is 0\.0; degrees must be positive"),
        (ex.StudentT([[0.0]], [[[1.0]]], [1.0, 2.0]), r"degrees has shape \(2,\)"),
        (ex.StudentT([[0.0]], [[[-1.0]]], [1.0]), "precision_cholesky"),
        (ex.FactorAnalyzer([[0.0]], [[[1.0]]], [[-1.0]]), r"noise_variances\[0, 0\] is -1\.0"),
        (ex.FactorAnalyzer([[0.0]], [[1.0]], [[1.0]]), r"loadings has shape \(1, 1\)"),
        (ex.FactorAnalyzer([[0.0]], [[[np.nan]]], [[1.0]]), r"loadings\[0, 0, 0\] is nan"),
    ],
)
def test_bad_parameters(components, message):
    with pytest.raises(ValueError, match=message):
        components.log_prob([[1.0]])


@latent
@pytest.mark.parametrize("options", [{"missing": True}, {"noise": np.ones((5, 2))}])
def test_holes_and_errors_of_rows_are_refused(record, options):
    case = problem(record)
    mixture = ex.Mixture(case.weights, record.family(**case.params))
    with pytest.raises(TypeError, match=f"not {record.family.__name__}"):
        ex.log_density(case.x, mixture, **options)


@latent
@pytest.mark.backends("jax")
def test_parameters_without_bounds(backend, record):
    import estep_xp.jax

    mixture = problem(record).mixture(backend)
    again = estep_xp.jax.constrain(estep_xp.jax.unconstrain(mixture)).components
    for one, other in zip(again, mixture.components, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
