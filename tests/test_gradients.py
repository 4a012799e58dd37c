"""Derivatives in JAX and PyTorch against closed forms, also where they are easily lost.

An objective is sum_i s_i log p(x_i) + sum_ik A_ik r_ik: with A = 0 the log-likelihood, with s = 0
the responsibilities. The closed forms and the bound of their errors stand in ``fisher.py``.
"""

from __future__ import annotations

import numpy as np
import pytest

import estep_xp as ex
from tests import fisher
from tests.derivatives import (
    MATRIX,
    SAMPLE_WEIGHT,
    D,
    K,
    N,
    derivatives,
    differentiate,
    jax_only,
    total_of,
    weighted_responsibilities_of,
)
from tests.fisher import assert_gradient
from tests.records import (
    FULL,
    TIED,
    UNIVARIATE,
    Problem,
    few_on_jax,
    gaussians_only,
    normalised,
    parametrize,
    problem,
    random_weights,
    rounded,
    with_slopes,
)

# First derivatives


@derivatives
@pytest.mark.one_program("record", "dtype")  # see conftest.py
@with_slopes
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradient_of_the_total(backend, record, dtype):
    """By x, weights and every field; by the sample weights it is the rows' log-likelihoods."""
    case = problem(record, dtype=dtype)
    arrays = [*case.arrays(backend, dtype), backend.asarray(SAMPLE_WEIGHT, dtype)]
    *actual, by_sample_weight = differentiate(backend, total_of(record.family), arrays)
    assert_gradient(actual, case, dtype, sample_weight=SAMPLE_WEIGHT)
    rows = normalised(record.log_joint(case.x, case.weights, case.params))[1]
    scale = 1 + record.magnitude(case.x, case.weights, case.params).max()
    np.testing.assert_allclose(
        by_sample_weight, rows, rtol=0, atol=16 * np.finfo(dtype).eps * scale
    )


@few_on_jax
@derivatives
@with_slopes
def test_gradient_of_responsibilities(backend, record):
    case = problem(record)
    function = weighted_responsibilities_of(record.family)
    actual = differentiate(backend, function, case.arrays(backend), backend.asarray(MATRIX))
    assert_gradient(actual, case, matrix=MATRIX)


@pytest.mark.backends("jax_jit")
def test_gradient_with_many_components(backend):
    """More than anybody would write out one by one."""
    case = problem(FULL, k=100)
    arrays = [*case.arrays(backend), backend.asarray(SAMPLE_WEIGHT)]
    *actual, by_sample_weight = differentiate(backend, total_of(case.record.family), arrays)
    assert_gradient(actual, case, sample_weight=SAMPLE_WEIGHT)
    rows = normalised(case.record.log_joint(case.x, case.weights, case.params))[1]
    np.testing.assert_allclose(by_sample_weight, rows, rtol=1e-13)


@jax_only
def test_gradient_without_jit(backend):
    """jax.grad alone traces too, and gives the same."""
    case = problem(FULL)
    arrays = [*case.arrays(backend), backend.asarray(SAMPLE_WEIGHT)]
    *actual, _ = differentiate(backend, total_of(case.record.family), arrays)
    assert_gradient(actual, case, sample_weight=SAMPLE_WEIGHT)


@few_on_jax
@jax_only
@with_slopes
def test_posterior_and_log_joint_gradients(backend, record):
    """The chain log_joint -> posterior differentiates as the E-step does."""
    import jax

    case = problem(record)
    ones = np.ones(K)

    def total(x, mixture):
        step = ex.posterior(ex.log_joint(x, mixture), ones)
        return (step.responsibilities * MATRIX).sum() + step.total_log_likelihood

    by_x, by_mixture = jax.jit(jax.grad(total, argnums=(0, 1)))(
        backend.asarray(case.x), case.mixture(backend)
    )
    actual = [backend.to_numpy(g) for g in (by_x, by_mixture.weights, *by_mixture.components)]
    assert_gradient(actual, case, sample_weight=1.0, matrix=MATRIX)


