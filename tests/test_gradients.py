"""Derivatives in JAX and PyTorch against closed forms, also where they are easily lost.

An objective is sum_i s_i log p(x_i) + sum_ik A_ik r_ik: with A = 0 the log-likelihood, with s = 0
the responsibilities. The closed forms and the bound of their errors stand in ``fisher.py``.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest

import estep_xp as ex
from tests import fisher
from tests.backends import BACKENDS
from tests.families import RECORDS, Problem, normalised, problem, random_weights, rounded
from tests.fisher import assert_gradient

N, K, D = 5, 3, 2
SAMPLE_WEIGHT = np.array([0.5, 2.0, 1.0, 0.25, 1.5])
MATRIX = np.random.default_rng(0).standard_normal((N, K))

families = pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
jax_only = pytest.mark.backends("jax")
derivatives = pytest.mark.backends("jax_jit", "torch")


# Functions of plain arrays: the same for JAX and PyTorch, and one object a family, compiled once.


@functools.cache
def total_of(family):
    def total(x, weights, first, second, sample_weight):
        mixture = ex.Mixture(weights, family(first, second))
        return ex.log_likelihood(x, mixture, sample_weight=sample_weight)

    return total


@functools.cache
def weighted_responsibilities_of(family):
    def weighted(x, weights, first, second, matrix):
        step = ex.e_step(x, ex.Mixture(weights, family(first, second)))
        return (step.responsibilities * matrix).sum()

    return weighted


@functools.cache
def jax_gradient(function, count):
    import jax

    return jax.grad(function, argnums=tuple(range(count)))


def differentiate(backend, function, arrays, *constants):
    """Differentiate a scalar function by some arrays, with further arguments held constant."""
    if backend.name != "torch":
        gradient = jax_gradient(function, len(arrays))
        return [backend.to_numpy(g) for g in backend.call(gradient, *arrays, *constants)]
    for array in arrays:
        array.requires_grad_(True)
    function(*arrays, *constants).backward()
    return [np.zeros(a.shape) if a.grad is None else a.grad.numpy() for a in arrays]


# First derivatives


@derivatives
@pytest.mark.shared_by_jax("record", "dtype")  # see conftest.py
@families
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


@derivatives
@families
def test_gradient_of_responsibilities(backend, record):
    case = problem(record)
    function = weighted_responsibilities_of(record.family)
    actual = differentiate(backend, function, case.arrays(backend), backend.asarray(MATRIX))
    assert_gradient(actual, case, matrix=MATRIX)


@pytest.mark.backends("jax_jit")
def test_gradient_with_many_components(backend):
    """More than anybody would write out one by one."""
    case = problem(RECORDS[-1], k=100)
    arrays = [*case.arrays(backend), backend.asarray(SAMPLE_WEIGHT)]
    *actual, by_sample_weight = differentiate(backend, total_of(case.record.family), arrays)
    assert_gradient(actual, case, sample_weight=SAMPLE_WEIGHT)
    rows = normalised(case.record.log_joint(case.x, case.weights, case.params))[1]
    np.testing.assert_allclose(by_sample_weight, rows, rtol=1e-13)


@jax_only
def test_gradient_without_jit(backend):
    """jax.grad alone traces too, and gives the same."""
    case = problem(RECORDS[-1])
    arrays = [*case.arrays(backend), backend.asarray(SAMPLE_WEIGHT)]
    *actual, _ = differentiate(backend, total_of(case.record.family), arrays)
    assert_gradient(actual, case, sample_weight=SAMPLE_WEIGHT)


@jax_only
@families
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
@pytest.mark.parametrize("name", ["tied", "full"])
def test_gradient_by_covariances(backend, name):
    """dL/dS = sum_i r_ik (L z z' L - L) / 2 with L = inv(S), through the factorisation."""
    (record,) = (record for record in RECORDS if record.name == name)
    case = problem(record)
    covariances = record.covariances(case.params)
    function = total_from_covariances if name == "full" else total_from_covariance
    arrays = [*case.arrays(backend)[:3], backend.asarray(covariances)]
    by_covariances = differentiate(backend, function, arrays)[3]

    each = covariances + np.zeros((K, 1, 1))
    precisions = np.linalg.inv(each)
    z = np.einsum("kde,nke->nkd", precisions, case.x[:, None, :] - case.params["means"])
    shares = normalised(record.log_joint(case.x, case.weights, case.params))[0]
    expected = 0.5 * np.einsum("nk,nkd,nke->kde", shares, z, z)
    expected -= 0.5 * shares.sum(axis=0)[:, None, None] * precisions
    expected = expected.sum(axis=0) if name == "tied" else expected
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


@jax_only
@families
def test_hessian_of_the_total(backend, record):
    """All of it, mixture and data, against complex steps through the closed-form gradient."""
    import jax
    from jax.flatten_util import ravel_pytree

    case = problem(record, n=3, k=2)
    sample_weight = SAMPLE_WEIGHT[:3]
    flat, rebuild = ravel_pytree((backend.asarray(case.x), case.mixture(backend)))

    def total(flat):
        return ex.log_likelihood(*rebuild(flat), sample_weight=backend.asarray(sample_weight))

    actual = backend.to_numpy(jax.jit(jax.hessian(total))(flat))

    shapes = [np.shape(a) for a in (case.x, case.weights, *case.params.values())]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])

    def gradient(point):
        pieces = np.split(point, ends[:-1])
        x, weights, *fields = (a.reshape(s) for a, s in zip(pieces, shapes, strict=True))
        params = dict(zip(case.params, fields, strict=True))
        value = fisher.gradient(x, weights, params, sample_weight).value
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


