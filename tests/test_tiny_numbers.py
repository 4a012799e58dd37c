"""Numbers that a library takes for zero although they are not, and numbers nearly as small.

XLA, and any library in a thread whose processor was told so, flushes subnormal numbers to zero. A
parameter that would be flushed is refused where values are concrete, and is NaN elsewhere.
"""

from __future__ import annotations

import functools
import re
import warnings

import mpmath
import numpy as np
import pytest

import estep_xp as ex
from tests.backends import BACKENDS
from tests.oracle import exact, log_sum_exp

TINY = {"float64": 5e-309, "float32": 1e-39}
X = [[0.0, 0.5], [3.0, 1.0], [2.5, -1.0]]
MEANS = [[0.0, 0.0], [3.0, 0.0]]
FACTORS = [[[1.0, 0.5], [0.0, 1.0]], [[2.0, 0.25], [0.0, 1.0]]]
VARIANCES = [[1.0, 2.0], [0.5, 1.0]]

jax_only = pytest.mark.backends("jax")
dtypes = pytest.mark.parametrize("dtype", list(TINY))

# Argument, family, its second field, and where in the argument the small number is put.
PARAMETERS = [
    ("weights", ex.DiagonalGaussian, VARIANCES, (0,)),
    ("weights", ex.FullGaussian, FACTORS, (1,)),
    ("variances", ex.UnivariateGaussian, [1.0, 2.0], (1,)),
    ("variances", ex.SphericalGaussian, [1.0, 2.0], (0,)),
    ("variances", ex.DiagonalGaussian, VARIANCES, (1, 0)),
    ("precision_cholesky", ex.TiedGaussian, FACTORS[0], (1, 1)),
    ("precision_cholesky", ex.TiedGaussian, FACTORS[0], (0, 1)),
    ("precision_cholesky", ex.FullGaussian, FACTORS, (1, 0, 0)),
    ("precision_cholesky", ex.FullGaussian, FACTORS, (0, 0, 1)),
]
parameters = pytest.mark.parametrize(
    ("argument", "family", "second", "index"),
    PARAMETERS,
    ids=[f"{argument}{list(index)}-{f.__name__}" for argument, f, _, index in PARAMETERS],
)
signs = pytest.mark.parametrize("sign", [1, -1])


def arrays_with(value, argument, family, second, index):
    """Rows, weights, means and the second field, with a small number in one of them."""
    univariate = family is ex.UnivariateGaussian
    x, means = (np.asarray(a)[:, 0] if univariate else np.asarray(a) for a in (X, MEANS))
    arrays = [x, np.ones(2), means, np.array(second)]
    arrays[1 if argument == "weights" else 3][index] = value
    return arrays


def mixture_of(weights, family, means, second):
    return ex.Mixture(weights, family(means, second))


# Refused by name where values are concrete


@jax_only
@dtypes
@parameters
def test_refused_by_name(backend, dtype, argument, family, second, index):
    arrays = arrays_with(TINY[dtype], argument, family, second, index)
    x, weights, means, field = (backend.asarray(a, dtype) for a in arrays)
    mixture = mixture_of(weights, family, means, field)
    where = re.escape(f"{argument}[{', '.join(map(str, index))}] is {TINY[dtype]}")
    for function in (ex.e_step, ex.log_joint, ex.log_likelihood, ex.expected_statistics, ex.fit):
        with pytest.raises(ValueError, match=where + ".*jax takes less for 0.*scale"):
            function(x, mixture)
    if argument != "weights":
        for use in (lambda: mixture.components.log_prob(x), lambda: mixture.components.covariances):
            with pytest.raises(ValueError, match=where):
                use()


@jax_only
@dtypes
def test_refused_of_lists_beside_jax(backend, dtype):
    """A list becomes an array of the dtype beside it before anybody looks; nothing may get lost."""
    x, means, ones = (backend.asarray(a, dtype) for a in ([0.0, 9.0], [0.0, 9.0], [1.0, 1.0]))
    tiny = TINY[dtype]
    components = ex.UnivariateGaussian(means, ones)
    with pytest.raises(ValueError, match=rf"weights\[0\] is {tiny}"):
        ex.e_step(x, ex.Mixture([tiny, 1.0], components))
    with pytest.raises(ValueError, match=rf"sample_weight\[1\] is {tiny}"):
        ex.log_likelihood(x, ex.Mixture(ones, components), sample_weight=[1.0, tiny])
    with pytest.raises(ValueError, match=rf"variances\[1\] is {tiny}"):
        ex.e_step(x, ex.Mixture(ones, ex.UnivariateGaussian(means, [1.0, tiny])))


