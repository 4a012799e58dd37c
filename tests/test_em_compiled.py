"""EM in JAX: compiled, in batches, and its derivatives."""

from __future__ import annotations

import numpy as np
import pytest

import estep_xp as ex
from tests import em_oracle
from tests.fits import (
    NUMPY,
    N,
    assert_same_fit,
    cut_short,
    fit,
    in_numpy,
    jax_only,
    narrow,
    one_program,
    two_families,
)
from tests.records import FULL, UNIVARIATE, every_family, few_on_jax, parametrize, problem

# Compiled

COMPILED = {"tol": 1e-3, "max_iter": 60, "variance_floor": 0.01}


@few_on_jax
@pytest.mark.backends("jax_jit")
@one_program
@every_family
@pytest.mark.parametrize("accelerate", [False, True])
def test_jit_is_the_same_as_without(backend, record, accelerate):
    """The same iterations and numbers; the history is padded with NaN."""
    case = problem(record, n=N)
    result = fit(backend, case, **COMPILED, accelerate=accelerate)
    expected = fit(NUMPY, case, **COMPILED, accelerate=accelerate)
    assert expected.converged
    # A column of kinds is fitted by any components that add up: EM ends with its first step.
    least = 1 if record.name == "categorical" else 2
    assert least < expected.n_iter < COMPILED["max_iter"]
    assert result.history.shape == (COMPILED["max_iter"],)
    assert np.isnan(result.history[expected.n_iter :]).all()
    assert_same_fit(in_numpy(backend, result), expected, rtol=1e-9)
    for array in (result.n_iter, result.converged):
        backend.assert_native(array)


@pytest.mark.one_program("record", "accelerate")  # see conftest.py
@pytest.mark.backends("jax_jit")
@two_families
@pytest.mark.parametrize("accelerate", [False, True])
def test_nan_never_converges(backend, record, accelerate):
    """Under jit nobody can raise; nor may anybody mistake it for a fit."""
    case = problem(record, n=N)
    x = case.x.copy()
    x[3] = np.nan
    result = fit(backend, case._replace(x=x), **COMPILED, accelerate=accelerate)
    assert not bool(result.converged)
    assert np.isnan(result.log_likelihood)
    assert np.isnan(result.history).all()


@few_on_jax
@jax_only
@one_program
@every_family
@pytest.mark.parametrize("accelerate", [False, True])
def test_eager_jax_is_the_same_as_numpy(backend, record, accelerate):
    case = problem(record, n=N)
    result = fit(backend, case, **COMPILED, accelerate=accelerate)
    assert isinstance(result.n_iter, int)
    assert isinstance(result.converged, bool)
    expected = fit(NUMPY, case, **COMPILED, accelerate=accelerate)
    assert_same_fit(in_numpy(backend, result), expected, rtol=1e-9)


@narrow
@jax_only
@parametrize(FULL)
def test_vmap_over_mixtures(backend, record):
    """Each stops when it is done, as if alone, though the batch goes on."""
    import jax
    import jax.numpy as jnp

    case = problem(record, n=N)
    starts = [problem(record, seed=seed, n=N)._replace(x=case.x) for seed in (1, 2, 3)]
    mixtures = jax.tree.map(lambda *a: jnp.stack(a), *(one.mixture(backend) for one in starts))
    results = jax.jit(
        jax.vmap(lambda x, mixture: ex.fit(x, mixture, **COMPILED), in_axes=(None, 0))
    )(backend.data(case.x), mixtures)
    alone = [fit(NUMPY, one, **COMPILED) for one in starts]
    assert len({one.n_iter for one in alone}) > 1
    for i, expected in enumerate(alone):
        one = jax.tree.map(lambda a, i=i: a[i], results)
        assert_same_fit(in_numpy(backend, one), expected, rtol=1e-9)


@narrow
@jax_only
@parametrize(UNIVARIATE)
def test_vmap_over_padded_data_sets(backend, record):
    """Data sets of 30, 20 and 25 rows in one call, padded with NaN of weight 0."""
    import jax
    import jax.numpy as jnp

    lengths = (30, 20, 25)
    cases = [problem(record, seed=seed, n=N) for seed in (1, 2, 3)]
    start = cases[0].mixture(backend)
    padded = [case.x.copy() for case in cases]
    weights = []
    for x, length in zip(padded, lengths, strict=True):
        x[length:] = np.nan
        weights.append(np.where(np.arange(N) < length, 1.0, 0.0))

    def one(x, sample_weight, mixture):
        return ex.fit(x, mixture, sample_weight=sample_weight, **COMPILED)

    results = jax.jit(jax.vmap(one, in_axes=(0, 0, None)))(
        *(jnp.stack([backend.data(a) for a in batch]) for batch in (padded, weights)), start
    )
    for i, (case, length) in enumerate(zip(cases, lengths, strict=True)):
        alone = fit(NUMPY, cases[0]._replace(x=case.x[:length]), **COMPILED)
        result = jax.tree.map(lambda a, i=i: a[i], results)
        assert_same_fit(in_numpy(backend, result), alone, rtol=1e-9)