@derivatives
@families
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

    case = problem(RECORDS[0])._replace(weights=np.array([0.0, 1.5, 0.5]))
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
    record = RECORDS[0]
    params = {"means": np.array([1.0, 1.0, 1.0]), "variances": np.array([2.0, 2.0, 2.0])}
    x = np.array([1.0, 1.0, 3.0, -2.0, 0.0])
    case = Problem(record, x, np.array([0.5, 0.5, 0.5]), params)
    ones = backend.asarray(np.ones(N))
    actual = differentiate(backend, total_of(record.family), case.arrays(backend), ones)
    assert_gradient(actual, case, sample_weight=1.0)
    function = weighted_responsibilities_of(record.family)
    actual = differentiate(backend, function, case.arrays(backend), backend.asarray(MATRIX))
    assert_gradient(actual, case, matrix=MATRIX)


@derivatives
@families
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
    expected = fisher.gradient(x, case.weights, case.params, sample_weight=1.0)
    bound = 32 * np.finfo(dtype).eps * scale
    for name, result in zip(expected.value, actual, strict=True):
        error = np.abs(result - expected.value[name])
        assert np.all(error <= bound * expected.magnitude[name]), name


@derivatives
@families
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


# Units: derivatives by quantities in other units are the same numbers, rescaled


def total_by_covariances(x, weights, means, covariances):
    components = ex.FullGaussian.from_covariances(means, covariances)
    return ex.log_likelihood(x, ex.Mixture(weights, components))


def total_by_covariance(x, weights, means, covariance):
    components = ex.TiedGaussian.from_covariance(means, covariance)
    return ex.log_likelihood(x, ex.Mixture(weights, components))


UNITS = {  # a power of ten and half of it: what float32 just holds
    "float32": [1e-30, 1e-8, 1e30],
    "float64": [1e-300, 1e-30, 1e300],
}
units = pytest.mark.parametrize(
    ("dtype", "unit"), [(dtype, unit) for dtype, scales in UNITS.items() for unit in scales]
)


@derivatives
@units
@pytest.mark.parametrize("total", [total_by_covariance, total_by_covariances])
def test_covariances_in_other_units(backend, total, dtype, unit):
    """d/dC of the total in units of C: the factorisation must not square them on the way."""
    rng = np.random.default_rng(5)
    root = rng.standard_normal((K, D, D))
    covariances = root @ np.swapaxes(root, 1, 2) + np.eye(D)
    covariances = covariances if total is total_by_covariances else covariances[0]
    x, means = rng.standard_normal((2, K, D))

    def by_covariance(unit, dtype):
        arrays = (x * unit**0.5, np.ones(K), means * unit**0.5, covariances * unit)
        native = [backend.asarray(a, dtype) for a in arrays]
        return differentiate(backend, total, native)[3].astype(float) * unit

    expected = by_covariance(1.0, "float64")
    tolerance = 2000 * np.finfo(dtype).eps * np.abs(expected).max()
    np.testing.assert_allclose(by_covariance(unit, dtype), expected, rtol=0, atol=tolerance)


@derivatives
@units
def test_weights_in_other_units(backend, dtype, unit):
    """Weights need not sum to 1, nor be near it."""
    case = problem(RECORDS[0])
    case = case._replace(weights=np.array([0.5, 0.0, 2.0]))

    def by_weights(unit, dtype):
        arrays = case._replace(weights=case.weights * unit).arrays(backend, dtype)
        ones = backend.asarray(np.ones(N), dtype)
        by = differentiate(backend, total_of(case.record.family), arrays, ones)[1]
        return by.astype(float) * unit

    expected = by_weights(1.0, "float64")
    tolerance = 2000 * np.finfo(dtype).eps * np.abs(expected).max()
    np.testing.assert_allclose(by_weights(unit, dtype), expected, rtol=0, atol=tolerance)


