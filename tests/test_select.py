"""select: one table of fits, best first, that names the true number of components."""

import warnings

import numpy as np
import pytest

import estep_xp as ex


def _blobs(seed, k, n=300, d=2):
    random = np.random.default_rng(seed)
    means = 8.0 * random.permutation(np.array([(i, j) for i in range(3) for j in range(3)]))[:k]
    labels = random.integers(k, size=n)
    return means[labels] + random.standard_normal((n, d))


def test_the_table_is_that_of_the_fits():
    x = _blobs(0, 3)
    selection = ex.select(x, [ex.FullGaussian, ex.DiagonalGaussian], range(1, 5), seed=3)
    assert len(selection.table) == 8
    for row in selection.table:
        assert row.bic == pytest.approx(float(row.result.bic(x)))
        assert row.aic == pytest.approx(float(row.result.aic(x)))
        assert row.icl == pytest.approx(float(row.result.icl(x)))
        assert row.n_parameters == ex.n_parameters(row.result.mixture)
        assert row.log_likelihood == row.result.log_likelihood
        assert (row.n_iter, row.converged) == (row.result.n_iter, row.result.converged)
        family = getattr(ex, row.family)
        start = ex.initialize(x, row.n_components, family, seed=3)
        np.testing.assert_array_equal(ex.fit(x, start).mixture.weights, row.result.mixture.weights)
    values = [row.bic for row in selection.table]
    assert values == sorted(values)
    assert selection.best is selection.table[0].result


@pytest.mark.parametrize("criterion", ["aic", "bic", "icl"])
def test_the_criterion_decides(criterion):
    selection = ex.select(_blobs(1, 2), ex.DiagonalGaussian, [1, 2, 3], criterion=criterion)
    values = [getattr(row, criterion) for row in selection.table]
    assert values == sorted(values)


def test_bic_names_the_right_number():
    found = [
        ex.select(_blobs(seed, k), ex.DiagonalGaussian, range(1, 7)).table[0].n_components == k
        for seed, k in enumerate([1, 2, 3, 4, 5] * 2)
    ]
    assert np.mean(found) >= 0.9


def test_starts_by_another_method():
    x = _blobs(2, 3)
    row = ex.select(x, ex.DiagonalGaussian, 3, method="random_rows", seed=5).table[0]
    start = ex.initialize(x, 3, ex.DiagonalGaussian, method="random_rows", seed=5)
    np.testing.assert_array_equal(ex.fit(x, start).mixture.weights, row.result.mixture.weights)
    # Of the starts that follow, too: their seeds come after the first one's.
    several = ex.select(x, ex.DiagonalGaussian, 3, method="random_rows", seed=5, n_init=4).best
    fits = [
        ex.fit(x, ex.initialize(x, 3, ex.DiagonalGaussian, method="random_rows", seed=seed))
        for seed in (5, 6, 7, 8)
    ]
    assert several.log_likelihood == max(one.log_likelihood for one in fits)
    with pytest.raises(ValueError, match="method is 'best'"):
        ex.select(x, ex.DiagonalGaussian, 3, method="best")


def test_text_and_record():
    selection = ex.select(_blobs(0, 2), ex.SphericalGaussian, [1, 2])
    lines = str(selection).splitlines()
    assert lines[0].split()[:3] == ["family", "n_components", "log_likelihood"]
    assert lines[1].split()[:2] == ["SphericalGaussian", "2"]
    assert len(lines) == 3
    assert repr(selection).startswith("Selection(n_fits=2, family='SphericalGaussian'")
    pandas = pytest.importorskip("pandas")
    assert list(pandas.DataFrame(selection.table)["n_components"]) == [2, 1]


def test_weights_and_a_template():
    x = np.array([0.0, 1.0, 0.0, 9.0, 11.0, 9.0, 8.0])
    selection = ex.select(x, ex.Poisson(np.array([1.0, 2.0])), 2, sample_weight=np.ones(7))
    assert selection.table[0].family == "Poisson"


