"""Holes in rows of factor analysers, Student-t, von Mises: against marginals to 50 digits."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
import pytest

import estep_xp as ex
from tests import marginal_oracle as oracle
from tests.fits import cut_short
from tests.oracle import exact, log_sum_exp, mp
from tests.records.von_mises import log_i0_scaled
from tests.test_incomplete import KINDS, close, errors, matrices, patterns

K, D, Q = 2, 3, 2
NAN = float("nan")
WEIGHTS = np.array([0.375, 0.625])


def factor_analyzer(scale=1.0):
    random = np.random.default_rng(7)
    noise = random.uniform(0.3, 2.0, (K, D)) / scale
    return random.normal(size=(K, D)), random.normal(size=(K, D, Q)), noise


def mixture_of(backend, family, fields, dtype):
    components = family(*(backend.asarray(a, dtype) for a in fields))
    return ex.Mixture(backend.asarray(WEIGHTS, dtype), components)


def covariances_of(loadings, noise):
    """Exact covariances (k, d, d)."""
    wide = [exact(a.astype(np.float64)) for a in (loadings, noise)]
    return np.array([a @ a.T + np.diag(b) for a, b in zip(*wide, strict=True)])


def factor_sums(fields, first, second):
    """The statistics of factor analysers, from moments of v − μ, to 50 digits."""
    found = []
    for c, (loadings, noise) in enumerate(zip(*fields[1:], strict=True)):
        psi = [mp.sqrt(mp.mpf(float(value))) for value in noise]
        u = mp.matrix(
            [[mp.mpf(float(a)) / s for a in row] for row, s in zip(loadings, psi, strict=True)]
        )
        explain = mp.inverse(mp.eye(Q) + u.T * u) * u.T
        leave = mp.eye(D) - u * explain
        mean = mp.matrix([a / s for a, s in zip(first[c], psi, strict=True)])
        square = mp.matrix(
            [[second[c][i, j] / psi[i] / psi[j] for j in range(D)] for i in range(D)]
        )
        rests = leave * square * leave.T
        found.append(
            (
                leave * mean,
                mp.matrix([rests[j, j] for j in range(D)]),
                explain * mean,
                leave * square * explain.T,
                explain * square * explain.T,
            )
        )
    fields = zip(*found, strict=True)
    return [np.array([np.array(a.tolist(), dtype=float) for a in field]) for field in fields]


def check_factor_analyzer(backend, dtype, kind, scale=1.0, slack=400.0):
    x = patterns(D).astype(dtype)
    fields = [a.astype(dtype) for a in factor_analyzer(scale)]
    noise = errors(kind, len(x), D)
    keywords: dict[str, Any] = {"missing": True}
    wide = None
    if noise is not None:
        noise = noise.astype(dtype)
        keywords["noise"], wide = backend.data(noise, dtype), matrices(noise.astype(np.float64))
    mixture = mixture_of(backend, ex.FactorAnalyzer, fields, dtype)
    covariances = covariances_of(*fields[1:])
    known = oracle.known(x.astype(np.float64), WEIGHTS, fields[0], covariances, wide)
    step = backend.call(ex.e_step, backend.data(x, dtype), mixture, **keywords)
    close(backend, step.log_likelihood, known.log_density, dtype)
    close(backend, step.responsibilities, known.responsibilities, dtype, 400.0)
    sums = backend.call(ex.expected_statistics, backend.data(x, dtype), mixture, **keywords)
    counts, *moments = known.sums(fields[0])
    close(backend, sums.counts, counts, dtype, 100.0)
    for found, expected in zip(sums.moments, factor_sums(fields, *moments), strict=True):
        close(backend, found, expected.reshape(found.shape), dtype, slack)


@pytest.mark.backends("numpy", "array_api_strict", "torch", "dask")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_factor_analysers(backend, dtype, kind):
    check_factor_analyzer(backend, dtype, kind)


@pytest.mark.backends("jax_jit")
@pytest.mark.parametrize("kind", ["none", "variances"])
def test_factor_analysers_under_jit(backend, kind):
    check_factor_analyzer(backend, "float64", kind)


@pytest.mark.backends("numpy")
def test_factor_analysers_of_little_noise(backend):
    """At signals 1e12 times the noise, where Woodbury's identity would be off by 0.02."""
    fields = factor_analyzer(1e12)
    x = patterns(D)
    x = fields[0][0] + np.where(np.isnan(x), NAN, (x @ np.ones((D, Q))) @ fields[1][0].T)
    x = np.where(np.isnan(patterns(D)), NAN, np.nan_to_num(x, nan=1.25))
    known = oracle.known(x, WEIGHTS, fields[0], covariances_of(*fields[1:]))
    mixture = mixture_of(backend, ex.FactorAnalyzer, fields, "float64")
    joint = ex.log_joint(x, mixture, missing=True)
    expected = known.log_joint.astype(float)
    np.testing.assert_allclose(joint, expected, rtol=1e-13, atol=1e-12)


