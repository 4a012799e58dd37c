"""EM of hidden Markov models: statistics, M-step and fit."""

from __future__ import annotations

import numpy as np
import pytest

import estep_xp as ex
from tests import chain_em_oracle

LENGTHS = [60, 1, 139]
WEIGHTS = np.array([1.0, 2.0, 0.5])


def problem(zeros=False, seed=0):
    rng = np.random.default_rng(seed)
    a = np.array([[0.9, 0.1, 0.0], [0.05, 0.9, 0.05], [0.1, 0.0, 0.9]])
    z = [0]
    for _ in range(199):
        z.append(rng.choice(3, p=a[z[-1]]))
    x = rng.normal(np.array([-2.0, 0.5, 4.0])[z], 1.0)
    start = np.array([0.5, 0.25, 0.25]), np.full((3, 3), 1 / 3)
    if zeros:
        start = np.array([1.0, 0.0, 0.0]), np.where(a > 0, [[1 / 2], [1 / 3], [1 / 2]], 0.0)
    return x, chain_em_oracle.Model(*start, np.array([-1.0, 0.0, 1.0]), np.ones(3))


def as_hmm(backend, model, dtype="float64"):
    initial, transitions, means, variances = (backend.asarray(a, dtype) for a in model)
    return ex.HMM(initial, transitions, ex.UnivariateGaussian(means, variances))


def as_model(backend, hmm):
    return chain_em_oracle.Model(
        *map(backend.to_numpy, (hmm.initial, hmm.transitions, *hmm.components))
    )


def assert_models_agree(one, other, rtol=1e-9):
    for name, a, b in zip(one._fields, one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol, err_msg=name)


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.backends("numpy", "jax", "array_api_strict", "torch", "dask")
def test_an_iteration_is_the_textbook_s(backend, zeros):
    x, model = problem(zeros)
    kwargs = {"lengths": LENGTHS, "sample_weight": backend.asarray(WEIGHTS)}
    statistics = backend.call(
        ex.expected_statistics, backend.data(x), as_hmm(backend, model), **kwargs
    )
    total, wanted = chain_em_oracle.iterate(x, model, LENGTHS, WEIGHTS, 0.01, prior=0.5)
    np.testing.assert_allclose(backend.to_numpy(statistics.log_likelihood), total, rtol=1e-13)
    n_rows = (WEIGHTS * LENGTHS).sum()
    np.testing.assert_allclose(backend.to_numpy(statistics.n_rows), n_rows, rtol=1e-14)
    new = ex.m_step(statistics, variance_floor=0.01, prior_counts=0.5)
    assert_models_agree(as_model(backend, new), wanted)
    if zeros:
        zero = model.transitions == 0
        assert (backend.to_numpy(new.transitions)[zero] == 0).all()
        assert (backend.to_numpy(new.initial)[1:] == 0).all()


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.backends("numpy", "jax")
def test_fit_iterates_never_falls_and_keeps_zeros(backend, zeros):
    x, model = problem(zeros)
    result = ex.fit(
        backend.data(x),
        as_hmm(backend, model),
        lengths=LENGTHS,
        sample_weight=WEIGHTS if backend.name == "numpy" else backend.asarray(WEIGHTS),
        variance_floor=0.0,
        tol=1e-9,
        max_iter=400,
    )
    for _ in range(result.n_iter):
        _, model = chain_em_oracle.iterate(x, model, LENGTHS, WEIGHTS, 0.0)
    total, _ = chain_em_oracle.iterate(x, model, LENGTHS, WEIGHTS, 0.0)
    np.testing.assert_allclose(float(result.log_likelihood), total, rtol=1e-9)
    assert_models_agree(as_model(backend, result.mixture), model, rtol=1e-6)
    assert (np.diff(np.asarray(result.history)) >= -1e-10).all()
    assert result.converged
    assert isinstance(result.mixture, ex.HMM)


