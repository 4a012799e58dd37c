"""The oracle agrees with SciPy and closed forms, and rejects implementations that are not exact."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special, stats

from tests import oracle
from tests.oracle import FAMILIES, mp

WEIGHTS = np.array([0.2, 0.5, 0.6])


def benign(family, dtype=np.float64, *, n=5, k=3, d=2, offset=0.0, seed=0):
    """Return fields and rows of unit scale, in the family's own shapes."""
    rng = np.random.default_rng(seed)
    means = offset + rng.normal(0.0, 2.0, (k, d))
    x = offset + rng.normal(0.0, 3.0, (n, d))
    variances = rng.uniform(0.5, 2.0, (k, d))
    factors = np.triu(rng.uniform(-0.5, 0.5, (k, d, d)), 1) + np.eye(d) / variances[:, None, :]
    second = {
        "UnivariateGaussian": variances[:, 0],
        "SphericalGaussian": variances[:, 0],
        "DiagonalGaussian": variances,
        "TiedGaussian": factors[0],
        "FullGaussian": factors,
    }[family]
    if family == "UnivariateGaussian":
        means, x = means[:, 0], x[:, 0]
    return (means.astype(dtype), second.astype(dtype)), x.astype(dtype)


def covariance_matrices(family, fields):
    """Return means (k, d) and covariance matrices (k, d, d), by plain linear algebra."""
    means, second = (np.asarray(field, dtype=np.float64) for field in fields)
    means = means.reshape(len(means), -1)
    k, d = means.shape
    if family in ("TiedGaussian", "FullGaussian"):
        factors = np.broadcast_to(second, (k, d, d))
        return means, np.linalg.inv(factors @ np.swapaxes(factors, 1, 2))
    variances = np.broadcast_to(second.reshape(k, -1), (k, d))
    return means, variances[:, :, None] * np.eye(d)


def direct(family, fields, weights, x):
    """Compute the log-joint the good way in the dtype of the inputs, subtracting first."""
    means, second = fields
    d = 1 if family == "UnivariateGaussian" else means.shape[1]
    residual = x.reshape(len(x), 1, d) - means.reshape(-1, d)
    if family in ("TiedGaussian", "FullGaussian"):
        factors = np.broadcast_to(second, (len(means), d, d))
        z = np.einsum("nki,kij->nkj", residual, factors)
        log_det = np.log(np.einsum("kii->ki", factors)).sum(axis=1)
    else:
        variances = np.broadcast_to(second.reshape(len(means), -1), (len(means), d))
        z = residual / np.sqrt(variances)
        log_det = -np.log(variances).sum(axis=1) / 2
    log_prob = log_det - d / 2 * math.log(2 * math.pi) - (z**2).sum(axis=2) / 2
    return log_prob + np.log(weights) - np.log(weights.sum())


def expanded(fields, weights, x):
    """Compute a diagonal log-joint the cancelling way: x²/v - 2 x mu/v + mu²/v."""
    means, variances = fields
    square = (x**2) @ (1 / variances).T - 2 * x @ (means / variances).T
    square = square + (means**2 / variances).sum(axis=1)
    constant = means.shape[1] * math.log(2 * math.pi) + np.log(variances).sum(axis=1)
    return np.log(weights) - np.log(weights.sum()) - (constant + square) / 2


def normalise(log_joint):
    """Return responsibilities and log-likelihood the good way, the maximum taken out."""
    shifted = log_joint - log_joint.max(axis=1, keepdims=True)
    total = np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return np.exp(shifted - total), (total + log_joint.max(axis=1, keepdims=True))[:, 0]