def test_collapsed_fits_stand_last():
    x = np.concatenate([np.zeros(30), np.random.default_rng(0).normal(5.0, 1.0, 60)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        selection = ex.select(x, ex.UnivariateGaussian, [1, 2])
    assert [(row.n_components, row.collapsed) for row in selection.table] == [(1, False), (2, True)]


def test_a_fit_that_fails_is_left_out():
    x = _blobs(0, 2, n=4)
    with pytest.warns(
        RuntimeWarning, match="SphericalGaussian with 9 components is left out: x has"
    ):
        selection = ex.select(x, ex.SphericalGaussian, [1, 9])
    assert [row.n_components for row in selection.table] == [1]
    with pytest.raises(ValueError, match="expected at least n_components = 9"):
        ex.select(x, ex.SphericalGaussian, 9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"criterion": "cv"}, "criterion is 'cv'; criterion must be one of 'aic', 'bic', 'icl'"),
        ({"n_components": []}, "n_components is empty"),
        ({"n_components": [2, 0]}, r"n_components\[1\] is 0; n_components\[1\] must be at least 1"),
        ({"families": []}, "families is empty"),
        ({"criterion": ["bic"]}, r"criterion is \['bic'\]; criterion must be one of"),
    ],
)
def test_bad_input(arguments, message):
    given = {"families": ex.SphericalGaussian, "n_components": 2} | arguments
    families, n_components = given.pop("families"), given.pop("n_components")
    with pytest.raises(ValueError, match=message):
        ex.select(_blobs(0, 2), families, n_components, **given)


@pytest.mark.backends("jax", "torch")
def test_on_other_libraries(backend):
    x = _blobs(0, 2)
    found = ex.select(backend.data(x), ex.DiagonalGaussian, [1, 2])
    expected = ex.select(x, ex.DiagonalGaussian, [1, 2])
    assert [row.n_components for row in found.table] == [2, 1]
    assert found.table[0].bic == pytest.approx(expected.table[0].bic, rel=1e-6)


def test_sizes_that_can_be_read_only_once():
    families = [ex.SphericalGaussian, ex.DiagonalGaussian]
    selection = ex.select(_blobs(0, 2, n=20), families, (k for k in (1, 2)))
    assert len(selection.table) == 4


@pytest.mark.filterwarnings("error")
def test_where_all_fits_fail_there_is_the_error_alone():
    with pytest.raises(ValueError, match=r"x\[1, 0\] is nan; x must be finite"):
        ex.select([[0.0], [np.nan]], ex.SphericalGaussian, [1, 2])


def test_numbers_of_states():
    """Chains of one to four states of rows that three have made."""
    rng = np.random.default_rng(0)
    transitions = np.array([[0.0, 1.0, 0.0], [0.3, 0.0, 0.7], [0.0, 0.4, 0.6]])
    hmm = ex.HMM([1.0, 0.0, 0.0], transitions, ex.UnivariateGaussian([0.0, 6.0, 12.0], np.ones(3)))
    x, lengths = ex.sample(hmm, 600, seed=rng).x, [200, 400]
    selection = ex.select(x, ex.UnivariateGaussian, range(1, 5), lengths=lengths)
    assert selection.table[0].n_components == 3
    for row in selection.table:
        model = row.result.mixture
        assert isinstance(model, ex.HMM)
        assert row.bic == pytest.approx(float(ex.bic(x, model, lengths=lengths)))
        assert row.n_parameters == ex.n_parameters(model)
        start = ex.HMM.from_mixture(ex.initialize(x, row.n_components, ex.UnivariateGaussian))
        again = ex.fit(x, start, lengths=lengths).mixture
        np.testing.assert_array_equal(again.transitions, model.transitions)
    x[200:] = np.nan  # of weight 0
    weights = [1.0, 0.0]
    some = ex.select(x, ex.UnivariateGaussian, [2], lengths=lengths, sample_weight=weights)
    alone = ex.select(x[:200], ex.UnivariateGaussian, [2], lengths=[200])
    np.testing.assert_allclose(some.best.log_likelihood, alone.best.log_likelihood, rtol=1e-6)
    with pytest.raises(ValueError, match="criterion is 'icl', which is of mixtures"):
        ex.select(x, ex.UnivariateGaussian, [2], lengths=lengths, criterion="icl")