@pytest.mark.backends("numpy", "jax")
def test_fit_accelerated_reaches_the_same_optimum(backend):
    x, model = problem(zeros=True)
    hmm, x = as_hmm(backend, model), backend.data(x)
    plain = ex.fit(x, hmm, tol=1e-10, max_iter=2000)
    fast = ex.fit(x, hmm, tol=1e-10, max_iter=2000, accelerate=True)
    assert fast.n_iter < plain.n_iter
    np.testing.assert_allclose(
        float(fast.log_likelihood), float(plain.log_likelihood), rtol=0, atol=1e-6
    )


def test_fit_under_jit_is_the_fit():
    jax = pytest.importorskip("jax")
    x, model = problem()
    hmm = ex.HMM(
        model.initial, model.transitions, ex.UnivariateGaussian(model.means, model.variances)
    )
    eager = ex.fit(x, hmm, tol=1e-7, lengths=LENGTHS)
    jitted = jax.jit(lambda x, hmm: ex.fit(x, hmm, tol=1e-7, lengths=LENGTHS))(x, hmm)
    assert int(jitted.n_iter) == eager.n_iter
    np.testing.assert_allclose(jitted.log_likelihood, eager.log_likelihood, rtol=1e-12)
    np.testing.assert_allclose(jitted.mixture.transitions, eager.mixture.transitions, rtol=1e-8)


def test_statistics_merge_and_scale():
    x, model = problem()
    hmm = ex.HMM(
        model.initial, model.transitions, ex.UnivariateGaussian(model.means, model.variances)
    )
    whole = ex.expected_statistics(x, hmm, lengths=LENGTHS)
    a = ex.expected_statistics(x[:61], hmm, lengths=[60, 1])
    b = ex.expected_statistics(x[61:], hmm)
    merged = ex.merge(a, b)
    twice = ex.scale(ex.merge(whole, whole), 0.5)
    for name in ("log_likelihood", "n_rows", "counts", "initial", "transitions"):
        wanted = getattr(whole, name)
        np.testing.assert_allclose(getattr(merged, name), wanted, rtol=1e-12, err_msg=name)
        np.testing.assert_allclose(getattr(twice, name), wanted, rtol=1e-15, err_msg=name)
    mixture = ex.Mixture(model.initial, hmm.components)
    with pytest.raises(TypeError, match="a is of an HMM but b of a Mixture"):
        ex.merge(a, ex.expected_statistics(x, mixture))
    other = hmm._replace(transitions=hmm.transitions + np.eye(3))
    with pytest.raises(ValueError, match=r"transitions\[0, 0\] is .* in a's mixture but"):
        ex.merge(a, ex.expected_statistics(x, other))


def test_a_chain_of_equal_rows_has_the_statistics_of_the_mixture():
    x, model = problem()
    components = ex.UnivariateGaussian(model.means, model.variances)
    weights = np.array([0.2, 0.5, 0.3])
    chain = ex.expected_statistics(x, ex.HMM(weights, np.tile(weights, (3, 1)), components))
    mixture = ex.expected_statistics(x, ex.Mixture(weights, components))
    np.testing.assert_allclose(chain.log_likelihood, mixture.log_likelihood, rtol=1e-13)
    np.testing.assert_allclose(chain.counts, mixture.counts, rtol=1e-12)
    for one, other in zip(chain.moments, mixture.moments, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11)


def test_a_state_never_visited_is_told_and_keeps_its_row():
    x, _ = problem()
    components = ex.UnivariateGaussian([-1.0, 1.0, 0.0], [1.0, 1.0, 1.0])
    transitions = np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])
    with pytest.warns(ex.CollapseWarning, match="state 2 is never visited"):
        result = ex.fit(x, ex.HMM([0.5, 0.5, 0.0], transitions, components))
    np.testing.assert_array_equal(result.mixture.transitions[2], transitions[2])


def test_a_state_rarely_left_has_its_transitions_estimated():
    """Only less than the rounding of a rounding error of all counts is nothing."""
    x, model = problem()
    statistics = ex.expected_statistics(x, ex.HMM(*model[:2], ex.UnivariateGaussian(*model[2:])))
    counts = np.array(statistics.transitions)
    counts[1] = [1e-20, 3e-20, 0.0]
    new = ex.m_step(statistics._replace(transitions=counts))
    np.testing.assert_allclose(new.transitions[1], [0.25, 0.75, 0.0], rtol=1e-12)