@pytest.mark.parametrize("family", FAMILIES)
def test_agrees_with_scipy_on_benign_data(family):
    fields, x = benign(family)
    means, covariances = covariance_matrices(family, fields)
    log_joint = np.log(WEIGHTS / WEIGHTS.sum()) + np.stack(
        [
            stats.multivariate_normal(mean, covariance).logpdf(x.reshape(len(x), -1))
            for mean, covariance in zip(means, covariances, strict=True)
        ],
        axis=1,
    )
    result = oracle.mixture(family, fields, WEIGHTS, x)
    np.testing.assert_allclose(result.log_joint.astype(float), log_joint, rtol=1e-12)
    log_likelihood = special.logsumexp(log_joint, axis=1)
    np.testing.assert_allclose(result.log_likelihood.astype(float), log_likelihood, rtol=1e-12)
    np.testing.assert_allclose(float(result.total()), log_likelihood.sum(), rtol=1e-12)
    responsibilities = special.softmax(log_joint, axis=1)
    np.testing.assert_allclose(result.responsibilities.astype(float), responsibilities, rtol=1e-11)
    entropy = stats.entropy(responsibilities, axis=1)
    np.testing.assert_allclose(result.entropy.astype(float), entropy, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("family", FAMILIES)
def test_fast_scale_agrees_with_the_exact_one(family):
    fields, x = benign(family, d=3, offset=30.0)
    fields = (fields[0] + 1.0, fields[1] * 1e-3)
    fast = oracle.float64_scale(family, fields, WEIGHTS * 1e-8, x)
    result = oracle.mixture(family, fields, WEIGHTS * 1e-8, x)
    np.testing.assert_allclose(fast, result.scale.astype(float), rtol=1e-12)


def test_scale_is_the_largest_term():
    fields = (np.array([[0.0, 0.0]]), np.array([[4.0, 9.0]]))
    largest = [
        (np.array([[0.0, 0.0]]), [1.0], math.log(2 * math.pi)),
        (np.array([[20.0, 0.0]]), [1.0], 50.0),
        (np.array([[0.0, 0.0]]), [1e30], math.log(1e30)),
    ]
    for x, weights, expected in largest:
        scale = oracle.mixture("DiagonalGaussian", fields, weights, x).scale[0, 0]
        assert float(scale) == pytest.approx(expected, rel=1e-14)
    narrow = (fields[0], np.array([[1e-20, 1e20]]))
    scale = oracle.mixture("DiagonalGaussian", narrow, [1.0], np.zeros((1, 2))).scale[0, 0]
    assert float(scale) == pytest.approx(math.log(1e20), rel=1e-14)


def test_scale_counts_cancelling_terms():
    fields = (np.zeros((1, 2)), np.array([[1.0, -3.0], [0.0, 1.0]]))
    result = oracle.mixture("TiedGaussian", fields, [1.0], np.array([[2.0, 6.0]]))
    # (2, 6) P = (2, 0), but the second entry is the difference of 6 and 6.
    assert float(result.log_joint[0, 0]) == pytest.approx(-math.log(2 * math.pi) - 2.0, rel=1e-15)
    assert float(result.scale[0, 0]) == pytest.approx((2.0**2 + 12.0**2) / 2, rel=1e-15)


def test_closed_forms():
    narrow = (np.array([0.0]), np.array([1e-30]))
    result = oracle.mixture("UnivariateGaussian", narrow, [3.0], np.array([0.0]))
    variance = mp.mpf(1e-30)
    assert abs(result.log_likelihood[0] + mp.log(2 * mp.pi * variance) / 2) < mp.mpf(10) ** -45
    assert result.responsibilities[0, 0] == 1
    assert result.entropy[0] == 0

    # The log-odds of two equal components at -m and m are 2 m x.
    pair = (np.array([-20.0, 20.0]), np.array([1.0, 1.0]))
    result = oracle.mixture("UnivariateGaussian", pair, [1.0, 1.0], np.array([17.5, 0.0]))
    odds = result.responsibilities[0, 0] / result.responsibilities[0, 1]
    assert abs(mp.log(odds) + 700) < mp.mpf(10) ** -45
    assert abs(result.entropy[1] - mp.log(2)) < mp.mpf(10) ** -45

    result = oracle.posterior(np.array([[-np.inf, -1e5], [-np.inf, -np.inf]]), [0.5, 0.5])
    assert list(result.responsibilities[0]) == [0, 1]
    assert abs(result.log_likelihood[0] + 100000 + mp.log(2)) < mp.mpf(10) ** -44
    assert result.log_likelihood[1] == mp.ninf
    assert mp.isnan(result.responsibilities[1, 0])


def test_digits_are_enough():
    fields, x = benign("FullGaussian", offset=1e8)
    fields = (fields[0], fields[1] * 1e15)
    before = oracle.mixture("FullGaussian", fields, WEIGHTS, x)
    try:
        mp.dps = 100
        after = oracle.mixture("FullGaussian", fields, WEIGHTS, x)
        assert 0 < abs(after.log_joint / before.log_joint - 1).max() < mp.mpf(10) ** -45
    finally:
        mp.dps = 50


def test_bounds_follow_from_the_log_joint():
    # The second component is far and its scale huge, but it carries no probability.
    fields = (np.array([0.0, 1e4]), np.array([1.0, 1.0]))
    result = oracle.mixture("UnivariateGaussian", fields, [0.5, 0.5], np.array([0.0]))
    eps = float(np.finfo(np.float32).eps)
    near, far = result.log_joint_bound(np.float32)[0]
    assert float(near) == pytest.approx(16 * eps * (1 + 0.5 * math.log(2 * math.pi)))
    assert float(far) == pytest.approx(16 * eps * (1 + 0.5e8))
    assert float(result.log_likelihood_bound(np.float32)[0]) == pytest.approx(float(near))
    assert float(result.responsibility_bound(np.float32)[0, 0]) == pytest.approx(float(near))
    # In float64 nothing is asked beyond 1e-12.
    assert float(result.log_joint_bound(np.float64)[0, 0]) == 1e-12


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("family", FAMILIES)
def test_accepts_the_direct_form(family, dtype):
    for offset in (0.0, 1e4):
        fields, x = benign(family, dtype, offset=offset)
        weights = WEIGHTS.astype(dtype)
        result = oracle.mixture(family, fields, weights, x)
        log_joint = direct(family, fields, weights, x)
        responsibilities, log_likelihood = normalise(log_joint)
        assert oracle.assert_log_joint(log_joint, result, dtype) < 8
        assert oracle.assert_responsibilities(responsibilities, result, dtype) < 8
        assert oracle.assert_log_likelihood(log_likelihood, result, dtype) < 8
        oracle.assert_total(log_likelihood.sum(), result, dtype)
        with np.errstate(divide="ignore", invalid="ignore"):
            entropy = -np.where(
                responsibilities > 0, responsibilities * np.log(responsibilities), 0
            ).sum(axis=1)
        oracle.assert_entropy(entropy, result, dtype)


def test_rejects_the_expanded_form():
    for dtype, offset in [(np.float32, 1e2), (np.float32, 1e4), (np.float64, 1e4)]:
        fields, x = benign("DiagonalGaussian", dtype, offset=offset)
        weights = WEIGHTS.astype(dtype)
        result = oracle.mixture("DiagonalGaussian", fields, weights, x)
        log_joint = expanded(fields, weights, x)
        responsibilities, log_likelihood = normalise(log_joint)
        with pytest.raises(AssertionError, match="off by"):
            oracle.assert_log_joint(log_joint, result, dtype)
        with pytest.raises(AssertionError, match="off by"):
            oracle.assert_log_likelihood(log_likelihood, result, dtype)
        with pytest.raises(AssertionError, match="responsibility"):
            oracle.assert_responsibilities(responsibilities, result, dtype)


def test_rejects_densities_that_underflow():
    fields = (np.array([-1.0, 1.0]), np.array([1.0, 1.0]))
    weights, x = np.array([0.5, 0.5]), np.array([45.0])
    result = oracle.mixture("UnivariateGaussian", fields, weights, x)
    density = np.exp(direct("UnivariateGaussian", fields, weights, x))
    with np.errstate(divide="ignore", invalid="ignore"):
        responsibilities = density / density.sum(axis=1, keepdims=True)
        log_likelihood = np.log(density.sum(axis=1))
    with pytest.raises(AssertionError, match="is nan"):
        oracle.assert_responsibilities(responsibilities, result, np.float64)
    with pytest.raises(AssertionError, match="-inf"):
        oracle.assert_log_likelihood(log_likelihood, result, np.float64)


def test_rejects_a_small_responsibility_that_is_only_absolutely_right():
    fields = (np.array([-3.0, 3.0]), np.array([1.0, 1.0]))
    weights, x = np.array([0.5, 0.5]), np.array([7.0])
    result = oracle.mixture("UnivariateGaussian", fields, weights, x)
    right, _ = normalise(direct("UnivariateGaussian", fields, weights, x))
    assert 1e-19 < right[0, 0] < 1e-18
    oracle.assert_responsibilities(right, result, np.float64)
    for wrong in (0.0, 1.0 - right[0, 1], right[0, 0] * (1.0 + 1e-10)):
        with pytest.raises(AssertionError, match="responsibility"):
            oracle.assert_responsibilities(np.array([[wrong, 1.0]]), result, np.float64)


def test_grants_denormal_results_their_smallest_normal():
    log_prob = np.array([[0.0, -715.0]])
    result = oracle.posterior(log_prob, np.ones(2))
    for small in (0.0, math.exp(-715.0), 1.5e-308):
        oracle.assert_responsibilities(np.array([[1.0, small]]), result, np.float64)
    with pytest.raises(AssertionError, match="responsibility"):
        oracle.assert_responsibilities(np.array([[1.0, 3e-308]]), result, np.float64)


def test_rejects_the_usual_mistakes():
    fields, x = benign("DiagonalGaussian")
    result = oracle.mixture("DiagonalGaussian", fields, WEIGHTS, x)
    deviations = (fields[0], np.sqrt(fields[1]))
    log_joint = direct("DiagonalGaussian", fields, WEIGHTS, x)
    responsibilities, log_likelihood = normalise(log_joint)
    wrong = direct("DiagonalGaussian", deviations, WEIGHTS, x)
    with pytest.raises(AssertionError, match="off by"):  # deviations for variances
        oracle.assert_log_joint(wrong, result, np.float64)
    with pytest.raises(AssertionError, match="off by"):  # weights that are not normalised
        oracle.assert_log_joint(log_joint + np.log(WEIGHTS.sum()), result, np.float64)
    with pytest.raises(AssertionError, match="dtype"):  # a silent promotion
        oracle.assert_log_joint(log_joint, result, np.float32)
    with pytest.raises(AssertionError, match="shape"):
        oracle.assert_log_likelihood(log_likelihood[:, None], result, np.float64)
    with pytest.raises(AssertionError, match="total"):
        oracle.assert_total(np.float64(log_likelihood.sum() + 1e-9), result, np.float64)
    with pytest.raises(AssertionError, match="responsibility"):  # components in another order
        oracle.assert_responsibilities(responsibilities[:, ::-1].copy(), result, np.float64)
    with pytest.raises(AssertionError, match="entropy"):
        oracle.assert_entropy(np.full(5, 0.3), result, np.float64)


def test_rejects_rows_that_do_not_sum_to_one():
    for dtype in (np.float32, np.float64):
        eps = np.finfo(dtype).eps
        oracle.assert_rows_sum_to_one(np.array([[0.5, 0.5 + 17 * eps]], dtype=dtype))
        with pytest.raises(AssertionError, match="sums to"):
            oracle.assert_rows_sum_to_one(np.array([[0.5, 0.5 + 19 * eps]], dtype=dtype))
        with pytest.raises(AssertionError, match="sums to"):
            oracle.assert_rows_sum_to_one(np.array([[0.5, 0.5 - 19 * eps]], dtype=dtype))


def test_where_the_true_number_overflows_only_minus_infinity_will_do():
    fields = (np.array([0.0]), np.array([1e-30]))
    result = oracle.mixture("UnivariateGaussian", fields, [1.0], np.array([1e200]))
    oracle.assert_log_joint(np.array([[-np.inf]]), result, np.float64)
    for wrong in (np.nan, -np.finfo(np.float64).max, np.inf):
        with pytest.raises(AssertionError, match="log-joint"):
            oracle.assert_log_joint(np.array([[wrong]]), result, np.float64)
