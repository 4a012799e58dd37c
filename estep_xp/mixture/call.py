"""A call over rows: arguments brought to one space and checked, and results inspected."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from estep_xp import execution
from estep_xp.arrays.array_types import Array
from estep_xp.arrays.caller import warn_caller
from estep_xp.arrays.frames import column_names
from estep_xp.arrays.namespace import Space, is_concrete, space_of, to_host
from estep_xp.arrays.suspects import Suspects, suspects
from estep_xp.arrays.validation import (
    check_non_negative,
    check_not_flushed,
    check_shape,
    has_zeros,
)
from estep_xp.execution import Kernel
from estep_xp.families import contract
from estep_xp.families.incomplete import Incomplete
from estep_xp.families.incomplete_rows import SortedRows, combine, raise_for_bad_values, sort_rows
from estep_xp.mixture.kernels import LogJoint, LogLikelihood
from estep_xp.mixture.mixture import Mixture, check_mixture
from estep_xp.mixture.parameters import check_parameters


class Call(NamedTuple):
    """A call whose arguments have been brought to one space and checked."""

    space: Space
    name: str  # of the rows, in messages
    rows: tuple[Array, ...]
    mixture: Mixture[Any]
    zeros: bool  # some mixing weight is zero, or may be
    masks: bool  # some sample weight is
    columns: tuple[Any, ...] = ()  # names of features, if the rows were a data frame
    pads: bool = False  # the last rows are padding, see `pad_call`
    wrapper: type[Incomplete] | None = None  # rows may lack values, or have errors beside them
    sorted: SortedRows | None = None  # rows with holes in an order that takes less time

    @property
    def seen_rows(self) -> tuple[Array, ...]:
        """The rows as kernels see them: in another order, where that takes less time."""
        return self.rows if self.sorted is None else self.sorted.rows

    @property
    def family(self) -> contract.Family:
        """What answers for the components."""
        return contract.family_of(self.mixture.components)

    @property
    def k(self) -> int:
        """Number of components."""
        return int(self.mixture.weights.shape[0])

    @property
    def seen_mixture(self) -> Mixture[Any]:
        """The mixture as kernels see it: through what rows lack, if they lack something."""
        if self.wrapper is None:
            return self.mixture
        return self.mixture._replace(components=self.wrapper(self.mixture.components))


def prepare_mixture(mixture: Any, *, name: str = "mixture") -> tuple[Space, Mixture[Any]]:
    """Bring a mixture that has no rows beside it to a space of its own, and check it."""
    check_mixture(mixture, name=name)
    weights, components = mixture
    space = space_of({"weights": weights, **contract.arrays_of(components)})
    return space, check_parameters(space, mixture)


def prepare_call(
    x: Any,
    mixture: Any,
    *,
    name: str = "x",
    sample_weight: Any = None,
    missing: bool = False,
    noise: Any = None,
) -> Call:
    """Bring the arguments of a call to one space and check them."""
    check_mixture(mixture, x)
    weights, components = mixture
    named = {name: x, "weights": weights, **contract.arrays_of(components)}
    if sample_weight is not None:
        named["sample_weight"] = sample_weight
    if noise is not None:
        named["noise"] = noise
    space, columns = space_of(named), column_names(x)
    checked = check_parameters(space, mixture)
    x = space.rows(name, x)
    contract.check_rows_shape(name, checked.components, x)
    weight, masks = None, False
    if sample_weight is not None:
        weight = space.parameter("sample_weight", sample_weight)
        check_shape("sample_weight", weight, (x.shape[0],), ": one weight a row of x")
        if is_concrete(weight):  # or else kernels look at it, block by block
            check_non_negative(space, "sample_weight", weight)
        else:
            weight = check_not_flushed(
                space, "sample_weight", weight, execution.driver_for(space).map_each_row
            )
        masks = has_zeros(weight)
    x, wrapper = combine(space, checked.components, x, noise, missing=missing, sample_weight=weight)
    rows: tuple[Array, ...] = (x,) if weight is None else (x, weight)
    zeros = has_zeros(checked.weights)
    sorted_rows = sort_rows(space, checked.components, rows, wrapper)
    return Call(
        space, name, rows, checked, zeros, masks, columns, wrapper=wrapper, sorted=sorted_rows
    )


def run_kernel(
    call: Call, kernel: Kernel, block_size: int | None, workers: int | None
) -> tuple[Array, ...]:
    """Results of all rows, one array for each of the kernel's `tails`."""
    options = contract.check_options(call.family, block_size, workers)
    results = execution.driver_for(call.space).map_rows(
        kernel, call.space, call.seen_rows, call.seen_mixture, options
    )
    return results if call.sorted is None else call.sorted.restore_order(results)


