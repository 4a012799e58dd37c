"""Compensated sums: as exact as one rounding allows, also where a compiler could undo them."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estep_xp.arrays.namespace import namespace_of
from estep_xp.arrays.summation import Sum

LAW = settings(derandomize=True, database=None, deadline=None, max_examples=100)

MANY = np.full(1 << 16, -0.9189385, np.float32)


def added(terms):
    """Add arrays one after the other."""
    xp = namespace_of(terms[0])
    return functools.reduce(Sum.add, terms[1:], Sum.of(xp, terms[0])).value(xp)


def exact(terms, dtype):
    """Return the exact sum, and how far a compensated one may be off.

    One rounding, and the square of those of a plain sum (Ogita, Rump and Oishi 2005, prop. 4.5).
    """
    total, rounding = math.fsum(terms), float(np.finfo(dtype).eps) / 2
    return total, rounding * abs(total) + (len(terms) * rounding) ** 2 * math.fsum(map(abs, terms))


def floats(width):
    # So large and so small that nothing overflows, nor is lost below the normal numbers.
    size = 2.0**90
    return st.floats(-size, size, width=width).map(lambda t: t if abs(t) > 1e-20 else 0.0)


@LAW
@given(st.sampled_from([32, 64]).flatmap(lambda w: st.tuples(st.just(w), st.lists(floats(w)))))
def test_sums_of_anything(drawn):
    width, terms = drawn
    dtype = np.dtype(f"float{width}")
    expected, error = exact([0.0, *terms], dtype)
    actual = added([np.asarray(t, dtype) for t in (0.0, *terms)])
    assert actual.dtype == dtype
    assert abs(float(actual) - expected) <= error


def test_many_equal_terms_in_float32():
    """A plain float32 sum of these is wrong in its fourth digit."""
    total = math.fsum(MANY.tolist())
    assert abs(float(np.add.accumulate(MANY)[-1]) / total - 1) > 1e-4
    assert abs(float(added(list(MANY))) / total - 1) < 1e-6


def test_joining_keeps_what_both_parts_have_lost():
    parts = [
        functools.reduce(Sum.add, part, Sum.of(np, part[0] * 0)) for part in MANY.reshape(64, -1)
    ]
    joined = functools.reduce(Sum.merge, parts)
    assert abs(float(joined.value(np)) / math.fsum(MANY.tolist()) - 1) < 1e-7
    groups = Sum(*map(np.asarray, zip(*parts, strict=True))).sum_groups(np)
    assert abs(float(groups.value(np)) / math.fsum(MANY.tolist()) - 1) < 1e-7


@LAW
@given(st.lists(floats(32), min_size=2), st.data())
def test_joining_parts_is_adding_their_terms(terms, data):
    """The terms may be cut anywhere, and the parts joined in any order."""
    arrays = [np.float32(t) for t in terms]
    cuts = data.draw(st.lists(st.integers(1, len(terms) - 1), unique=True, max_size=4))
    edges = [0, *sorted(cuts), len(terms)]
    parts = [
        functools.reduce(Sum.add, arrays[a + 1 : b], Sum.of(np, arrays[a]))
        for a, b in itertools.pairwise(edges)
    ]
    joined = functools.reduce(Sum.merge, data.draw(st.permutations(parts)))
    expected, error = exact(terms, np.float32)
    assert abs(float(joined.value(np)) - expected) <= error


@pytest.mark.parametrize(
    ("terms", "total"),
    [
        ([1.0, -np.inf, 2.0], -np.inf),
        ([np.inf, 1.0], np.inf),
        ([-np.inf, -np.inf], -np.inf),
        ([1.0, np.nan, 2.0], np.nan),
        ([-np.inf, 1.0, np.inf], np.nan),
    ],
)
def test_infinite_terms_stay_infinite(terms, total):
    """What is lost from an infinite sum is no number, and must not become the sum."""
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(added([np.float64(t) for t in terms]), total)


@pytest.mark.backends("numpy", "numpy_readonly", "array_api_strict", "jax", "jax_jit", "torch")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_library_keeps_what_is_lost(backend, dtype):
    """Half an eps at a time never moves a plain sum."""
    small = float(np.finfo(dtype).eps) / 2
    terms = [backend.asarray([1.0, 0.0, -1.0], dtype), *[backend.asarray([small] * 3, dtype)] * 8]
    actual = backend.call(_summed, *terms)
    backend.assert_like(actual, dtype)
    expected = np.asarray([1 + 8 * small, 8 * small, -1 + 8 * small], dtype)
    np.testing.assert_array_equal(backend.to_numpy(actual), expected)


def _summed(*terms):
    return added(terms)


@pytest.mark.backends("jax")
def test_a_compiled_loop_keeps_what_is_lost(backend):
    """XLA may rearrange what it compiles, but not this."""
    import jax
    import jax.numpy as jnp

    @jax.jit
    def total(terms):
        def body(so_far, term):
            return so_far.add(term), None

        return jax.lax.scan(body, Sum.of(jnp, terms[0]), terms[1:])[0].value(jnp)

    expected = math.fsum(MANY.tolist())
    assert abs(float(total(backend.asarray(MANY))) / expected - 1) < 1e-6


@pytest.mark.backends("jax", "torch")
def test_the_derivative_is_that_of_a_plain_sum(backend):
    terms = backend.asarray([1e8, 1.0, -1e8, 1e-8])
    if backend.name == "torch":
        terms.requires_grad_(True)
        added(list(terms)).backward()
        derivative = terms.grad
    else:
        import jax

        derivative = jax.grad(lambda terms: added(list(terms)))(terms)
    np.testing.assert_array_equal(backend.to_numpy(derivative), np.ones(4))