@derivatives
@parametrize(TIED, FULL)
def test_gradient_by_covariances(backend, record):
    """dL/dS = sum_i r_ik (L z z' L - L) / 2 with L = inv(S), through the factorisation."""
    case = problem(record)
    covariances = record.covariances(case.params)
    function = total_from_covariances if record is FULL else total_from_covariance
    arrays = [*case.arrays(backend)[:3], backend.asarray(covariances)]
    by_covariances = differentiate(backend, function, arrays)[3]

    each = covariances + np.zeros((K, 1, 1))
    precisions = np.linalg.inv(each)
    z = np.einsum("kde,nke->nkd", precisions, case.x[:, None, :] - case.params["means"])
    shares = normalised(record.log_joint(case.x, case.weights, case.params))[0]
    expected = 0.5 * np.einsum("nk,nkd,nke->kde", shares, z, z)
    expected -= 0.5 * shares.sum(axis=0)[:, None, None] * precisions
    expected = expected.sum(axis=0) if record is TIED else expected
    # Which triangle is read is the library's choice: symmetric perturbations tell no difference.
    symmetric = 0.5 * (by_covariances + np.swapaxes(by_covariances, -1, -2))
    np.testing.assert_allclose(symmetric, expected, rtol=1e-12, atol=1e-12)


def total_from_covariance(x, weights, means, covariance):
    components = ex.TiedGaussian.from_covariance(means, covariance)
    return ex.log_likelihood(x, ex.Mixture(weights, components))


def total_from_covariances(x, weights, means, covariances):
    components = ex.FullGaussian.from_covariances(means, covariances)
    return ex.log_likelihood(x, ex.Mixture(weights, components))


# Second derivatives


@few_on_jax
@jax_only
@with_slopes
def test_hessian_of_the_total(backend, record):
    """By mixture and data together, against complex steps through the closed-form gradient."""
    import jax
    from jax.flatten_util import ravel_pytree

    case = problem(record, n=3, k=2)
    sample_weight = SAMPLE_WEIGHT[:3]
    data = [] if record.is_discrete else [backend.asarray(case.x)]
    flat, rebuild = ravel_pytree((data, case.mixture(backend)))

    def total(flat):
        data, mixture = rebuild(flat)
        (x,) = data or [backend.asarray(case.x)]
        return ex.log_likelihood(x, mixture, sample_weight=backend.asarray(sample_weight))

    actual = backend.to_numpy(jax.jit(jax.hessian(total))(flat))

    arrays = {"weights": case.weights} | case.params
    arrays = arrays if record.is_discrete else {"x": case.x} | arrays
    ends = np.cumsum([a.size for a in arrays.values()])

    def gradient(point):
        pieces = zip(arrays.items(), np.split(point, ends[:-1]), strict=True)
        given = {name: piece.reshape(a.shape) for (name, a), piece in pieces}
        x, weights = given.pop("x", case.x), given.pop("weights")
        at_point = case._replace(x=x, weights=weights, params=given)
        value = fisher.gradient(at_point, sample_weight).value
        return np.concatenate([np.ravel(g) for g in value.values()])

    point, step = np.asarray(flat), 1e-200
    rows = [gradient(point + 1j * step * e).imag / step for e in np.eye(len(point))]
    # Below the diagonal of a factor nothing is read, so its columns are zero as well as its rows.
    expected = np.stack(rows)
    reads = np.any(expected != 0, axis=0)
    np.testing.assert_allclose(
        actual, expected * reads[:, None], rtol=0, atol=1e-12 * np.abs(expected).max()
    )


# Where derivatives are easily lost