@jax_only
@units
@pytest.mark.parametrize("record", RECORDS[:3], ids=lambda record: record.name)
def test_forward_derivative_by_variances_in_other_units(record, backend, dtype, unit):
    """Forward mode meets dP/dv before the residual: it must not be asked for alone."""
    import jax

    case = problem(record)

    def forward(unit, dtype):
        params = {
            "means": case.params["means"] * unit**0.5,
            "variances": case.params["variances"] * unit,
        }
        scaled = case._replace(x=case.x * unit**0.5, params=params)
        x, weights, means, variances = scaled.arrays(backend, dtype)
        ones = backend.asarray(np.ones(N), dtype)

        def by_variances(variances):
            return total_of(record.family)(x, weights, means, variances, ones)

        # The tangent is in units of the variances, too, so that it is no larger than they are.
        return float(jax.jvp(by_variances, (variances,), (variances,))[1])

    expected = forward(1.0, "float64")
    tolerance = 2000 * np.finfo(dtype).eps * (1 + abs(expected))
    # XLA takes subnormal numbers for zero: a row adds nothing to a second moment below them.
    tolerance += N * D * float(np.finfo(dtype).smallest_normal) / unit * (1 + abs(expected))
    np.testing.assert_allclose(forward(unit, dtype), expected, rtol=0, atol=tolerance)


@jax_only
@pytest.mark.parametrize("unit", [1e-30, 1e30])
def test_forward_derivative_by_one_unit_of_variance(backend, unit):
    """(d²/2v² − 1/2v) for a row at distance d: finite, although v^-1.5 is not."""
    import jax

    def total(variance):
        components = ex.UnivariateGaussian(backend.asarray([0.0], "float32"), variance[None])
        return ex.log_likelihood(
            backend.asarray([2.0 * unit**0.5], "float32"), ex.Mixture([1.0], components)
        )

    variance, one = (backend.asarray(value, "float32") for value in (unit, 1.0))
    slope = float(jax.jvp(total, (variance,), (one,))[1])
    np.testing.assert_allclose(slope * unit, 1.5, rtol=1e-5)


@derivatives
@pytest.mark.parametrize(("dtype", "largest"), [("float32", 88.0), ("float64", 709.0)])
def test_zero_weight_of_a_component_more_likely_by_far(backend, dtype, largest):
    """Its derivative is p_k/p − 1, here almost the largest number that there is."""
    x = np.sqrt(2 * largest)
    weights = backend.asarray([1.0, 0.0], dtype)
    arrays = [backend.asarray([x], dtype), weights]
    arrays += [backend.asarray([0.0, x], dtype), backend.asarray([1.0, 1.0], dtype)]
    ones = backend.asarray([1.0], dtype)
    actual = differentiate(backend, total_of(RECORDS[0].family), arrays, ones)[1]
    distance = float(np.asarray([x], dtype)[0])
    bound = 16 * np.finfo(dtype).eps * (1 + largest)
    np.testing.assert_allclose(actual[1], np.exp(distance**2 / 2), rtol=2 * bound)
    assert actual[0] == 0.0


# Masked rows


class LogNormal:
    """A user's family whose density is a number for positive rows only."""

    def log_prob(self, x):
        xp = ex._namespace.namespace_of(x)
        return (-0.5 * xp.log(x) ** 2 - xp.log(x))[:, None]


@pytest.mark.parametrize("name", ["numpy", "jax"])
def test_masked_rows_outside_the_support_of_a_users_family(name):
    """Zeros are the usual padding, and no family has to answer for them."""
    backend = BACKENDS[name]
    backend.require()
    x, sample_weight = (backend.asarray(a) for a in ([1.0, 0.0, -3.0], [2.0, 0.0, 0.0]))
    mixture = ex.Mixture(backend.asarray([1.0]), LogNormal())
    assert float(ex.log_likelihood(x, mixture, sample_weight=sample_weight)) == 0.0
    if name == "jax":
        import jax

        by_x = jax.grad(lambda x: ex.log_likelihood(x, mixture, sample_weight=sample_weight))(x)
        np.testing.assert_array_equal(by_x, [-2.0, 0.0, 0.0])


def masked(case):
    """Two more rows of nonsense, and the sample weights that take them out."""
    univariate = case.x.ndim == 1
    rows = [np.nan, np.inf, 1e300] if univariate else [[np.nan, 0], [-np.inf, np.nan], [1e300, 1]]
    x = np.concatenate([case.x[:2], rows[:1], case.x[2:], rows[1:]])
    sample_weight = np.concatenate([SAMPLE_WEIGHT[:2], [0.0], SAMPLE_WEIGHT[2:], [0.0, 0.0]])
    return x, sample_weight, sample_weight > 0


