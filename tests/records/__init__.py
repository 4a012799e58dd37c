"""One file a family, with all that the tests need to know of it: `record.py` says what that is.

A new family is one file here, and one line below.
"""

from __future__ import annotations

import pytest

from tests.records import (
    bernoulli,
    categorical,
    exponential,
    factor_analyzer,
    gamma,
    gaussians,
    poisson,
    student_t,
    von_mises,
)
from tests.records.record import (
    Params,
    Problem,
    Record,
    Slopes,
    normalised,
    problem,
    random_weights,
    rounded,
)

GAUSSIANS = gaussians.RECORDS
OTHERS = (
    *poisson.RECORDS,
    bernoulli.RECORD,
    categorical.RECORD,
    *exponential.RECORDS,
    *gamma.RECORDS,
    von_mises.RECORD,
)
POISSON, POISSON_OF_FEATURES, BERNOULLI = *poisson.RECORDS, bernoulli.RECORD
# Made of Gaussians by variables that nobody observes.
LATENT = STUDENT_T, FACTOR_ANALYZER = student_t.RECORD, factor_analyzer.RECORD
RECORDS = (*GAUSSIANS, *OTHERS, *LATENT)
UNIVARIATE, SPHERICAL, DIAGONAL, TIED, FULL = GAUSSIANS


def parametrize(*records: Record) -> pytest.MarkDecorator:
    """Run a test for each of these families, as its argument `record`."""
    return pytest.mark.parametrize("record", records, ids=lambda record: record.name)


every_family = parametrize(*RECORDS)
with_slopes = parametrize(*(record for record in RECORDS if record.slopes is not None))
with_m_step = parametrize(*(record for record in RECORDS if record.maximize is not None))
gaussians_only = parametrize(*GAUSSIANS)
few_on_jax = pytest.mark.few_families_on_jax  # see conftest.py
few_on_jax_jit = pytest.mark.few_families_on_jax("jax_jit")

__all__ = [
    "BERNOULLI",
    "DIAGONAL",
    "FACTOR_ANALYZER",
    "FULL",
    "GAUSSIANS",
    "LATENT",
    "OTHERS",
    "POISSON",
    "POISSON_OF_FEATURES",
    "RECORDS",
    "SPHERICAL",
    "STUDENT_T",
    "TIED",
    "UNIVARIATE",
    "Params",
    "Problem",
    "Record",
    "Slopes",
    "every_family",
    "few_on_jax",
    "few_on_jax_jit",
    "gaussians_only",
    "normalised",
    "parametrize",
    "problem",
    "random_weights",
    "rounded",
    "with_m_step",
    "with_slopes",
]