@jax_only
@dtypes
def test_refused_in_posterior(backend, dtype):
    log_prob = backend.asarray([[0.0, -90.0], [-2.0, -1.0]], dtype)
    with pytest.raises(ValueError, match=r"weights\[0\] is .*jax takes less for 0"):
        ex.posterior(log_prob, backend.asarray([TINY[dtype], 1.0], dtype))


@jax_only
@dtypes
def test_refused_in_sample_weight(backend, dtype):
    x, sample_weight = (backend.asarray(a, dtype) for a in ([0.0, 9.0, 1.0], [1, 1, TINY[dtype]]))
    means, ones = (backend.asarray(a, dtype) for a in ([0.0, 9.0], [1.0, 1.0]))
    mixture = ex.Mixture(ones, ex.UnivariateGaussian(means, ones))
    for call in (
        lambda: ex.log_likelihood(x, mixture, sample_weight=sample_weight),
        lambda: ex.expected_statistics(x, mixture, sample_weight=sample_weight),
        lambda: ex.fit(x, mixture, sample_weight=sample_weight),
        lambda: ex.initialize(x, 2, ex.UnivariateGaussian, seed=0, sample_weight=sample_weight),
    ):
        with pytest.raises(ValueError, match=r"sample_weight\[2\] is .*jax takes less for 0"):
            call()


@jax_only
@dtypes
@signs
def test_refused_in_covariances(backend, dtype, sign):
    """Diagonal or not, and not blamed on definiteness."""
    tiny, means = TINY[dtype], backend.asarray(np.zeros((2, 2)), dtype)
    dependent = np.array([np.eye(2), [[1.0, sign * tiny], [sign * tiny, 1.0]]])
    narrow = np.array([np.eye(2), [[1.0, 0.0], [0.0, tiny]]])
    for covariances, where in ((dependent, "0, 1"), (narrow, "1, 1")):
        with pytest.raises(ValueError, match=rf"covariances\[1, {where}\] is .*takes less for 0"):
            ex.FullGaussian.from_covariances(means, backend.asarray(covariances, dtype))
        with pytest.raises(ValueError, match=rf"covariance\[{where}\] is .*takes less for 0"):
            ex.TiedGaussian.from_covariance(means, backend.asarray(covariances[1], dtype))


@jax_only
@dtypes
def test_refused_in_statistics(backend, dtype):
    """Sums of rows with tiny weights, taken by a library that has subnormal numbers."""
    ones, x = np.ones(2), np.array([0.0, 1.0, 4.0])
    mixture = ex.Mixture(ones, ex.UnivariateGaussian(np.array([0.0, 3.0]), ones))
    plain = ex.expected_statistics(x, mixture, sample_weight=np.full(3, TINY[dtype]))
    import jax

    statistics = jax.tree.map(lambda a: backend.asarray(a, dtype), plain)
    with pytest.raises(ValueError, match=r"statistics\.moments\.first\[0\] is .*takes less for 0"):
        ex.m_step(statistics)


@jax_only
@dtypes
def test_factors_whose_residuals_would_be_lost(backend, dtype):
    """Differences that are flushed times 1e300 are no small matter."""
    limits = np.finfo(dtype)
    large = float(limits.eps) / float(limits.smallest_normal)
    x = np.array([[2.5 * float(limits.smallest_normal)]])
    means = np.array([[2.0 * float(limits.smallest_normal)]])

    def total(factor):
        arrays = (backend.asarray(a, dtype) for a in (x, [1.0], means, [[factor]]))
        x_, weights, means_, factors = arrays
        return ex.log_likelihood(x_, mixture_of(weights, ex.TiedGaussian, means_, factors))

    good = float(total(0.5 * large))
    np.testing.assert_allclose(good, np.log(0.5 * large) - 0.5 * np.log(2 * np.pi), rtol=1e-6)
    with pytest.raises(ValueError, match=r"precision_cholesky\[0, 0\] is .* must be at most"):
        total(4.0 * large)