def test_other_starts_and_missing_values():
    x, model = problem()
    hmm = ex.HMM(
        model.initial, model.transitions, ex.UnivariateGaussian(model.means, model.variances)
    )
    one = ex.fit(x, hmm)
    assert float(ex.fit(x, hmm, n_init=2).log_likelihood) >= float(one.log_likelihood)
    holes = x.copy()
    holes[::7] = np.nan
    result = ex.fit(holes, hmm, missing=True)
    assert np.isfinite(float(result.log_likelihood))


def test_bad_calls_are_named():
    x, model = problem()
    components = ex.UnivariateGaussian(model.means, model.variances)
    hmm = ex.HMM(model.initial, model.transitions, components)
    mixture = ex.Mixture(model.initial, components)
    for function in (ex.expected_statistics, ex.fit):
        with pytest.raises(TypeError, match="lengths are given with a Mixture"):
            function(x, mixture, lengths=[200])
    with pytest.raises(TypeError, match="prior_counts are for an HMM"):
        ex.fit(x, mixture, prior_counts=1.0)
    with pytest.raises(ValueError, match=r"prior_counts is -1\.0"):
        ex.fit(x, hmm, prior_counts=-1.0)
    each = hmm._replace(transitions=np.broadcast_to(model.transitions, (200, 3, 3)))
    with pytest.raises(ValueError, match=r"transitions has shape \(n, k, k\), one matrix for each"):
        ex.fit(x, each)
    with pytest.raises(ValueError, match="no rows"):
        ex.fit(x[:0], hmm)
    with pytest.raises(ValueError, match="at least one sequence must have a positive weight"):
        ex.fit(x, hmm, sample_weight=[0.0])
    impossible = ex.HMM([1.0, 0.0, 0.0], np.eye(3), ex.Poisson([0.0, 1.0, 2.0]))
    with pytest.raises(ValueError, match="the first is sequence 0, at row 1 of x"):
        ex.expected_statistics([0.0, 3.0, 1.0], impossible)
    with pytest.raises(TypeError, match="statistics are of an HMM, which recenter"):
        ex.recenter(ex.expected_statistics(x, hmm), mixture)


def test_the_fixed_point_is_hmmlearn_s():
    """From the same start; without the priors that hmmlearn adds by default."""
    hmmlearn = pytest.importorskip("hmmlearn.hmm")
    rng = np.random.default_rng(0)
    truth = ex.HMM(
        [0.5, 0.5],
        [[0.9, 0.1], [0.3, 0.7]],
        ex.FullGaussian.from_covariances([[0.0, 0.0], [2.0, 1.0]], [np.eye(2), 0.5 * np.eye(2)]),
    )
    x = ex.sample(truth, 300, seed=rng).x
    components = ex.FullGaussian.from_covariances([[0.5, 0.0], [1.5, 1.0]], [np.eye(2)] * 2)
    start = ex.HMM(np.array([0.5, 0.5]), np.array([[0.6, 0.4], [0.5, 0.5]]), components)
    priors = {"min_covar": 0.0, "covars_prior": 0.0, "covars_weight": 0.0}
    model = hmmlearn.GaussianHMM(2, "full", n_iter=2000, tol=1e-10, init_params="", **priors)
    model.startprob_, model.transmat_ = start.initial, start.transitions
    model.means_, model.covars_ = components.means, components.covariances
    lengths = [100, 200]
    model.fit(x, lengths)
    result = ex.fit(x, start, lengths=lengths, tol=1e-13, max_iter=2000, variance_floor=0.0)
    hmm = result.mixture
    for ours, theirs in (
        (result.log_likelihood, model.score(x, lengths)),
        (hmm.initial, model.startprob_),
        (hmm.transitions, model.transmat_),
        (hmm.components.means, model.means_),
        (hmm.components.covariances, model.covars_),
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