def pad_call(call: Call) -> Call:
    """The same call with rows of weight 0 appended, if the library gains by it.

    It is for sums alone: what is said about rows must be said about those that were given.
    """
    rows = execution.driver_for(call.space).pad_rows(call.rows)
    return call if rows is None else call._replace(rows=rows, pads=True)


def total_log_likelihood(
    call: Call, block_size: int | None, workers: int | None
) -> tuple[Array, Array | None]:
    """Log-likelihood of all rows; and those of rows, if they may tell of bad ones."""
    options = contract.check_options(call.family, block_size, workers)
    space, mixture, whole = call.space, call.seen_mixture, pad_call(call)
    kernel = log_likelihood_kernel(whole)
    rows = whole.seen_rows
    total, results = execution.driver_for(space).total(kernel, space, rows, mixture, options)
    if results is not None and whole.sorted is not None:
        (results,) = whole.sorted.restore_order((results,))
    if results is None and is_concrete(total) and not math.isfinite(to_host(total)):
        (results,) = run_kernel(call, log_likelihood_kernel(call), block_size, workers)
    return total, results


def log_likelihood_kernel(call: Call) -> LogLikelihood:
    """The kernel of rows' log-likelihoods."""
    space = call.space
    return LogLikelihood(call.k, call.zeros, space.lazy, call.masks, pads=call.pads)


def raise_for_bad_rows(call: Call, results: Array) -> Suspects | None:
    """Raise for a bad row, told by a result (n,) of its own; return rows of no density at all."""
    found = suspects(call.space, call.rows[0], results)
    if found is None:
        return None
    if isinstance(call.mixture.components, contract.Given):
        good = ~np.isnan(found.rows) & (found.rows < math.inf)
        found.check(call.name, good, "must not be NaN or +inf", call.columns)
    else:
        raise_for_bad_values(found, call.name, call.family, call.wrapper, call.columns)
        invalid = found.indices[~(found.results == -math.inf)]
        if len(invalid):
            _raise_for_bad_density(call, int(invalid[0]))
    return found


def _raise_for_bad_density(call: Call, row: int) -> None:
    """Raise for the component that gives a good row a density that is NaN or infinite."""
    one = call._replace(rows=(call.rows[0][row : row + 1, ...],), sorted=None)
    joint, _ = run_kernel(one, LogJoint(call.k, call.zeros, lazy=False), None, None)
    host = to_host(joint)
    good = ~np.isnan(host) & (host < math.inf)
    Suspects(np.asarray([row]), host, host[:, 0]).check(
        "components.log_prob(x)",
        good,
        "must not be NaN or +inf: the row is too far away for the dtype, or the family at fault",
    )


def warn_of_impossible_rows(call: Call, log_likelihood: Array) -> None:
    """Warn of rows that have zero density under every component."""
    found = raise_for_bad_rows(call, log_likelihood)
    if found is not None:
        warn_caller(
            f"{_count_text(found)}: log_likelihood is -inf and responsibilities are NaN there",
            RuntimeWarning,
        )


def raise_for_impossible_rows(call: Call, log_likelihood: Array) -> None:
    """Raise for the first row that no sum over rows may hold: a bad one, or one of no density."""
    found = raise_for_bad_rows(call, log_likelihood)
    if found is not None:
        raise ValueError(
            f"{_count_text(found)}; drop such rows, give them sample_weight 0, or start from wider "
            "components"
        )


def _count_text(found: Suspects) -> str:
    count = len(found.indices)
    rows = "1 row has" if count == 1 else f"{count} rows have"
    return f"{rows} zero density under every component; the first is row {found.indices[0]}"