# NaN where values are not there yet


@functools.cache  # one program a family and dtype, wherever the small number is
def compiled_results(family):
    import jax

    def results(x, weights, means, field):
        mixture = mixture_of(weights, family, means, field)
        return (
            ex.e_step(x, mixture),
            ex.log_joint(x, mixture),
            ex.expected_statistics(x, mixture).log_likelihood,
            jax.value_and_grad(ex.log_likelihood, argnums=1)(x, mixture),
        )

    return jax.jit(results)


@jax_only
@dtypes
@parameters
def test_nan_under_jit(backend, dtype, argument, family, second, index):
    """Never a number that looks like a result."""
    import jax

    negative = argument == "precision_cholesky" and index[-1] != index[-2]
    arrays = arrays_with(TINY[dtype] * (-1) ** negative, argument, family, second, index)
    results = compiled_results(family)(*(backend.asarray(a, dtype) for a in arrays))
    step, joint, statistics_total, (total, slopes) = results
    joint = joint[:, 0 if family is ex.TiedGaussian else index[0]]
    for array in jax.tree.leaves([step, joint, statistics_total, total, slopes.weights]):
        assert np.isnan(array).all()
    by_argument = slopes.weights if argument == "weights" else slopes.components[1]
    assert np.isnan(by_argument[index])


@jax_only
@dtypes
def test_nan_under_jit_in_posterior_and_sample_weight(backend, dtype):
    import jax

    weights = backend.asarray([TINY[dtype], 1.0], dtype)
    log_prob = backend.asarray([[0.0, -90.0], [-2.0, -1.0]], dtype)
    assert np.isnan(jax.jit(ex.posterior)(log_prob, weights).log_likelihood).all()
    by_weights = jax.grad(lambda w: ex.posterior(log_prob, w).log_likelihood.sum())(weights)
    assert np.isnan(by_weights).any()
    x, means, ones = (backend.asarray(a, dtype) for a in ([0.0, 9.0], [0.0, 9.0], [1.0, 1.0]))
    mixture = ex.Mixture(ones, ex.UnivariateGaussian(means, ones))
    assert np.isnan(jax.jit(ex.log_likelihood)(x, mixture, sample_weight=weights))
    assert np.isnan(jax.jit(ex.fit)(x, mixture, sample_weight=weights).log_likelihood)


@jax_only
@dtypes
def test_nan_under_jit_from_covariances(backend, dtype):
    import jax

    covariances = backend.asarray([[[1.0, TINY[dtype]], [TINY[dtype], 1.0]]], dtype)
    means = backend.asarray(np.zeros((1, 2)), dtype)
    made = jax.jit(ex.FullGaussian.from_covariances)(means, covariances)
    assert np.isnan(made.precision_cholesky).any()


# Right where nothing is flushed


@pytest.mark.parametrize("name", ["numpy", "numpy_features", "array_api_strict", "torch", "dask"])
@dtypes
@pytest.mark.parametrize("share", [1.0, 0.3, 1e-3])
def test_zero_beside_a_subnormal_weight(name, dtype, share):
    """Weights count by their ratios: (0, tiny) is (0, 1)."""
    backend = BACKENDS[name]
    backend.require()
    tiny = share * TINY[dtype]
    x = backend.data([0.5, 1.0, -3.0], dtype)
    components = ex.UnivariateGaussian(
        backend.asarray([0.0, 1.0], dtype), backend.asarray([1.0, 2.0], dtype)
    )

    def results(weights):
        step = backend.call(ex.e_step, x, ex.Mixture(backend.asarray(weights, dtype), components))
        return [backend.to_numpy(a) for a in step]

    for actual, expected in zip(results([0.0, tiny]), results([0.0, 1.0]), strict=True):
        np.testing.assert_array_equal(actual, expected)