class _Tails(NamedTuple):
    log_joint: np.ndarray
    sums: list[np.ndarray]


def student_t_to_50_digits(x, fields):
    """Log-joints, and the expected sums of complete rows and their latent scales."""
    means, factors, degrees = fields
    scales = oracle.covariances_of(factors.astype(np.float64))
    known = oracle.known(x.astype(np.float64), WEIGHTS, means, scales)
    joint = np.empty(known.log_joint.shape, dtype=object)
    share = np.empty_like(joint)
    excess = np.empty_like(joint)
    for i, row in enumerate(x):
        seen = np.flatnonzero(~np.isnan(row))
        o = len(seen)
        for c in range(K):
            nu = mp.mpf(float(degrees[c]))
            joint[i, c], q = mp.log(mp.mpf(float(WEIGHTS[c]))), mp.mpf(0)
            if o:
                t = mp.matrix([[scales[c][a, b] for b in seen] for a in seen])
                z = mp.matrix([mp.mpf(float(row[a])) - mp.mpf(float(means[c, a])) for a in seen])
                q = (z.T * mp.inverse(t) * z)[0]
                joint[i, c] += mp.loggamma((nu + o) / 2) - mp.loggamma(nu / 2)
                joint[i, c] -= o * mp.log(nu * mp.pi) / 2 + mp.log(mp.det(t)) / 2
                joint[i, c] -= (nu + o) / 2 * mp.log(1 + q / nu)
            share[i, c] = (nu + o) / (nu + q)
            expected_log = mp.digamma((nu + o) / 2) - mp.log((nu + q) / 2)
            # What complete rows add is the same function of E u − 1 − E log u, at their shape.
            whole = mp.log((nu + D) / 2) - mp.digamma((nu + D) / 2)
            excess[i, c] = share[i, c] - 1 - expected_log - whole
    totals = np.array([log_sum_exp(row) for row in joint], dtype=object)
    r = np.vectorize(mp.exp, otypes=[object])(joint - totals[:, None])
    weighted, residuals = r * share, known.means - exact(means)
    outer = residuals[..., :, None] * residuals[..., None, :]
    second = weighted[..., None, None] * outer + r[..., None, None] * known.covariances
    first = (weighted[..., None] * residuals).sum(axis=0)
    sums = [weighted.sum(axis=0), first, second.sum(axis=0), (r * excess).sum(axis=0)]
    return _Tails(joint, [a.astype(float) for a in sums])


def student_t():
    random = np.random.default_rng(9)
    factors = np.triu(random.normal(size=(K, D, D))) + 2.0 * np.eye(D)
    return random.normal(size=(K, D)), factors, np.array([0.75, 6.0])


@pytest.mark.backends("numpy", "array_api_strict", "torch", "jax_jit")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_student_t(backend, dtype):
    if backend.name == "jax_jit" and dtype == "float32":
        return  # one program is enough
    x = patterns(D).astype(dtype)
    fields = [a.astype(dtype) for a in student_t()]
    mixture = mixture_of(backend, ex.StudentT, fields, dtype)
    expected = student_t_to_50_digits(x, fields)
    joint = backend.call(ex.log_joint, backend.data(x, dtype), mixture, missing=True)
    close(backend, joint, expected.log_joint, dtype)
    sums = backend.call(ex.expected_statistics, backend.data(x, dtype), mixture, missing=True)
    for found, sum_ in zip(sums.moments, expected.sums, strict=True):
        close(backend, found, sum_, dtype, 400.0)