@families
def test_masked_rows_add_nothing_to_the_total(backend, record):
    """NaN, infinity and 1e300 in rows of sample_weight 0, which raise no error either."""
    case = problem(record)
    x, sample_weight, _ = masked(case)
    total = backend.call(
        ex.log_likelihood,
        backend.data(x),
        case.mixture(backend),
        sample_weight=backend.data(sample_weight),
    )
    rows = normalised(record.log_joint(case.x, case.weights, case.params))[1]
    np.testing.assert_allclose(backend.to_numpy(total), SAMPLE_WEIGHT @ rows, rtol=1e-13)


@derivatives
@families
def test_masked_rows_have_no_gradient(backend, record):
    case = problem(record)
    x, sample_weight, kept = masked(case)
    arrays = [backend.asarray(x), *case.arrays(backend)[1:]]
    by_x, *by_mixture = differentiate(
        backend, total_of(record.family), arrays, backend.asarray(sample_weight)
    )
    assert np.all(by_x[~kept] == 0.0)
    assert_gradient([by_x[kept], *by_mixture], case, sample_weight=SAMPLE_WEIGHT)


@derivatives
def test_masked_row_of_no_density(backend):
    """Finite, but its square over the variance is not: -inf times 0 must not show."""
    params = {"means": np.array([0.0, 3e-10]), "variances": np.array([1e-20, 2e-20])}
    x = np.array([1e-10, 1e150, 4e-10, 0.0])
    sample_weight = np.array([1.0, 0.0, 2.0, 0.5])
    case = Problem(RECORDS[0], x, np.array([0.5, 1.0]), params)
    by_x, *by_mixture = differentiate(
        backend,
        total_of(case.record.family),
        case.arrays(backend),
        backend.asarray(sample_weight),
    )
    assert by_x[1] == 0.0
    kept = sample_weight > 0
    others = case._replace(x=x[kept])
    assert_gradient([by_x[kept], *by_mixture], others, sample_weight=sample_weight[kept])


@jax_only
def test_masked_rows_in_hessians_and_eager_jvp(backend):
    import jax

    case = problem(RECORDS[0])
    x, sample_weight, _ = masked(case)
    arrays = [backend.asarray(a) for a in (x, case.weights, *case.params.values(), sample_weight)]
    plain = [
        backend.asarray(a) for a in (case.x, case.weights, *case.params.values(), SAMPLE_WEIGHT)
    ]
    total = total_of(case.record.family)
    hessian = jax.jit(jax.hessian(total, argnums=2))
    np.testing.assert_allclose(hessian(*arrays), hessian(*plain), rtol=1e-12)

    def along_the_data(x, *others):
        return jax.jvp(lambda x: total(x, *others), (x,), (x * 0 + 1,))[1]

    finite = np.where(np.isfinite(x), x, 7.0)
    expected = fisher.gradient(case.x, case.weights, case.params, SAMPLE_WEIGHT).value["x"].sum()
    np.testing.assert_allclose(
        along_the_data(backend.asarray(finite), *arrays[1:]), expected, rtol=1e-12
    )


@derivatives
def test_no_rows_no_gradient(backend):
    """The total over no rows is 0 for every mixture."""
    case = problem(RECORDS[-1], n=0)
    none = backend.asarray(np.ones(0))
    actual = differentiate(backend, total_of(case.record.family), case.arrays(backend), none)
    for result, array in zip(actual, (case.x, case.weights, *case.params.values()), strict=True):
        np.testing.assert_array_equal(result, np.zeros(array.shape))


@pytest.mark.backends("torch")
@families
def test_functional_transformations_of_torch(backend, record):
    """torch.func, with tensors from outside, which can't be looked at in there, either."""
    import torch

    case = problem(record)
    x, mixture = backend.asarray(case.x), case.mixture(backend)
    expected = fisher.gradient(case.x, case.weights, case.params, np.ones(N)).value["x"]

    def total(x):
        return ex.e_step(x, mixture).total_log_likelihood

    np.testing.assert_allclose(torch.func.grad(total)(x), expected, rtol=1e-12)
    batch = torch.func.vmap(torch.func.grad(total))(torch.stack([x, x]))
    np.testing.assert_allclose(batch, [expected, expected], rtol=1e-12)
    summed = torch.func.grad(lambda x: ex.expected_statistics(x, mixture).log_likelihood)(x)
    np.testing.assert_allclose(summed, expected, rtol=1e-12)
