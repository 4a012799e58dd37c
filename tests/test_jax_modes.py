"""JAX's strict and debugging modes: the same results as without them."""

from __future__ import annotations

import numpy as np
import pytest

import estep_xp as ex
from tests.records import FULL, GAUSSIANS, UNIVARIATE, few_on_jax, gaussians_only, problem

jax_only = pytest.mark.backends("jax")


def everything(x, seed, record):
    """Compute all that there is of rows, parameters and statistics."""
    import jax
    import jax.numpy as jnp

    start = ex.initialize(x, 2, record.family, seed=seed)
    halves = jnp.reshape(x, (2, -1, *x.shape[1:]))
    ones = jnp.ones(x.shape[0])
    zero = start._replace(weights=jnp.asarray([1.0, 0.0]))
    statistics = ex.expected_statistics(x, start, sample_weight=ones.at[0].set(0.0))
    step = ex.e_step(x, zero)
    return (
        start,
        step,
        step.entropy,
        ex.log_joint(x, start),
        start.components.log_prob(x),
        start.components.covariances,
        ex.posterior(jnp.zeros((4, 2)), zero.weights),
        jax.value_and_grad(ex.log_likelihood, argnums=(0, 1))(x, start, sample_weight=ones),
        jax.grad(lambda m: ex.e_step(x, m).total_log_likelihood)(zero),
        jax.vmap(ex.log_likelihood, in_axes=(0, None))(halves, start),
        ex.m_step(ex.merge(statistics, statistics)),
        ex.fit(x, start, max_iter=4, accelerate=True, sample_weight=ones).mixture,
    )


def compare(actual, expected):
    import jax

    for one, other in zip(*map(jax.tree.leaves, (actual, expected)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


@jax_only
@pytest.mark.parametrize(  # few rows, and enough for other forms of densities
    ("record", "n"),
    [*((record, 1200) for record in GAUSSIANS), (UNIVARIATE, 12), (FULL, 12)],
    ids=lambda a: getattr(a, "name", str(a)),
)
def test_no_promotion_of_ranks(backend, record, n):
    """JAX raises as it traces, so that nothing need be compiled."""
    import jax

    x = backend.asarray(problem(record, n=n).x)
    with jax.numpy_rank_promotion("raise"):
        jax.eval_shape(lambda x: everything(x, 0, record), x)


@jax_only
def test_initialize_without_promotion_of_ranks(backend):
    import jax

    x = backend.asarray(problem(FULL, n=12).x)
    expected = ex.initialize(x, 2, ex.FullGaussian, seed=0)
    with jax.numpy_rank_promotion("raise"):
        compare(ex.initialize(x, 2, ex.FullGaussian, seed=0), expected)


@jax_only
@pytest.mark.parametrize("name", ["tied", "full"])
def test_from_covariances_without_promotion_of_ranks(backend, name):
    import jax

    record = next(record for record in GAUSSIANS if record.name == name)
    make = getattr(record.family, "from_covariance" if name == "tied" else "from_covariances")
    params = problem(record).params
    means, covariances = (backend.asarray(a) for a in (params["means"], record.covariances(params)))
    with jax.numpy_rank_promotion("raise"):
        made = make(means, covariances)
    np.testing.assert_allclose(made.covariances, covariances, rtol=1e-12)


@jax_only
def test_the_functions_of_jax_without_promotion_of_ranks(backend):
    import jax

    import estep_xp.jax as ej

    case = problem(FULL, n=12)
    x, mixture = backend.asarray(case.x), case.mixture(backend)
    with jax.numpy_rank_promotion("raise"):
        for function in (ej.scores, ej.standard_errors, lambda x, m: ej.fit(x, m, max_iter=3)):
            jax.eval_shape(function, x, mixture)
        jax.eval_shape(lambda m: (ej.constrain(ej.unconstrain(m)), ej.em_step(m, x)), mixture)


@jax_only
@pytest.mark.parametrize("derivative", [False, True])
def test_a_compiled_fit_while_jax_looks_for_nan(backend, derivative):
    """Then no NaN stands for the steps that were not taken, but the last total goes on."""
    import jax

    case = problem(UNIVARIATE, n=12)
    x, mixture = backend.asarray(case.x), case.mixture(backend)

    def total(mixture):
        result = ex.fit(x, mixture, tol=1e-2, max_iter=50)
        return result.log_likelihood, result

    def history_of():
        # Compiled anew each time: JAX does not compile again for this mode alone.
        function = jax.value_and_grad(total, has_aux=True) if derivative else total
        results = jax.tree.leaves(jax.jit(lambda mixture: function(mixture))(mixture))
        return next(np.asarray(a) for a in results if a.shape == (50,))

    before = history_of()
    with jax.debug_nans(True):
        history = history_of()
    n_iter = int(np.isfinite(before).sum())
    assert 0 < n_iter < 50
    np.testing.assert_array_equal(history[:n_iter], before[:n_iter])
    np.testing.assert_array_equal(history[n_iter:], np.full(50 - n_iter, before[n_iter - 1]))


@few_on_jax
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # four iterations are enough
@jax_only
@gaussians_only
def test_results_while_jax_looks_for_nan(backend, record):
    """What a choice did not take, and what is thrown away, may hold NaN; results do not."""
    import jax

    x = backend.asarray(problem(record, n=12).x)
    with jax.debug_nans(True):
        found = everything(x, 0, record)
    compare(found, everything(x, 0, record))