@few_on_jax
@derivatives
@with_slopes
def test_zero_weights_have_one_sided_derivatives(backend, record):
    """The total's derivative by w_k is (sum_i p_ik / p_i - n) / sum(w), also where w_k = 0."""
    case = problem(record)._replace(weights=np.array([0.0, 1.5, 0.5]))
    arrays = case.arrays(backend)
    ones = backend.asarray(np.ones(N))
    actual = differentiate(backend, total_of(record.family), arrays, ones)
    assert_gradient(actual, case, sample_weight=1.0)
    densities = np.exp(record.log_density(case.x, case.params))
    mixture_density = densities @ case.weights / case.weights.sum()
    by_weight = (densities[:, 0] / mixture_density).sum() - N
    np.testing.assert_allclose(actual[1][0], by_weight / case.weights.sum(), rtol=1e-12)

    function = weighted_responsibilities_of(record.family)
    actual = differentiate(backend, function, case.arrays(backend), backend.asarray(MATRIX))
    assert_gradient(actual, case, matrix=MATRIX)


@jax_only
def test_hessian_at_a_zero_weight(backend):
    """By w_j and w_k it is -sum_i p_ij p_ik / (sum_l w_l p_il)^2 + n / sum(w)^2."""
    import jax

    case = problem(UNIVARIATE)._replace(weights=np.array([0.0, 1.5, 0.5]))
    x, mixture = backend.asarray(case.x), case.mixture(backend)
    hessian = jax.jit(
        jax.hessian(lambda w: ex.log_likelihood(x, ex.Mixture(w, mixture.components)))
    )(mixture.weights)
    ratios = np.exp(case.record.log_density(case.x, case.params))
    ratios /= (ratios @ case.weights)[:, None]
    expected = N / case.weights.sum() ** 2 - ratios.T @ ratios
    np.testing.assert_allclose(hessian, expected, rtol=1e-12)


def posterior_objective(log_prob, weights, sample_weight, matrix):
    step = ex.posterior(log_prob, weights)
    return (step.log_likelihood * sample_weight).sum() + (step.responsibilities * matrix).sum()