@dtypes
def test_gradient_of_zero_beside_a_subnormal_weight(dtype):
    """By the weight of zero it overflows; nothing else is touched."""
    torch = pytest.importorskip("torch")
    weights, means = (
        torch.tensor(a, dtype=getattr(torch, dtype), requires_grad=True)
        for a in ([0.0, TINY[dtype]], [0.0, 1.0])
    )
    ones = torch.ones(2, dtype=weights.dtype)
    x = torch.tensor([0.5, 3.0], dtype=weights.dtype)
    ex.log_likelihood(x, ex.Mixture(weights, ex.UnivariateGaussian(means, ones))).backward()
    np.testing.assert_allclose(means.grad, [0.0, 1.5], rtol=1e-6)


@pytest.mark.backends("numpy", "array_api_strict", "jax", "jax_jit", "torch")
@pytest.mark.parametrize(
    ("dtype", "weights"),
    [
        ("float64", [1e-300, 1e300]),
        ("float64", [3e-308, 1.0, 0.0]),
        ("float64", [1e-300, 1e300, 1e-300]),
        ("float32", [1e-37, 1e37]),
        ("float32", [2e-38, 3e38, 0.0]),
    ],
)
def test_weights_whose_share_is_too_small_for_the_dtype(backend, dtype, weights):
    """Their logarithms are as exact as all others, and so is what follows from them."""
    weights = np.asarray(weights, dtype)
    log_prob = np.asarray([[0.0, -1400.0, -3.0][: len(weights)], [-5.0, 2.0, 1.0][: len(weights)]])
    log_prob = log_prob.astype(dtype)
    step = backend.call(ex.posterior, backend.data(log_prob), backend.asarray(weights))
    logs = [mpmath.log(w) if w else mpmath.mpf("-inf") for w in exact(weights)]
    total = mpmath.log(mpmath.fsum(exact(weights)))
    tolerance = 16 * float(np.finfo(dtype).eps)
    for i, row in enumerate(exact(log_prob)):
        joint = np.array([a + b - total for a, b in zip(row, logs, strict=True)])
        expected = log_sum_exp(joint)
        actual = backend.to_numpy(step.log_likelihood)[i]
        assert abs(actual - expected) <= tolerance * (1 + 1400)
        shares = [float(mpmath.exp(one - expected)) for one in joint]
        np.testing.assert_allclose(
            backend.to_numpy(step.responsibilities)[i],
            shares,
            rtol=tolerance * (1 + 1400),
            atol=float(np.finfo(dtype).smallest_normal),
        )


@jax_only
@pytest.mark.parametrize("compiled", [False, True])
def test_gradient_by_weights_of_extreme_ratio(backend, compiled):
    """It is r_k / w_k − 1 / Σ w; log-densities nearly even the ratio out."""
    import jax

    weights = np.array([1e-150, 1e150])
    log_prob = np.array([[0.0, -690.0]])

    def total(weights):
        return ex.posterior(backend.asarray(log_prob), weights).log_likelihood.sum()

    gradient = jax.grad(total)
    actual = (jax.jit(gradient) if compiled else gradient)(backend.asarray(weights))
    w, logs = exact(weights), exact(log_prob)[0]
    density = mpmath.fsum(a * mpmath.exp(b) for a, b in zip(w, logs, strict=True))
    expected = [float(mpmath.exp(b) / density - 1 / mpmath.fsum(w)) for b in logs]
    np.testing.assert_allclose(actual, expected, rtol=1e-11)


# A thread that flushes


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_a_thread_that_flushes(name):
    """PyTorch can have the processor do so, and then NumPy's subnormal numbers are zeros, too."""
    backend = BACKENDS[name]
    torch = pytest.importorskip("torch")
    x, weights = backend.asarray([0.0, 91.0]), backend.asarray([5e-309, 1.0])
    means, ones = backend.asarray([0.0, 90.0]), backend.asarray([1.0, 1.0])
    mixture = ex.Mixture(weights, ex.UnivariateGaussian(means, ones))
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor can't")
    message = "nothing was raised"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of NumPy, who sees it, too
            ex.e_step(x, mixture)
    except ValueError as error:
        message = str(error)
    finally:
        torch.set_flush_denormal(False)
    assert message.startswith("weights[0] is ")
    assert "takes less for 0" in message
    assert ex.e_step(x, mixture).labels.tolist() == [0, 1]