def test_student_t_far_away_and_imputed():
    fields = student_t()
    mixture = ex.Mixture(WEIGHTS, ex.StudentT(*fields))
    x = np.array([[1e200, NAN, 1.0]])
    far = ex.log_density(x, mixture, missing=True)
    alone = ex.log_density(x[:, [0, 2]], ex.marginal(mixture, [0, 2]))
    np.testing.assert_allclose(far, alone, rtol=1e-14)
    one = ex.Mixture([1.0], ex.StudentT(*(a[1:] for a in fields)))
    x = np.array([[0.5, NAN, 1.0]])
    found = ex.impute(x, one)
    (rest,) = ex.condition(one, [0, 2], [0.5, 1.0]).components.means.ravel()
    np.testing.assert_allclose(found.mean, [[0.5, rest, 1.0]], rtol=1e-14)
    given = ex.condition(one, [0, 2], [0.5, 1.0]).components
    variance = given.scales[0, 0, 0] * given.degrees[0] / (given.degrees[0] - 2.0)
    np.testing.assert_allclose(found.covariance[0], np.diag([0.0, variance, 0.0]), rtol=1e-13)


@pytest.mark.backends("numpy", "array_api_strict", "torch", "jax_jit")
def test_von_mises(backend):
    x = np.array([0.5, NAN, 3.0, -2.0, NAN])
    locations, kappas = [0.25, 3.0], [2.0, 5.0]
    mixture = mixture_of(backend, ex.VonMises, map(np.asarray, (locations, kappas)), "float64")
    step = backend.call(ex.e_step, backend.data(x, "float64"), mixture, missing=True)
    seen = ~np.isnan(x)
    plain = ex.Mixture(WEIGHTS, ex.VonMises(locations, kappas))
    r = np.broadcast_to(WEIGHTS, (5, 2)).copy()
    r[seen] = ex.e_step(x[seen], plain).responsibilities
    close(backend, step.responsibilities, r, "float64")
    np.testing.assert_array_equal(backend.to_numpy(step.log_likelihood)[~seen], 0.0)
    sums = backend.call(ex.expected_statistics, backend.data(x, "float64"), mixture, missing=True)
    angles = np.nan_to_num(x)[:, None] - locations
    lacks = [float(-mp.diff(log_i0_scaled, kappa)) for kappa in kappas]
    sines = (r * np.where(seen[:, None], np.sin(angles), 0.0)).sum(axis=0)
    versines = (r * np.where(seen[:, None], 1.0 - np.cos(angles), lacks)).sum(axis=0)
    close(backend, sums.moments.sines, sines, "float64")
    close(backend, sums.moments.versines, versines, "float64")


def models():
    means, loadings, noise = factor_analyzer()
    tails = ex.StudentT(means[:, :2], np.stack([np.eye(2), 0.5 * np.eye(2)]), np.array([4.0, 5.0]))
    return {
        "factors": ex.FactorAnalyzer(means, loadings[:, :, :1], noise),
        "student": ex.StudentT(*student_t()),
        "product": ex.Product((ex.VonMises(np.array([0.2, 3.0]), np.array([3.0, 5.0])), tails)),
    }


@cut_short
@pytest.mark.parametrize("name", ["factors", "student", "product"])
def test_em_never_falls(name):
    truth = ex.Mixture(WEIGHTS, models()[name])
    x = ex.sample(truth, 300, seed=3).x
    x = np.where(np.random.default_rng(0).random(x.shape) < 0.3, NAN, x)
    start = ex.initialize(x, 2, truth.components, missing=True, method="random")
    kinds: list[dict[str, Any]] = [{}]
    if name == "factors":
        kinds.append({"noise": errors("variances", 300, D)})
    for more in kinds:
        result = ex.fit(x, start, missing=True, max_iter=25, tol=0.0, variance_floor=0.0, **more)
        assert (np.diff(result.history) > -1e-9).all()
        total = ex.log_likelihood(x, result.mixture, missing=True, **more)
        np.testing.assert_allclose(result.log_likelihood, total, rtol=1e-12)


@pytest.mark.parametrize("name", ["factors", "student", "product"])
def test_complete_rows_give_the_very_numbers(name):
    mixture = ex.Mixture(WEIGHTS, models()[name])
    x = ex.sample(mixture, 50, seed=3).x
    one, other = (ex.e_step(x, mixture, missing=missing) for missing in (True, False))
    np.testing.assert_array_equal(one.responsibilities, other.responsibilities)
    holes = np.where(np.arange(50)[:, None] == 7, NAN, x)
    found = ex.e_step(holes, mixture, missing=True)
    np.testing.assert_allclose(found.responsibilities[7], WEIGHTS, rtol=1e-14)
    np.testing.assert_allclose(found.log_likelihood[7], 0.0, atol=1e-15)
    others = np.delete(np.arange(50), 7)
    expected = one.responsibilities[others]
    np.testing.assert_allclose(found.responsibilities[others], expected, rtol=1e-10)