@derivatives
@pytest.mark.parametrize("weights", [[0.5, 1.0, 2.0], [0.5, 0.0, 2.0]], ids=["", "zero weight"])
def test_minus_infinity_in_log_prob(backend, weights):
    """Impossible components take no share and no gradient, and spoil nobody else's."""
    log_prob = np.random.default_rng(4).standard_normal((N, K))
    log_prob[[0, 1, 1, 2], [0, 1, 2, 1]] = -np.inf
    weights = np.array(weights)
    share = fisher.shares(log_prob, weights)
    pull = fisher.pull_of(share, SAMPLE_WEIGHT, MATRIX)
    joint = share.responsibilities * pull
    by_weights = (share.ratios * pull).sum(axis=0) - joint.sum() / weights.sum()

    arrays = [backend.asarray(log_prob), backend.asarray(weights)]
    constants = [backend.asarray(SAMPLE_WEIGHT), backend.asarray(MATRIX)]
    actual = differentiate(backend, posterior_objective, arrays, *constants)
    np.testing.assert_allclose(actual[0], joint, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(actual[1], by_weights, rtol=1e-13, atol=1e-14)


def total_entropy(log_prob):
    return ex.posterior(log_prob, [1.0, 1.0, 1.0]).entropy.sum()


@derivatives
def test_entropy_gradient_of_certain_rows(backend):
    """-r (log r + H), whose limit is 0 where r is 0 or 1."""
    log_prob = np.array([[0.0, -1e4, -np.inf], [0.5, 0.0, -1.0], [2.0, 2.0, -np.inf]])
    responsibilities, _ = normalised(log_prob)
    logs = np.log(np.where(responsibilities > 0, responsibilities, 1.0))
    entropy = -(responsibilities * logs).sum(axis=1, keepdims=True)
    (actual,) = differentiate(backend, total_entropy, [backend.asarray(log_prob)])
    np.testing.assert_allclose(actual, -responsibilities * (logs + entropy), rtol=1e-14, atol=1e-15)


@derivatives
def test_ties(backend):
    """Identical components share alike; the maximum inside the log-sum-exp picks no favourite."""
    record = UNIVARIATE
    params = {"means": np.array([1.0, 1.0, 1.0]), "variances": np.array([2.0, 2.0, 2.0])}
    x = np.array([1.0, 1.0, 3.0, -2.0, 0.0])
    case = Problem(record, x, np.array([0.5, 0.5, 0.5]), params)
    ones = backend.asarray(np.ones(N))
    actual = differentiate(backend, total_of(record.family), case.arrays(backend), ones)
    assert_gradient(actual, case, sample_weight=1.0)
    function = weighted_responsibilities_of(record.family)
    actual = differentiate(backend, function, case.arrays(backend), backend.asarray(MATRIX))
    assert_gradient(actual, case, matrix=MATRIX)


@pytest.mark.one_program("record", "dtype")  # see conftest.py
@few_on_jax
@derivatives
@gaussians_only
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_a_thousand_sigma_away(backend, record, dtype):
    """Where densities are exp(-500000): nothing underflows that should not."""
    case = problem(record, dtype=dtype)
    x = case.x.copy()
    x[1], x[3] = 1000.0, -1000.0
    case = case._replace(x=x)
    ones = backend.asarray(np.ones(N), dtype)
    actual = differentiate(backend, total_of(record.family), case.arrays(backend, dtype), ones)
    assert all(np.all(np.isfinite(g)) for g in actual)
    # The far rows belong to one component beyond doubt, so T blurs no responsibility here; their
    # contributions are exact to a few eps, and the near rows to theirs.
    near = case._replace(x=np.delete(x, (1, 3), axis=0))
    scale = 1 + record.magnitude(near.x, near.weights, near.params).max()
    expected = fisher.gradient(case, sample_weight=1.0)
    bound = 32 * np.finfo(dtype).eps * scale
    for name, result in zip(expected.value, actual, strict=True):
        error = np.abs(result - expected.value[name])
        assert np.all(error <= bound * expected.magnitude[name]), name


@few_on_jax
@derivatives
@gaussians_only
def test_float32_variance_of_1e_30(backend, record):
    """Derivatives by the variance are 1e30, by a factor 1e-15: finite, and right."""
    params = {name: np.array(a) for name, a in record.random(1, K, D).items()}
    params["means"] *= 1e-15
    if "variances" in params:
        params["variances"] *= 1e-30
    else:
        params["precision_cholesky"] *= 1e15
    x = 1e-15 * record.data(1, N, D)
    arrays = (x, random_weights(1, K))
    x, weights = (a.astype("float32").astype(float) for a in arrays)
    case = Problem(record, x, weights, rounded(params, "float32"))
    ones = backend.asarray(np.ones(N), "float32")
    actual = differentiate(backend, total_of(record.family), case.arrays(backend, "float32"), ones)
    assert_gradient(actual, case, "float32", sample_weight=1.0)


@pytest.mark.backends("torch")
@gaussians_only
def test_functional_transformations_of_torch(backend, record):
    """torch.func, with tensors from outside, which can't be looked at in there, either."""
    import torch

    case = problem(record)
    x, mixture = backend.asarray(case.x), case.mixture(backend)
    expected = fisher.gradient(case, np.ones(N)).value["x"]

    def total(x):
        return ex.e_step(x, mixture).total_log_likelihood

    np.testing.assert_allclose(torch.func.grad(total)(x), expected, rtol=1e-12)
    batch = torch.func.vmap(torch.func.grad(total))(torch.stack([x, x]))
    np.testing.assert_allclose(batch, [expected, expected], rtol=1e-12)
    summed = torch.func.grad(lambda x: ex.expected_statistics(x, mixture).log_likelihood)(x)
    np.testing.assert_allclose(summed, expected, rtol=1e-12)
