"""Derivatives of the log-likelihood of chains, by Fisher's identity, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

import estep_xp as ex
from tests import chain_oracle

jax = pytest.importorskip("jax")
jnp = jax.numpy

LENGTHS = np.array([5, 1, 6])


def model(zeros, seed=0, k=3):
    rng = np.random.default_rng(seed)
    initial, transitions = rng.random(k), rng.random((k, k))
    if zeros:
        initial[1] = 0.0
        transitions[0, 1] = 0.0
        transitions[2] = [0.0, 0.0, 1.0]
    components = ex.UnivariateGaussian(*map(jnp.asarray, (rng.normal(size=k), rng.random(k) + 0.5)))
    hmm = ex.HMM(jnp.asarray(initial), jnp.asarray(transitions), components)
    return jnp.asarray(rng.normal(size=LENGTHS.sum()) * 2), hmm


def slopes(x, hmm, weights):
    """Derivatives by log-densities, and by initial and transitions before they are normalised."""
    log_prob = np.asarray(hmm.components.log_prob(x))
    initial, transitions = np.asarray(hmm.initial), np.asarray(hmm.transitions)
    by_rows, by_transitions, by_initial = [], 0.0, 0.0
    pieces = chain_oracle.split(LENGTHS, log_prob)
    for (b,), weight in zip(pieces, weights, strict=True):
        one = chain_oracle.smooth(b, initial, transitions)
        by_rows.append(weight * one.responsibilities)
        by_transitions = by_transitions + weight * one.slopes
        # p(x) is linear in the initial probabilities.
        of_state = [chain_oracle.smooth(b, row, transitions).log_likelihood for row in np.eye(3)]
        by_initial = by_initial + weight * np.exp(np.array(of_state) - one.log_likelihood)
    a = transitions / transitions.sum(axis=1, keepdims=True)
    p = initial / initial.sum()
    through_rows = by_transitions - (by_transitions * a).sum(axis=1, keepdims=True)
    return (
        np.concatenate(by_rows),
        (by_initial - (by_initial * p).sum()) / initial.sum(),
        through_rows / transitions.sum(axis=1, keepdims=True),
    )


@pytest.mark.parametrize("zeros", [False, True])
def test_gradients_are_fisher_s_identity(zeros):
    x, hmm = model(zeros)
    weights = np.array([1.0, 0.5, 2.0])

    def total(x, hmm, weights):
        return ex.log_likelihood(x, hmm, lengths=LENGTHS, sample_weight=weights)

    by_x, by_hmm, by_weights = jax.grad(total, argnums=(0, 1, 2))(x, hmm, jnp.asarray(weights))
    by_rows, by_initial, by_transitions = slopes(x, hmm, weights)
    means, variances = map(np.asarray, hmm.components)
    z = np.asarray(x)[:, None] - means
    tolerance = {"rtol": 1e-11, "atol": 1e-12}
    np.testing.assert_allclose(by_x, (by_rows * -z / variances).sum(axis=1), **tolerance)
    np.testing.assert_allclose(
        by_hmm.components.means, (by_rows * z / variances).sum(axis=0), **tolerance
    )
    np.testing.assert_allclose(by_hmm.initial, by_initial, **tolerance)
    np.testing.assert_allclose(by_hmm.transitions, by_transitions, **tolerance)
    np.testing.assert_allclose(by_weights, ex.log_density(x, hmm, lengths=LENGTHS), rtol=1e-13)


def test_a_sequence_of_weight_0_counts_for_nothing_whatever_it_holds():
    x, hmm = model(zeros=False)
    holes = x.at[5].set(jnp.nan)
    weights = jnp.asarray([1.0, 0.0, 2.0])

    def total(x, hmm):
        return ex.log_likelihood(x, hmm, lengths=LENGTHS, sample_weight=weights)

    value, slopes = jax.value_and_grad(total, argnums=(0, 1))(holes, hmm)
    wanted, expected = jax.value_and_grad(total, argnums=(0, 1))(x, hmm)
    assert float(value) == float(wanted)
    for one, other in zip(jax.tree.leaves(slopes), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(one, other)


def test_matrices_of_rows_have_derivatives_of_their_own():
    x, hmm = model(zeros=False)
    n = x.shape[0]
    each = hmm._replace(transitions=jnp.broadcast_to(hmm.transitions, (n, 3, 3)))

    def total(hmm):
        return ex.log_likelihood(x, hmm, lengths=LENGTHS)

    by_rows, by_all = jax.grad(total)(each).transitions, jax.grad(total)(hmm).transitions
    np.testing.assert_allclose(by_rows.sum(axis=0), by_all, rtol=1e-11, atol=1e-13)
    assert (np.asarray(by_rows)[[0, 5, 6]] == 0).all()


def test_hessian_is_the_difference_of_gradients():
    x, hmm = model(zeros=True)
    x = x[:4]

    def slope(means):
        components = hmm.components._replace(means=means)
        return ex.log_likelihood(x, hmm._replace(components=components))

    means, step = hmm.components.means, 1e-5
    gradient = jax.jit(jax.grad(slope))
    differences = [
        (gradient(means + step * e) - gradient(means - step * e)) / (2 * step) for e in jnp.eye(3)
    ]
    np.testing.assert_allclose(jax.hessian(slope)(means), differences, rtol=1e-7, atol=1e-8)


def test_vmap_over_sequences_and_over_models():
    x, hmm = model(zeros=False)
    batch = jnp.stack([x, x + 0.5])
    values = jax.vmap(ex.log_likelihood, in_axes=(0, None))(batch, hmm)
    single = [float(ex.log_likelihood(row, hmm)) for row in batch]
    np.testing.assert_allclose(values, single, rtol=1e-13)
    other = hmm._replace(transitions=hmm.transitions.at[0, 1].set(0.0))
    models = jax.tree.map(lambda *leaves: jnp.stack(leaves), hmm, other)
    steps = jax.vmap(ex.e_step, in_axes=(None, 0))(x, models)
    for i, one in enumerate((hmm, other)):
        np.testing.assert_allclose(
            steps.responsibilities[i], ex.e_step(x, one).responsibilities, rtol=1e-11, atol=1e-14
        )


def test_holes_under_jit_and_in_gradients():
    """What was not observed says nothing; the rest is as in an eager call, and has slopes."""
    x = np.asarray([0.0, 1.0, np.nan, 2.0, 0.0])
    components = ex.UnivariateGaussian([0.0, 2.0], [1.0, 1.0])
    numpy = ex.HMM([0.3, 0.7], [[0.9, 0.1], [0.2, 0.8]], components)
    hmm = jax.tree.map(jnp.asarray, numpy)

    def total(x, hmm):
        return ex.log_likelihood(x, hmm, missing=True)

    value, (by_x, by_hmm) = jax.jit(jax.value_and_grad(total, argnums=(0, 1)))(jnp.asarray(x), hmm)
    np.testing.assert_allclose(value, ex.log_likelihood(x, numpy, missing=True), rtol=1e-13)
    assert by_x[2] == 0.0
    step = 1e-6 * np.eye(5)[[0, 1, 3, 4]]
    differences = [total(x + h, numpy) - total(x - h, numpy) for h in step]
    np.testing.assert_allclose(
        by_x[np.asarray([0, 1, 3, 4])], np.divide(differences, 2e-6), atol=1e-8
    )
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(by_hmm))
