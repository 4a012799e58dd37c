"""Counts and binary features as a product of matrices: as exact as a sum of terms, or not used."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

import estep_xp as ex

LARGEST = {"poisson": (0.1, 1.0, 8.0, 300.0), "bernoulli": (1e-12, 0.05, 0.5)}
SIZES = [(name, size) for name, sizes in LARGEST.items() for size in sizes]


def problem(name: str, size: float, d: int):
    rng = np.random.default_rng(d)
    if name == "poisson":
        rates = size * rng.uniform(0.1, 1.0, (3, d))
        return ex.Poisson(rates), rng.poisson(rates[rng.integers(3, size=40)]).astype(float)
    p = rng.uniform(size, 1.0 - size, (3, d))
    p[0, ::2] = size
    return ex.Bernoulli(p), (rng.random((40, d)) < 0.5).astype(float)


def terms(name: str, parameter: float, x: float) -> list[mpmath.mpf]:
    parameter, x = mpmath.mpf(parameter), mpmath.mpf(x)
    if name == "poisson":
        return [x * mpmath.log(parameter), -parameter, -mpmath.loggamma(x + 1)]
    return [mpmath.log(parameter if x else 1 - parameter)]


@pytest.mark.parametrize("d", [1, 8, 9, 70])
@pytest.mark.parametrize(("name", "size"), SIZES)
def test_density_to_50_digits(name, size, d):
    """Within 16 eps (1 + T), or 1e-12, whichever form served."""
    components, x = problem(name, size, d)
    actual = components.log_prob(x)
    with mpmath.workdps(50):
        for i in range(0, len(x), 8):
            for k, own in enumerate(components[0]):
                found = [t for j in range(d) for t in terms(name, own[j], x[i, j])]
                exact = mpmath.fsum(found)
                bound = max(16 * 2.0**-52 * (1 + float(max(map(abs, found)))), 1e-12)
                assert abs(mpmath.mpf(actual[i, k]) - exact) <= bound


@pytest.mark.parametrize("name", LARGEST)
def test_the_form_serves_plain_tables_and_no_others(name):
    components, x = problem(name, LARGEST[name][1], 9)
    form = components._linear_form(x)
    assert form.log_densities(x) is not None
    assert form._replace(size=1e9 * form.size).log_densities(x) is None
    (parameters,) = components
    edge = parameters.copy()
    edge[1, 2] = 0.0  # whose logarithm is infinite
    assert type(components)(edge)._linear_form(x) is None
    assert type(components)(parameters.astype(np.float32))._linear_form(x) is None
    bad = x.copy()
    bad[3, 4] = 0.5
    assert components._linear_form(bad) is None


def test_counts_whose_sums_are_less_exact_are_summed_term_by_term():
    components, x = problem("poisson", 300.0, 70)
    assert components._linear_form(x) is None