@pytest.mark.backends("jax")
def test_gradients_at_holes_are_zero(backend):
    import jax

    x = patterns(D, 1)
    mixture = ex.Mixture(WEIGHTS, models()["factors"])
    native = jax.tree_util.tree_map(backend.asarray, mixture)
    by_x, by_model = jax.grad(lambda x, m: ex.log_likelihood(x, m, missing=True), argnums=(0, 1))(
        backend.data(x, "float64"), native
    )
    np.testing.assert_array_equal(backend.to_numpy(by_x)[np.isnan(x)], 0.0)
    change = np.zeros_like(x)
    change[0, 1] = h = 1e-6
    ends = [ex.log_likelihood(x + s * change, mixture, missing=True) for s in (1.0, -1.0)]
    assert abs((ends[0] - ends[1]) / (2.0 * h) - by_x[0, 1]) < 1e-7
    moved = [
        ex.Mixture(WEIGHTS, mixture.components._replace(means=mixture.components.means + s * h))
        for s in (1.0, -1.0)
    ]
    ends = [ex.log_likelihood(x, one, missing=True) for one in moved]
    total = float(backend.to_numpy(by_model.components.means).sum())
    assert abs((ends[0] - ends[1]) / (2.0 * h) - total) < 1e-6


class Own(NamedTuple):
    levels: Any

    def log_prob(self, x):
        return 0.0 * x[:, None] + self.levels


REFUSED = {
    "not Product, whose parts[1] is a Own; fill": (Own(np.ones(1)), {"missing": True}),
    "not Product, whose parts[0] is a Poisson; leave": (
        ex.UnivariateGaussian([0.0], [1.0]),
        {"noise": np.ones((2, 2))},
    ),
}


@pytest.mark.parametrize("words", REFUSED)
def test_the_part_that_refuses_is_named(words):
    part, keywords = REFUSED[words]
    mixture = ex.Mixture([1.0], ex.Product((ex.Poisson([1.0]), part)))
    with pytest.raises(TypeError, match=re.escape(words)):
        ex.e_step(np.ones((2, 2)), mixture, **keywords)


def test_other_refusals():
    student = ex.Mixture(WEIGHTS, ex.StudentT(*student_t()))
    with pytest.raises(TypeError, match="noise is for Gaussian families, not StudentT"):
        ex.e_step(np.ones((2, D)), student, noise=np.ones((2, D)))
    with pytest.raises(TypeError, match="not Own; fill"):
        ex.e_step(np.ones(2), ex.Mixture([1.0], Own(np.ones(1))), missing=True)


@pytest.mark.parametrize("kappa", [0.0, 0.5, 40.0, 1e8])
def test_imputed_angles(kappa):
    found = ex.impute([0.5, NAN], ex.Mixture([1.0], ex.VonMises([1.0], [kappa])))
    np.testing.assert_array_equal(found.mean, [0.5, 1.0])
    reach = min(mp.pi, 14 / mp.sqrt(max(kappa, 1.0)))
    total, square = (
        mp.quad(
            lambda t, p=p: t**p * mp.exp(-2 * kappa * mp.sin(t / 2) ** 2), [0, reach / 4, reach]
        )
        for p in (0, 2)
    )
    np.testing.assert_allclose(found.covariance, [0.0, float(square / total)], rtol=1e-11)


@pytest.mark.parametrize("family", [ex.FullGaussian, ex.TiedGaussian, ex.StudentT])
def test_features_that_were_never_observed_do_not_start_as_one(family):
    """EM keeps what a start says of them: two that were alike would stay so."""
    x = np.random.default_rng(0).normal(size=(200, 4))
    x[:, 2:] = np.nan
    components = ex.fit(x, ex.initialize(x, 1, family, missing=True), missing=True).mixture[1]
    scales = components.scales if family is ex.StudentT else components.covariances
    scales = scales.reshape(4, 4)
    deviations = np.sqrt(np.diagonal(scales))
    assert abs(scales[2, 3]) < 0.3 * deviations[2] * deviations[3]


@pytest.mark.backends("jax_jit")
def test_nor_do_they_under_jit(backend):
    x = np.random.default_rng(0).normal(size=(200, 4))
    x[:, 2:] = np.nan

    def start(x):
        return ex.initialize(x, 1, ex.FullGaussian, method="random", missing=True)

    components = backend.call(start, backend.data(x)).components
    covariance = backend.to_numpy(components.covariances)[0]
    np.testing.assert_allclose(np.diagonal(covariance)[2:], 1.0, atol=0.1)
    assert abs(covariance[2, 3]) < 0.3
