"""A call over rows: its arguments brought to one space and checked, run, its results looked at."""

from __future__ import annotations

import math
import warnings
from typing import Any, NamedTuple

import numpy as np

from estep_xp import execution
from estep_xp.arrays.array_types import Array
from estep_xp.arrays.frames import column_names
from estep_xp.arrays.namespace import Space, is_concrete, space_of, to_host
from estep_xp.arrays.validation import (
    Suspects,
    check_non_negative,
    check_not_flushed,
    check_shape,
    has_zeros,
    suspects,
)
from estep_xp.execution import RowKernel
from estep_xp.families import contract
from estep_xp.mixture.kernels import LogJoint, LogLikelihood
from estep_xp.mixture.mixture import Mixture, check_mixture
from estep_xp.mixture.parameters import check_parameters


class Problem(NamedTuple):
    """A call whose arguments have been brought to one space and checked."""

    space: Space
    name: str  # of the rows, in messages
    rows: tuple[Array, ...]
    mixture: Mixture
    zeros: bool  # some mixing weight is zero, or may be
    masks: bool  # some sample weight is
    columns: tuple[Any, ...] = ()  # names of features, if the rows were a data frame
    pads: bool = False  # the last rows are padding, see `padded`

    @property
    def k(self) -> int:
        """Number of components."""
        return int(self.mixture.weights.shape[0])


def pose(x: Any, mixture: Any, *, name: str = "x", sample_weight: Any = None) -> Problem:
    """Bring the arguments of a call to one space and check them."""
    check_mixture(mixture, x)
    weights, components = mixture
    named = {name: x, "weights": weights, **contract.arrays_of(components)}
    if sample_weight is not None:
        named["sample_weight"] = sample_weight
    space, columns = space_of(named), column_names(x)
    checked = check_parameters(space, mixture)
    x = space.rows(name, x)
    contract.check_rows_shape(name, checked.components, x)
    rows: tuple[Array, ...] = (x,)
    masks = False
    if sample_weight is not None:
        sample_weight = space.parameter("sample_weight", sample_weight)
        check_shape("sample_weight", sample_weight, (x.shape[0],), ": one weight a row of x")
        if is_concrete(sample_weight):  # or else kernels look at it, block by block
            check_non_negative(space, "sample_weight", sample_weight)
        else:
            sample_weight = check_not_flushed(
                space, "sample_weight", sample_weight, execution.of_rows
            )
        rows = (x, sample_weight)
        masks = has_zeros(sample_weight)
    return Problem(space, name, rows, checked, has_zeros(checked.weights), masks, columns)


def run(
    problem: Problem, kernel: RowKernel, block_size: int | None, workers: int | None
) -> tuple[Array, ...]:
    """Results of all rows, one array for each of the kernel's `tails`."""
    how = _options(problem, block_size, workers)
    return execution.map_rows(kernel, problem.space, problem.rows, problem.mixture, how)


def padded(problem: Problem) -> Problem:
    """The same problem with rows of weight 0 appended, if the library gains by it.

    It is for sums alone: what is said about rows must be said about those that were given.
    """
    rows = execution.padded(problem.space, problem.rows)
    return problem if rows is None else problem._replace(rows=rows, pads=True)


def total_log_likelihood(
    problem: Problem, block_size: int | None, workers: int | None
) -> tuple[Array, Array | None]:
    """Log-likelihood of all rows; and those of rows, if they may tell of bad ones."""
    how = _options(problem, block_size, workers)
    space, mixture, whole = problem.space, problem.mixture, padded(problem)
    kernel = log_likelihoods(whole)
    total, results = execution.total(kernel, space, whole.rows, mixture, how)
    if results is None and is_concrete(total) and not math.isfinite(to_host(total)):
        (results,) = run(problem, log_likelihoods(problem), block_size, workers)
    return total, results


def log_likelihoods(problem: Problem) -> LogLikelihood:
    """The kernel of rows' log-likelihoods."""
    space = problem.space
    return LogLikelihood(problem.k, problem.zeros, space.lazy, problem.masks, pads=problem.pads)


def _options(problem: Problem, block_size: int | None, workers: int | None) -> execution.Options:
    how = execution.options(block_size, workers)
    if how.workers is None and not contract.is_own(problem.mixture.components):
        how = how._replace(workers=1)  # code by others may not expect several threads
    return how


def check_rows(problem: Problem, results: Array) -> Suspects | None:
    """Raise for a bad row, told by a result (n,) of its own; return rows of no density at all."""
    found = suspects(problem.space, problem.rows[0], results)
    if found is None:
        return None
    if isinstance(problem.mixture.components, contract.Given):
        good = ~np.isnan(found.rows) & (found.rows < math.inf)
        found.check(problem.name, good, "must not be NaN or +inf", problem.columns)
    else:
        found.check(problem.name, np.isfinite(found.rows), "must be finite", problem.columns)
        invalid = found.indices[~(found.results == -math.inf)]
        if len(invalid):
            _explain(problem, int(invalid[0]))
    return found


def _explain(problem: Problem, row: int) -> None:
    """Raise for the component that gives a good row a density that is NaN or infinite."""
    one = problem._replace(rows=(problem.rows[0][row : row + 1, ...],))
    joint, _ = run(one, LogJoint(problem.k, problem.zeros, lazy=False), None, None)
    host = to_host(joint)
    good = ~np.isnan(host) & (host < math.inf)
    Suspects(np.asarray([row]), host, host[:, 0]).check(
        "components.log_prob(x)",
        good,
        "must not be NaN or +inf: the row is too far away for the dtype, or the family at fault",
    )


def check_density(problem: Problem, log_likelihood: Array) -> None:
    """Warn of rows that have zero density under every component."""
    found = check_rows(problem, log_likelihood)
    if found is not None:
        warnings.warn(
            f"{_counted(found)}: log_likelihood is -inf and responsibilities are NaN there",
            RuntimeWarning,
            stacklevel=3,
        )


def refuse_bad_rows(problem: Problem, log_likelihood: Array) -> None:
    """Raise for the first row that no sum over rows may hold: a bad one, or one of no density."""
    found = check_rows(problem, log_likelihood)
    if found is not None:
        raise ValueError(
            f"{_counted(found)}; drop such rows, give them sample_weight 0, or start from wider "
            "components"
        )


def _counted(found: Suspects) -> str:
    count = len(found.indices)
    rows = "1 row has" if count == 1 else f"{count} rows have"
    return f"{rows} zero density under every component; the first is row {found.indices[0]}"
