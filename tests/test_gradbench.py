"""GradBench's objective, twice: as its text has it, in 50 digits, and as JAX users write it."""

from __future__ import annotations

import functools

import mpmath
import numpy as np
import pytest

from tests.scripts import imported, needs_jax, run


def gradbench_exactly(alphas, means, icf, x, gamma, m):
    """The objective by its definition, of lists of mpmath numbers."""
    d, k, n = len(means[0]), len(means), len(x)

    def logarithm_of_sum(terms):
        return mpmath.log(sum(map(mpmath.exp, terms)))

    total = -n * d * mpmath.log(2 * mpmath.pi) / 2 - n * logarithm_of_sum(alphas)
    for row in x:
        terms = []
        for alpha, mean, numbers in zip(alphas, means, icf, strict=True):
            below = iter(numbers[d:])
            centred = [a - b for a, b in zip(row, mean, strict=True)]
            product = [mpmath.exp(q) * c for q, c in zip(numbers, centred, strict=False)]
            for column in range(d):
                for i in range(column + 1, d):
                    product[i] += next(below) * centred[column]
            terms.append(alpha + sum(numbers[:d]) - sum(p * p for p in product) / 2)
        total += logarithm_of_sum(terms)

    degrees = d + m + 1
    constant = degrees * d * mpmath.log(gamma / mpmath.sqrt(2))
    constant -= d * (d - 1) * mpmath.log(mpmath.pi) / 4
    constant -= sum(mpmath.loggamma(mpmath.mpf(degrees - j) / 2) for j in range(d))
    for numbers in icf:
        squares = [mpmath.exp(2 * q) for q in numbers[:d]] + [b * b for b in numbers[d:]]
        total += m * sum(numbers[:d]) - mpmath.mpf(gamma) ** 2 / 2 * sum(squares)
    return total + k * constant


def gradbench_plainly(alphas, means, icf, x, gamma, m):
    """The objective in the formulas that JAX's users write."""
    import jax.numpy as jnp
    from jax.scipy import special

    (n, d), k = x.shape, len(alphas)
    q, below = icf[:, :d], icf[:, d:]
    columns, rows = np.triu_indices(d, 1)
    factors = jnp.zeros((k, d, d)).at[:, rows, columns].set(below) + jnp.exp(q)[:, None] * np.eye(d)
    product = jnp.einsum("kij,nkj->nki", factors, x[:, None] - means)
    terms = alphas + q.sum(axis=1) - 0.5 * (product**2).sum(axis=2)
    constant = (d + m + 1) * d * jnp.log(gamma / jnp.sqrt(2.0))
    constant -= special.multigammaln(0.5 * (d + m + 1), d)
    prior = k * constant - 0.5 * gamma**2 * (factors**2).sum() + m * q.sum()
    sums = special.logsumexp(terms, axis=1).sum() - n * special.logsumexp(alphas)
    return sums - 0.5 * n * d * jnp.log(2 * jnp.pi) + prior


def gradbench_arguments(d: int, k: int, n: int, *, ill: bool) -> list[np.ndarray]:
    """Normal and uniform numbers; if ill, precision matrices of condition number 1e16."""
    random = np.random.default_rng([d, k, n])
    icf = random.standard_normal((k, d * (d + 1) // 2))
    if ill:
        icf[:, :d], icf[:, d:] = np.linspace(-9.21, 9.21, d), 0.1 * icf[:, d:]
        factors = np.zeros((k, d, d))
        factors[:, *np.tril_indices(d, -1)] = icf[:, d:]  # in whatever order: it is small
        factors += np.exp(icf[:, :d])[:, None] * np.eye(d)
        assert (np.linalg.cond(factors) > 0.9e8).all()  # its square is the precisions'
    return [
        random.standard_normal(k),
        random.random((k, d)),
        icf,
        random.standard_normal((n, d)),
    ]


def assert_gradients_agree(actual, expected):
    """Each number within 1e-9 of itself, or of a millionth of the largest beside it."""
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-15 * np.abs(other).max())


@functools.cache
def value_and_gradient_of(function):
    import jax

    return jax.jit(jax.value_and_grad(function, argnums=(0, 1, 2)))


@needs_jax
@pytest.mark.parametrize("ill", [False, True])
def test_gradbench_gmm_in_50_digits(ill):
    arguments = gradbench_arguments(d=3, k=3, n=6, ill=ill)
    differentiated = value_and_gradient_of(imported("gradbench_gmm").objective)
    value, gradient = differentiated(*arguments, 1.5, 2)

    with mpmath.workdps(50):
        shapes = [array.shape for array in arguments]
        flat = [mpmath.mpf(number) for array in arguments for number in array.ravel().tolist()]

        def of_flat(flat):
            found = iter(flat)
            vector, *matrices = (
                np.asarray([next(found) for _ in range(np.prod(shape))], object).reshape(shape)
                for shape in shapes
            )
            lists = [vector.tolist(), *(matrix.tolist() for matrix in matrices)]
            return gradbench_exactly(*lists, 1.5, 2)

        h = mpmath.mpf(10) ** -15

        def slope(i):
            ends = [of_flat([*flat[:i], flat[i] + step, *flat[i + 1 :]]) for step in (h, -h)]
            return (ends[0] - ends[1]) / (2 * h)

        free = sum(array.size for array in arguments[:3])
        slopes = np.asarray([float(slope(i)) for i in range(free)])
        assert float(value) == pytest.approx(float(of_flat(flat)), rel=1e-13)
    ends = np.cumsum([array.size for array in arguments[:2]])
    expected = [
        part.reshape(shape) for part, shape in zip(np.split(slopes, ends), shapes, strict=False)
    ]
    assert_gradients_agree(gradient, expected)


@needs_jax
@pytest.mark.parametrize(("d", "k"), [(2, 5), (12, 7)])
@pytest.mark.parametrize("ill", [False, True])
def test_gradbench_gmm_beside_plain_autodiff(d, k, ill):
    arguments = gradbench_arguments(d, k, 1000, ill=ill)
    functions = imported("gradbench_gmm").objective, gradbench_plainly
    ours, plain = (value_and_gradient_of(function)(*arguments, 1.0, 0) for function in functions)
    assert float(ours[0]) == pytest.approx(float(plain[0]), rel=1e-9)
    assert_gradients_agree(ours[1], plain[1])


@needs_jax
def test_gradbench_gmm(tmp_path):
    lines = run("gradbench_gmm.py", tmp_path, "2x5")
    script = imported("gradbench_gmm")
    *size, value, plain, with_gradient, ratio = map(float, lines[1].split())
    assert size == [2, 5]
    expected, _ = value_and_gradient_of(gradbench_plainly)(*script.instance(2, 5), 1.0, 0)
    assert value == pytest.approx(float(expected), abs=1e-5)
    assert ratio == pytest.approx(with_gradient / plain, rel=0.05)
    assert len(lines) == 2 + len(script.PUBLISHED)
