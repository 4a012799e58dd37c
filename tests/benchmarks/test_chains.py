"""Hidden Markov models beside hmmlearn and dynamax: ``--only chains``.

A match is fair on one thread: set OPENBLAS_NUM_THREADS=1, and let JAX have one processor.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import estep_xp as ex
from tests.benchmarks import chain_peers, chain_problems
from tests.benchmarks.chain_problems import draw, draw_emissions
from tests.benchmarks.comparison import contest
from tests.benchmarks.timing import interleaved


def lines(problems):
    """One a benchmark, under an id that ``--only chains`` finds."""
    return pytest.mark.parametrize("line", problems, ids=[f"chains-{one.name}" for one in problems])


def sized(line, bench):
    return line.tiny() if bench.pace.quick else line


def compare(bench, section, line, found, goals):
    """Time all; the ratio to each peer stands beside its goal."""
    ours, times = interleaved(bench.fixture, bench.pace, found.ours, found.peers)
    goals = dict(zip(found.peers, goals, strict=False))
    facts = {"ours": ours, "times": times, "goals": goals, "absent": found.absent}
    bench.note(section, line.name, dtype=line.dtype, **facts)


def sums(step):
    return step.responsibilities, step.log_likelihood, step.transitions


@lines(chain_problems.POSTERIORS)
def test_posteriors(line, bench):
    case = draw(sized(line, bench))
    ours = partial(ex.chain_posterior, *case[1:4], lengths=case.lengths)
    found = contest(case, chain_peers.NUMPY, lambda: sums(ours()))
    compare(bench, "Chains, NumPy", line, found, line.goals[:2])


@lines(chain_problems.POSTERIORS[:-1])
def test_posteriors_in_jax(line, bench):
    jax = pytest.importorskip("jax")
    case = draw(sized(line, bench))
    arrays = jax.tree.map(jax.numpy.asarray, case[1:4])
    compiled = jax.jit(partial(ex.chain_posterior, lengths=case.lengths))
    ours = partial(lambda: jax.block_until_ready(sums(compiled(*arrays))))
    found = contest(case, chain_peers.JAX, ours)
    compare(bench, "Chains, JAX", line, found, line.goals[2:])


@lines(chain_problems.PATHS)
def test_paths(line, bench):
    case = draw(sized(line, bench))
    hmm = ex.HMM(case.initial, case.transitions, _Given())
    found = contest(case, chain_peers.PATHS, partial(ex.decode, case.log_prob, hmm))
    compare(bench, "Chains, Viterbi", line, found, line.goals)


@lines(chain_problems.GRADIENTS)
def test_gradients(line, bench):
    jax = pytest.importorskip("jax")
    case = draw(sized(line, bench))
    hmm = ex.HMM(*jax.tree.map(jax.numpy.asarray, case[2:4]), _Given())
    rows = jax.numpy.asarray(case.log_prob)

    def value(rows, transitions):
        return ex.log_likelihood(rows, hmm._replace(transitions=transitions))

    one, both = jax.jit(value), jax.jit(jax.value_and_grad(value, (0, 1)))
    arguments = (rows, hmm.transitions)
    alone = partial(lambda: jax.block_until_ready(one(*arguments)))
    ours = partial(lambda: jax.block_until_ready(both(*arguments)))
    np.testing.assert_allclose(ours()[0], alone())
    took, times = interleaved(bench.fixture, bench.pace, ours, {"value": alone})
    facts = {"ours": took, "times": times, "goals": {"value": 1 / line.goals[0]}, "absent": []}
    bench.note("Chains, value and gradient", line.name, dtype=line.dtype, **facts)


@lines(chain_problems.ITERATIONS)
def test_iterations(line, bench):
    case = draw_emissions(sized(line, bench))

    def ours():
        statistics = ex.expected_statistics(case.x, case.hmm)
        new = ex.m_step(statistics, variance_floor=0.0)
        return new.transitions, new.components.means

    found = contest(case, chain_peers.ITERATIONS, ours)
    compare(bench, "Chains, an iteration of EM", line, found, line.goals)


class _Given(tuple):
    """States whose log-densities are the rows themselves."""

    def log_prob(self, x):
        return x
