"""A call over sequences: arguments brought to one space and checked, and results inspected."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from estep_xp import execution
from estep_xp.arrays.array_types import Array
from estep_xp.arrays.caller import warn_caller
from estep_xp.arrays.frames import column_names
from estep_xp.arrays.namespace import Space, is_concrete, numpy_namespace, space_of, to_host
from estep_xp.arrays.quiet import quietly
from estep_xp.arrays.suspects import suspects
from estep_xp.arrays.validation import check_non_negative, check_shape
from estep_xp.chain.emissions import Emissions
from estep_xp.chain.hmm import HMM, check_hmm
from estep_xp.chain.parameters import check_parameters, normalize_rows
from estep_xp.chain.sequences import KnownSequences, Sequences, find_sequences
from estep_xp.chain.smoother import least_reliable
from estep_xp.families import contract
from estep_xp.families.incomplete import Incomplete
from estep_xp.families.incomplete_rows import combine, raise_for_bad_values


class Call(NamedTuple):
    """A call whose arguments have been brought to one space and checked."""

    space: Space
    name: str  # of the rows, in messages
    rows: tuple[Array]  # (x,), with errors beside it, if there are any
    mixture: HMM[Any]
    sequences: Sequences | KnownSequences
    weights: Any = None  # (s,) of sequences, or None
    columns: tuple[Any, ...] = ()  # names of features, if the rows were a data frame
    wrapper: type[Incomplete] | None = None  # rows may lack values, or have errors beside them

    @property
    def k(self) -> int:
        """Number of states."""
        return int(self.mixture.initial.shape[0])

    @property
    def seen_components(self) -> Any:
        """The components as kernels see them: through what rows lack, if they lack something."""
        components = self.mixture.components
        return components if self.wrapper is None else self.wrapper(components)

    @property
    def family(self) -> contract.Family:
        """What answers for the components."""
        return contract.family_of(self.mixture.components)

    def space_sequences(self) -> Sequences:
        """Where sequences are, as arrays of the space."""
        space, sequences = self.space, self.sequences
        if isinstance(sequences, Sequences):
            return sequences
        arrays = sequences.of_rows()[:-1]
        return Sequences(*(space.xp.asarray(array, device=space.device) for array in arrays))

    @property
    def positive(self) -> bool | None:
        """Whether all transitions are large enough for scaled sums; None where not known yet."""
        return is_positive(self.space, self.mixture.transitions, self.sequences)


def prepare_call(
    x: Any,
    hmm: Any,
    lengths: Any,
    *,
    name: str = "x",
    sample_weight: Any = None,
    missing: bool = False,
    noise: Any = None,
) -> Call:
    """Bring the arguments of a call to one space and check them."""
    check_hmm(hmm, x)
    initial, transitions, components = hmm
    named = {name: x, "initial": initial, "transitions": transitions}
    named |= contract.arrays_of(components)
    if sample_weight is not None:
        named["sample_weight"] = sample_weight
    if noise is not None:
        named["noise"] = noise
    space, columns = space_of(named), column_names(x)
    x = space.rows(name, x)
    if len(x.shape) == 0:
        raise ValueError(f"{name} has shape (); expected (n, ...), one row an observation")
    sequences = find_sequences(space, lengths, x.shape[0])
    starts = sequences.starts if isinstance(sequences, KnownSequences) else None
    checked = check_parameters(space, hmm, x.shape[0], starts)
    contract.check_rows_shape(name, checked.components, x)
    x, wrapper = combine(space, checked.components, x, noise, missing=missing)
    weights = None
    if sample_weight is not None:
        weights = space.parameter("sample_weight", sample_weight)
        s = sequences.n_sequences
        check_shape("sample_weight", weights, (s,), ": one weight a sequence")
        weights = check_non_negative(space, "sample_weight", weights)
        x = _without_masked(space, x, weights, sequences)
    return Call(space, name, (x,), checked, sequences, weights, columns, wrapper)


def _without_masked(
    space: Space, x: Array, weights: Array, sequences: Sequences | KnownSequences
) -> Array:
    """Rows, a valid one in the place of each row of a sequence of weight 0, whatever it holds."""
    xp = space.xp
    if is_concrete(weights) and isinstance(sequences, KnownSequences):
        empty = to_host(weights) == 0
        if not empty.any():
            return x
        masked = np.repeat(empty, sequences.lengths)
        if masked.all():
            return x
        first: Any = int(np.argmin(masked))
        masked = xp.asarray(masked, device=space.device)
    else:
        rows = sequences.of_rows() if isinstance(sequences, KnownSequences) else sequences
        masked = xp.take(weights, xp.asarray(rows.index), axis=0) == 0
        first = xp.argmin(xp.astype(masked, xp.int32))
    flags = xp.reshape(masked, (masked.shape[0], *(1,) * (x.ndim - 1)))
    return xp.where(flags, x[first, ...][None, ...], x)


def is_positive(
    space: Space, transitions: Array, sequences: Sequences | KnownSequences
) -> bool | None:
    """Whether all transitions allow scaled sums; None where they do not exist yet."""
    if not (is_concrete(transitions) and isinstance(sequences, KnownSequences)):
        return None
    host = to_host(transitions)
    if host.ndim == 3:
        host = np.delete(host, sequences.starts, axis=0)
    limit = least_reliable(space.xp, space.dtype)
    probabilities: Any = quietly(normalize_rows, numpy_namespace, host)
    return bool((probabilities >= limit).all())


def sum_sequences(call: Call, values: Array) -> Array:
    """Values (s,) of sequences added up by their weights, an array ()."""
    xp, weights = call.space.xp, call.weights
    if weights is not None:
        values = xp.where(weights == 0, 0.0 * weights, values * weights)
    total: Array = xp.sum(values)
    return total


def weigh_rows(call: Call) -> Array:
    """The number () of rows, each by the weight of its sequence; the call has weights."""
    xp, sequences, weights = call.space.xp, call.sequences, call.weights
    lengths = sequences.lengths
    if isinstance(sequences, KnownSequences):
        lengths = xp.asarray(lengths, device=call.space.device)
    total: Array = xp.sum(weights * xp.astype(lengths, weights.dtype))
    return total


def evaluate_emissions(
    call: Call,
    block_size: int | None = None,
    workers: int | None = None,
    *,
    by_row: bool = False,
    rows: slice = slice(None),
) -> Array:
    """Log-densities (n, k) of all rows, or of some; raises for bad rows where values exist."""
    space, components = call.space, call.mixture.components
    if isinstance(components, contract.Given):
        _check_densities(call)
        return call.rows[0]
    options = contract.check_options(call.family, block_size, workers)
    kernel = Emissions(call.k, space.lazy, by_row)
    parameters = (call.seen_components, 0.0 * call.mixture.initial)
    driver = execution.driver_for(space)
    x = call.rows[0] if rows == slice(None) else call.rows[0][rows]
    values, largest = driver.map_rows(kernel, space, (x,), parameters, options)
    found = suspects(space, x, largest)
    if found is not None:
        found = found._replace(indices=found.indices + (rows.start or 0))
        raise_for_bad_values(found, call.name, call.family, call.wrapper, call.columns)
        found._replace(rows=found.results).check(
            "components.log_prob(x)",
            found.results == -math.inf,
            "must not be NaN or +inf: the row is too far away for the dtype, or the family is "
            "at fault",
        )
    return values


def _check_densities(call: Call) -> None:
    """Raise for log-densities of NaN or +inf, where values exist."""
    (x,), space, xp = call.rows, call.space, call.space.xp
    if space.lazy or (is_concrete(x) and math.isfinite(to_host(quietly(xp.sum, x)))):
        return
    found = suspects(space, x, xp.max(x, axis=1))
    if found is not None:
        good = ~np.isnan(found.rows) & (found.rows < math.inf)
        found.check(call.name, good, "must not be NaN or +inf")


def warn_of_impossible_sequences(call: Call, log_likelihood: Array, norms: Array) -> None:
    """Warn of sequences that no path explains, naming the first, and its first impossible row."""
    text = impossible_text(call, log_likelihood, norms)
    if text:
        warn_caller(
            f"{text}: log_likelihood is -inf and responsibilities are NaN there", RuntimeWarning
        )


def impossible_text(call: Call, log_likelihood: Array, norms: Array) -> str:
    """What is to be said of impossible sequences; nothing if there are none, or not known yet."""
    if call.space.lazy or not is_concrete(log_likelihood):
        return ""
    bad = np.flatnonzero(to_host(log_likelihood) == -math.inf)
    if not len(bad):
        return ""
    one = int(bad[0])
    start, end = (int(to_host(at)[one]) for at in (call.sequences.starts, call.sequences.ends))
    row = start + int(np.argmax(to_host(norms)[start : end + 1] == -math.inf))
    count = len(bad)
    which = "1 sequence is" if count == 1 else f"{count} sequences are"
    return f"{which} impossible; the first is sequence {one}, at row {row} of {call.name}"