@pytest.mark.backends("jax_jit")
def test_a_compiled_result_is_a_pytree_of_arrays(backend):
    """In float32, too, and against plain EM in NumPy."""
    import jax

    case = problem(FULL, dtype="float32", n=N)
    result = fit(backend, case, "float32", max_iter=4, tol=0.0, variance_floor=0.01)
    _, heights = em_oracle.em(case, 4, floor=0.01)
    np.testing.assert_allclose(result.history, heights, rtol=1e-4)
    for array in (result.log_likelihood, result.history, *result.mixture.components):
        backend.assert_like(array, "float32")
    leaves, structure = jax.tree.flatten(result)
    assert len(leaves) == 3 + 4 + 8  # the mixture, how the fit went, and statistics
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)
    assert type(jax.tree.unflatten(structure, leaves)) is ex.EMResult


@jax_only
def test_tolerance_and_floor_may_be_traced(backend):
    """A batch of floors in one call."""
    import jax
    import jax.numpy as jnp

    case = problem(UNIVARIATE, n=N)
    x, mixture = backend.data(case.x), case.mixture(backend)

    def one(tol, floor):
        return ex.fit(x, mixture, tol=tol, variance_floor=floor, max_iter=40)

    tols, floors = (1e-3, 1e-4), (0.1, 0.01)
    results = jax.jit(jax.vmap(one))(jnp.asarray(tols), jnp.asarray(floors))
    for i, (tol, floor) in enumerate(zip(tols, floors, strict=True)):
        result = jax.tree.map(lambda a, i=i: a[i], results)
        expected = fit(NUMPY, case, tol=tol, variance_floor=floor, max_iter=40)
        assert_same_fit(in_numpy(backend, result), expected, rtol=1e-9)


# Derivatives


def fitted_height(family, max_iter, **options):
    def height(x, weights, first, second):
        mixture = ex.Mixture(weights, family(first, second))
        return ex.fit(x, mixture, max_iter=max_iter, **options).log_likelihood

    return height


@jax_only
@pytest.mark.parametrize(
    ("record", "accelerate"),
    [(UNIVARIATE, True), (FULL, False)],
    ids=["univariate, accelerated", "full"],
)
def test_a_fit_has_derivatives(backend, record, accelerate):
    """Those of its iterations, one after the other, against central differences."""
    import jax

    case = problem(record, n=N)
    arrays = case.arrays(backend)
    height = fitted_height(record.family, 5, accelerate=accelerate, tol=0.0)
    slopes = jax.jit(jax.grad(height, argnums=(0, 1, 2, 3)))(*arrays)
    plain = jax.jit(height)
    for position, (array, slope) in enumerate(zip(arrays, slopes, strict=True)):
        index = (0,) * array.ndim
        ends = []
        for step in (1e-5, -1e-5):
            moved = list(arrays)
            moved[position] = array.at[index].add(step)
            ends.append(float(plain(*moved)))
        np.testing.assert_allclose(slope[index], (ends[0] - ends[1]) / 2e-5, rtol=1e-5, atol=1e-6)


@jax_only
def test_a_fit_that_stops_early_has_the_derivative_of_its_iterations(backend):
    import jax

    case = problem(UNIVARIATE, n=N)
    arrays = case.arrays(backend)
    result = ex.fit(arrays[0], case.mixture(backend), tol=1e-3)
    assert result.converged
    stopped = jax.grad(fitted_height(case.record.family, 100, tol=1e-3))(*arrays)
    counted = jax.grad(fitted_height(case.record.family, result.n_iter, tol=0.0))(*arrays)
    np.testing.assert_allclose(stopped, counted, rtol=1e-9)


@cut_short
@narrow
@jax_only
def test_settings_may_be_traced_beside_concrete_rows(backend):
    import jax
    import jax.numpy as jnp

    case = problem(UNIVARIATE, n=N)
    x, mixture = backend.data(case.x), case.mixture(backend)
    tols = [1e-2, 1e-6]
    counts = jax.vmap(lambda tol: ex.fit(x, mixture, tol=tol).n_iter)(jnp.asarray(tols))
    assert counts.tolist() == [ex.fit(x, mixture, tol=tol).n_iter for tol in tols]

    def by_floor(floor):
        return ex.fit(x, mixture, max_iter=3, tol=0.0, variance_floor=floor).log_likelihood

    _, slope = jax.jvp(by_floor, (0.1,), (1.0,))
    difference = float(by_floor(0.1 + 1e-5) - by_floor(0.1 - 1e-5)) / 2e-5
    np.testing.assert_allclose(slope, difference, rtol=1e-5)
