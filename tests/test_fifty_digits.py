"""Ordinary problems of every family but the Gaussians to 50 digits, on every library.

``test_exactness.py`` has the Gaussian families, with their hard cases.
"""

from __future__ import annotations

import pytest

import estep_xp as ex
from tests.oracle import (
    assert_log_joint,
    assert_log_likelihood,
    assert_responsibilities,
    assert_total,
)
from tests.records import OTHERS, few_on_jax_jit, parametrize, problem


def everything(x, mixture):
    return ex.e_step(x, mixture), ex.log_joint(x, mixture), ex.log_likelihood(x, mixture)


@few_on_jax_jit
@pytest.mark.one_program("record", "dtype")  # see conftest.py
@parametrize(*OTHERS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_e_step(backend, record, dtype):
    case = problem(record, dtype=dtype, n=7)
    oracle = case.oracle()
    arguments = backend.data(case.x, dtype), case.mixture(backend, dtype)
    step, joint, total = backend.call(everything, *arguments)
    for result in (*step, joint, total):
        backend.assert_like(result, dtype)
    assert_log_joint(backend.to_numpy(joint), oracle, dtype)
    assert_log_likelihood(backend.to_numpy(step.log_likelihood), oracle, dtype)
    assert_responsibilities(backend.to_numpy(step.responsibilities), oracle, dtype)
    assert_total(backend.to_numpy(total), oracle, dtype)
