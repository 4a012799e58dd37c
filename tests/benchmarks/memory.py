"""Peak memory of an E-step, in a process of its own: ``python -m tests.benchmarks.memory``.

NumPy's allocations are counted by tracemalloc, which it reports to. JAX's are not, so there it is
the largest size of the process that counts: a few MB more or less.
"""

from __future__ import annotations

import argparse
import functools
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.problems import Case, Problem, draw, problem

_ROOT = Path(__file__).parents[2]


class Peak(NamedTuple):
    """Bytes beyond the rows."""

    results: int
    beyond: int  # what was in use at the worst moment, less the results


PROBLEMS = (
    problem("univariate", 10**6, 1, 10),
    problem("univariate", 4 * 10**6, 1, 10),
    problem("full", 200_000, 8, 16),
    problem("full", 800_000, 8, 16),
)


def measure(library: str, problem: Problem) -> Peak:
    """Run it in a fresh process."""
    return _measured(library, problem.family, *map(str, (problem.n, problem.d, problem.k)))


@functools.cache  # a smoke test has the same tiny problem in place of several
def _measured(*arguments: str) -> Peak:
    command = [sys.executable, "-m", "tests.benchmarks.memory", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=_ROOT, check=True)
    return Peak(*json.loads(done.stdout))


def _numpy_peak(case: Case) -> Peak:
    import estep_xp as ex

    mixture = case.mixture()
    ex.e_step(case.x[:100], mixture)
    tracemalloc.start()
    step = ex.e_step(case.x, mixture)
    peak = tracemalloc.get_traced_memory()[1]
    results = sum(a.nbytes for a in step)
    return Peak(results, peak - results)


def _jax_peak(case: Case) -> Peak:
    import jax

    import estep_xp as ex

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", True)
    x, mixture = jax.tree.map(jax.numpy.asarray, (case.x, case.mixture()))
    compiled = jax.jit(ex.e_step).lower(x, mixture).compile()
    start = _largest_size()
    step = jax.block_until_ready(compiled(x, mixture))
    results = sum(a.nbytes for a in step)
    return Peak(results, _largest_size() - start - results)


def _largest_size() -> int:
    """Of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux, where ru_maxrss counts what the process was before exec, too
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Print results and peak, in bytes, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", choices=("numpy", "jax"))
    parser.add_argument("family")
    for size in ("n", "d", "k"):
        parser.add_argument(size, type=int)
    args = parser.parse_args()
    case = draw(problem(args.family, args.n, args.d, args.k))
    peak = {"numpy": _numpy_peak, "jax": _jax_peak}[args.library](case)
    sys.stdout.write(json.dumps(peak))


if __name__ == "__main__":
    main()
