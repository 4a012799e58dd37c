"""E-steps of JAX arrays, in jit and called eagerly, beside plain JAX, numpyro, gmmx, PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import estep_xp as ex
from tests.benchmarks.comparison import compare, contest
from tests.benchmarks.floor import floor, flops, jax_rates
from tests.benchmarks.jax_peers import PEERS, blocking
from tests.benchmarks.problems import JAX, problem

jax = pytest.importorskip("jax")


def _id(line):
    return f"{line.name}, {line.dtype}"


def _on_this_device(line):
    """A GPU takes ten times as many rows."""
    if jax.default_backend() == "cpu":
        return line
    return problem(line.family, 10 * line.n, line.d, line.k, line.goal, line.dtype)


@pytest.mark.on_gpu
@pytest.mark.parametrize("line", JAX, ids=_id)
def test_e_step(line, bench):
    line = _on_this_device(line)
    case = bench.case(line)
    arguments = jax.tree.map(jax.numpy.asarray, (case.x, case.mixture()))
    inside, eager = blocking(jax.jit(ex.e_step), *arguments), blocking(ex.e_step, *arguments)
    found = contest(case, PEERS, inside, {"eager": eager})
    rates = jax_rates(line.dtype, bench.pace.quick)
    compare(bench, "JAX", line, found, floor(case.problem, rates), device=_device())
    _note_use_of_the_device(bench, case, rates)


def _device():
    return jax.devices()[0].device_kind


def _note_use_of_the_device(bench, case, rates):
    """Shares of what a large copy and a large matrix product reach on the device."""
    noted = bench.fixture.extra_info
    n, k = case.problem.n, case.problem.k
    moved = case.x.nbytes + n * (k + 1) * np.dtype(case.problem.dtype).itemsize
    noted["of_bandwidth"] = moved / noted["ours"] / rates.copy
    noted["of_matmul"] = flops(case.problem) / noted["ours"] / rates.matmul
