"""Criteria from their formulas, by an independent computation of their terms."""

import numpy as np
import pytest

import estep_xp as ex
from tests.tool_mixtures import D, K, every_mixture, on_backend

MIXTURES = every_mixture()
PARAMETERS = {  # k - 1 weights beside those of the components
    "SphericalGaussian": K - 1 + K * D + K,
    "DiagonalGaussian": K - 1 + 2 * K * D,
    "TiedGaussian": K - 1 + K * D + D * (D + 1) // 2,
    "FullGaussian": K - 1 + K * D + K * D * (D + 1) // 2,
    "UnivariateGaussian 1": K - 1 + 2 * K,
    "Poisson 2": K - 1 + K * D,
    "Poisson 1": K - 1 + K,
    "Bernoulli 2": K - 1 + K * D,
    "Categorical 2": K - 1 + K * (D - 1),
    "Exponential 2": K - 1 + K * D,
    "Gamma 2": K - 1 + 2 * K * D,
    "VonMises 1": K - 1 + 2 * K,
}


@pytest.mark.parametrize("name", MIXTURES)
def test_numbers_of_parameters(name):
    assert ex.n_parameters(MIXTURES[name]) == PARAMETERS[name]


def _entropy(r):
    return -sum(p * np.log(p) for p in r.ravel() if p > 0)


@pytest.mark.parametrize(("name", "weighted"), [("FullGaussian", True), ("Poisson 2", False)])
def test_values(name, weighted, backend):
    x = np.asarray(ex.sample(MIXTURES[name], 40, seed=2).x)
    weight = np.arange(40) % 3 if weighted else np.ones(40)
    step = ex.e_step(x, MIXTURES[name])
    total = np.sum(weight * step.log_likelihood)
    entropy = sum(w * _entropy(r) for w, r in zip(weight, step.responsibilities, strict=True))
    p = PARAMETERS[name]
    expected = {
        ex.aic: 2 * p - 2 * total,
        ex.bic: p * np.log(weight.sum()) - 2 * total,
        ex.icl: p * np.log(weight.sum()) - 2 * total + 2 * entropy,
    }
    mixture = on_backend(backend, MIXTURES[name])
    named = {"sample_weight": backend.data(weight, "float64")} if weighted else {}
    for function, value in expected.items():
        found = backend.call(function, backend.data(x, "float64"), mixture, **named)
        np.testing.assert_allclose(backend.to_numpy(found), value, rtol=1e-12)


def test_rows_of_weight_zero_may_hold_anything():
    mixture = MIXTURES["FullGaussian"]
    x = ex.sample(mixture, 20, seed=2).x
    weight = np.ones(20)
    weight[3] = 0.0
    for function in (ex.aic, ex.bic, ex.icl):
        expected = function(x[weight > 0], mixture)
        spoiled = np.where(weight[:, None] > 0, x, np.nan)
        np.testing.assert_allclose(
            function(spoiled, mixture, sample_weight=weight), expected, rtol=1e-13
        )


def test_a_result_has_the_same_criteria():
    x = ex.sample(MIXTURES["DiagonalGaussian"], 200, seed=2).x
    result = ex.fit(x, MIXTURES["DiagonalGaussian"])
    for name in ("aic", "bic", "icl"):
        assert getattr(result, name)(x) == getattr(ex, name)(x, result.mixture)


@pytest.mark.parametrize("function", [ex.aic, ex.bic, ex.icl])
def test_swapped_arguments(function):
    with pytest.raises(TypeError, match=r"model is .*; did you swap x and model\?"):
        function(MIXTURES["UnivariateGaussian 1"], [0.0, 1.0])


def test_a_result_in_place_of_a_mixture():
    with pytest.raises(TypeError, match=r"model is an EMResult; .* did you mean \.mixture"):
        ex.n_parameters(ex.fit([0.0, 1.0, 2.0], MIXTURES["UnivariateGaussian 1"], max_iter=0))


def test_the_warning_points_at_the_caller():
    mixture, x = MIXTURES["UnivariateGaussian 1"], [0.0, 1e200]
    result = ex.fit([0.0, 1.0, 2.0], mixture, max_iter=0)
    calls = [lambda f=f: f(x, mixture) for f in (ex.aic, ex.bic, ex.icl, ex.log_likelihood)]
    for call in [*calls, lambda: result.bic(x), lambda: ex.log_density(x, mixture)]:
        with pytest.warns(RuntimeWarning, match="zero density") as caught:
            call()
        assert [one.filename for one in caught] == [__file__]
