"""Expected sufficient statistics: what EM needs to know of the rows, added up over all of them."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeAlias, TypeVar, overload

import numpy as np

from estep_xp import execution
from estep_xp.arrays.array_types import Array, ComponentsT
from estep_xp.arrays.namespace import (
    Space,
    is_concrete,
    is_within_reach,
    space_of,
    to_host,
    to_number,
)
from estep_xp.arrays.nested import map_arrays, named_arrays
from estep_xp.arrays.quiet import quiet
from estep_xp.arrays.record_repr import sizes, summarized
from estep_xp.arrays.validation import check_array, shape_text
from estep_xp.chain import call as chain_call
from estep_xp.chain.call import Call as ChainCall
from estep_xp.chain.hmm import HMM
from estep_xp.chain.sequences import refuse_lengths
from estep_xp.chain.statistics import raise_for_impossible_sequences, take_sums
from estep_xp.em.chain_statistics import ChainStatistics
from estep_xp.families import contract
from estep_xp.families.hints import described
from estep_xp.mixture.call import (
    Call,
    log_likelihood_kernel,
    pad_call,
    prepare_call,
    raise_for_impossible_rows,
    run_kernel,
)
from estep_xp.mixture.kernels import expected_statistics_kernel
from estep_xp.mixture.mixture import Mixture

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.shapes import (
        FloatK,
        FloatScalar,
        LikeN,
        LikeNoise,
        LikeS,
        RowsLike,
    )


@summarized
class Statistics(NamedTuple, Generic[ComponentsT]):
    """Expected sufficient statistics of rows under a mixture; they add up over blocks of rows.

    Parameters
    ----------
    mixture : Mixture
        The mixture they were taken under, whose means they are centred on.
    log_likelihood : array, shape ()
        Σ_i s_i log p(x_i), in nats, with the sample weights s_i.
    n_rows : array, shape ()
        Σ_i s_i, the weighted number of rows.
    counts : array, shape (k,)
        N_k = Σ_i s_i r_ik, the expected number of rows of each component.
    moments : NamedTuple of arrays
        The family's own sums, which give new components; for Gaussian families ``first`` and
        ``second``, the moments of x − μ_k weighted by s_i r_ik.

    Examples
    --------
    >>> import estep_xp as ex
    >>> mixture = ex.Mixture([0.5, 0.5], ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5]))
    >>> statistics = ex.expected_statistics([1.0, 2.5, 7.0], mixture)
    >>> statistics.counts.round(4)
    array([1.9843, 1.0157])
    >>> statistics.moments.first.round(4)
    array([-0.5073,  0.9446])
    """

    mixture: Mixture[ComponentsT]
    log_likelihood: FloatScalar
    n_rows: FloatScalar
    counts: FloatK
    moments: Any

    def _shown_fields(self) -> dict[str, Any]:
        numbers = {"n_rows": self.n_rows, "log_likelihood": self.log_likelihood}
        return sizes("k", "counts", self.counts) | numbers | {"mixture": self.mixture}


AnyCall: TypeAlias = Call | ChainCall
AnyStatistics: TypeAlias = Statistics[Any] | ChainStatistics[Any]
StatisticsT = TypeVar("StatisticsT", bound=AnyStatistics)


@overload
def expected_statistics(
    x: RowsLike,
    mixture: Mixture[ComponentsT],
    *,
    sample_weight: LikeN | LikeS | None = None,
    block_size: int | None = None,
    workers: int | None = None,
    missing: bool = False,
    noise: LikeNoise | None = None,
    lengths: LikeS | None = None,
) -> Statistics[ComponentsT]: ...
@overload
def expected_statistics(
    x: RowsLike,
    mixture: HMM[ComponentsT],
    *,
    sample_weight: LikeN | LikeS | None = None,
    block_size: int | None = None,
    workers: int | None = None,
    missing: bool = False,
    noise: LikeNoise | None = None,
    lengths: LikeS | None = None,
) -> ChainStatistics[ComponentsT]: ...
def expected_statistics(
    x: RowsLike,
    mixture: Mixture[Any] | HMM[Any],
    *,
    sample_weight: LikeN | LikeS | None = None,
    block_size: int | None = None,
    workers: int | None = None,
    missing: bool = False,
    noise: LikeNoise | None = None,
    lengths: LikeS | None = None,
) -> AnyStatistics:
    """Expected sufficient statistics of all rows, in memory that does not grow with their number.

    Parameters
    ----------
    x : array, shape (n, d)
        Observations, one per row; shape (n,) for univariate components. Read block by block: it may
        be a ``numpy.memmap`` larger than memory.
    mixture : Mixture or HMM
        Weights, or a chain, and components of one of the package's families.
    sample_weight : array, shape (n,) or (s,), optional
        Non-negative weight of each row; with an HMM of each sequence. What has weight 0 contributes
        nothing, whatever it holds.
    block_size, workers : int, optional
        As for `e_step`.
    missing : bool, optional
        Whether NaN in `x` is a feature that was not observed, which is integrated out; by default
        it is bad input.
    noise : array, shape (n, d) or (n, d, d), optional
        Variances or covariances of each row's measurement errors, for Gaussian families; shape (n,)
        for univariate components. Components then describe what was measured, without the errors.
    lengths : array of int, shape (s,), optional
        Only with an HMM: the length of each sequence in `x`, as for `e_step`.

    Returns
    -------
    Statistics or ChainStatistics
        Centred on the means of `mixture`. No rows give zeros, which add nothing.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong shape, dtype or value, the components are of a family that has no
        M-step, or a row has zero density under every component.

    Notes
    -----
    The E-step's half of EM (Bishop 2006, section 9.3), with first and second moments about the
    current means instead of the origin: they add up over blocks all the same, and an offset of the
    data costs no digits.

    Examples
    --------
    >>> import estep_xp as ex
    >>> mixture = ex.Mixture([0.5, 0.5], ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5]))
    >>> statistics = ex.expected_statistics([1.0, 2.5, 7.0], mixture)
    >>> round(float(statistics.log_likelihood), 4), float(statistics.n_rows)
    (-5.9815, 3.0)
    """
    seen: Any = {"missing": missing, "noise": noise}
    call = prepare_em_call(x, mixture, sample_weight, lengths=lengths, **seen)
    options = execution.check_options(block_size, workers)
    statistics = accumulate_statistics(pad_em_call(call), options)
    raise_for_bad_rows_of(call, statistics, options)
    return statistics


def prepare_em_call(
    x: Any,
    mixture: Any,
    sample_weight: Any,
    *,
    missing: bool = False,
    noise: Any = None,
    lengths: Any = None,
) -> AnyCall:
    """Pose the arguments of a call whose components can be estimated."""
    call: AnyCall
    seen: Any = {"missing": missing, "noise": noise}
    if isinstance(mixture, HMM):
        call = chain_call.prepare_call(x, mixture, lengths, sample_weight=sample_weight, **seen)
    else:
        refuse_lengths(lengths)
        call = prepare_call(x, mixture, sample_weight=sample_weight, **seen)
    contract.estimable(call.mixture.components)
    return call


def pad_em_call(call: AnyCall) -> Any:
    """The same call with padded rows, if the library gains by it; rows of a chain are ordered."""
    return call if isinstance(call, ChainCall) else pad_call(call)


def accumulate_statistics(call: AnyCall, options: execution.Options) -> Any:
    """Take the statistics of a call, whatever its rows are."""
    return accumulate_in_two_parts(call, options)[0]


def accumulate_in_two_parts(call: AnyCall, options: execution.Options) -> tuple[Any, Array]:
    """Statistics of a call, and what rounding has left of their log-likelihood."""
    if isinstance(call, ChainCall):
        total, *sums = take_sums(call, options)
        return ChainStatistics(call.mixture, total, *sums), call.space.xp.zeros_like(total)
    space, mixture = call.space, call.mixture
    kernel = expected_statistics_kernel(call.k, call.zeros, space.lazy, call.masks, call.pads)
    log_likelihood, left, n_rows, counts, *sums = execution.driver_for(call.space).sum_rows(
        kernel, space, call.seen_rows, call.seen_mixture, options
    )
    moments = contract.estimable(mixture.components)._moments(*sums)
    return Statistics(mixture, log_likelihood, n_rows, counts, moments), left


def raise_for_bad_rows_of(
    call: AnyCall, statistics: AnyStatistics, options: execution.Options
) -> None:
    """Raise for a bad row, if the sum over all tells that there is one."""
    total = statistics.log_likelihood
    if not is_concrete(total) or math.isfinite(to_number(total)):
        return
    model: Any = statistics.mixture
    call = call._replace(mixture=model)
    if not is_within_reach(call.rows[0]):
        raise ValueError(
            f"the log-likelihood is {to_host(total)!s}: among the rows of {call.name} with all "
            "processes is one that is not finite, or has zero density under every component"
        )
    if isinstance(call, ChainCall):
        raise_for_impossible_sequences(call)
        return
    # Only now a pass that keeps a number for each row.
    call = call._replace(space=call.space._replace(lazy=False))
    (contributions,) = run_kernel(
        call, log_likelihood_kernel(call), options.block_size, options.workers
    )
    raise_for_impossible_rows(call, contributions)


@quiet
def merge(a: StatisticsT, b: StatisticsT) -> StatisticsT:
    """Statistics of the rows of both: blocks, devices and machines reduce with it.

    Parameters
    ----------
    a, b : Statistics or ChainStatistics
        Of different rows, under the same mixture.

    Returns
    -------
    Statistics
        Their sum. It is associative, and statistics of no rows change nothing.

    Raises
    ------
    ValueError, TypeError
        If they were centred on different mixtures. Where values do not exist yet, under ``jit`` for
        example, the sums are NaN instead.

    Examples
    --------
    >>> import estep_xp as ex
    >>> mixture = ex.Mixture([0.5, 0.5], ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5]))
    >>> parts = [ex.expected_statistics(rows, mixture) for rows in ([1.0, 2.5], [7.0])]
    >>> float(ex.merge(*parts).n_rows)
    3.0
    """
    for name, one in (("a", a), ("b", b)):
        check_statistics(name, one)
    if type(a.mixture) is not type(b.mixture):
        raise TypeError(
            f"a is of {described(a.mixture)} but b of {described(b.mixture)}; merge statistics of "
            "one model"
        )
    family, other = type(a.mixture.components), type(b.mixture.components)
    if family is not other:
        raise TypeError(
            f"a is of {family.__name__} but b of {other.__name__} components; merge statistics of "
            "one mixture"
        )
    space = space_of(arrays_of("a", a) | arrays_of("b", b))
    same = _same(space, a, b)

    def added(one: Array, other: Array) -> Array:
        return one + other if same is None else space.xp.where(same, one + other, math.nan)

    return combine_sums(added, a, b)


def combine_sums(
    function: Callable[..., Array], first: StatisticsT, *others: StatisticsT
) -> StatisticsT:
    """Statistics of the first's model, whose sums are `function` of all their sums."""
    mixture, *fields = first
    new: list[Any] = []
    field: Any
    for place, field in enumerate(fields, start=1):
        values: Any = (field, *(other[place] for other in others))
        new.append(None if field is None else map_arrays(function, *values))
    of: Any = type(first)
    combined: StatisticsT = of(mixture, *new)
    return combined


def check_statistics(name: str, value: Any) -> None:
    """Raise unless `value` is a record of statistics."""
    if not isinstance(value, (Statistics, ChainStatistics)):
        raise TypeError(
            f"{name} is {described(value)}; expected an estep_xp.Statistics, such as "
            "expected_statistics(x, mixture) gives"
        )
    mixture: Any = value.mixture
    kind = Mixture if isinstance(value, Statistics) else HMM
    if not isinstance(mixture, kind):
        raise TypeError(
            f"{name}.mixture is a {type(mixture).__name__}; expected an estep_xp.{kind.__name__}"
        )
    family = contract.estimable(mixture.components)
    k = family._n_components() or int(mixture[0].shape[0])
    family = contract.family_of(mixture.components, k)
    family._check_moments(f"{name}.moments", value.moments)
    expected: dict[str, Any] = {"log_likelihood": (), "n_rows": (), "counts": (k,)}
    if isinstance(mixture, HMM):
        expected |= {"initial": (k,), "transitions": (k, k), "mixture.initial": (k,)}
    else:
        expected |= {"mixture.weights": (k,)}
    for field, shape in expected.items():
        check_array(f"{name}.{field}", operator.attrgetter(field)(value), shape)


def arrays_of(name: str, statistics: AnyStatistics) -> dict[str, Array]:
    """Arrays of statistics by the names under which a user finds them."""
    mixture: Any = statistics.mixture
    fields: tuple[str, ...] = ("log_likelihood", "n_rows", "counts")
    named = {}
    for field in mixture._fields[:-1]:  # probabilities, before the components
        named[f"{name}.mixture.{field}"] = getattr(mixture, field)
    if isinstance(mixture, HMM):
        fields = (*fields, "initial", "transitions")
    for prefix, record in (
        ("mixture.components", mixture.components),
        ("moments", statistics.moments),
    ):
        named |= named_arrays(record, f"{name}.{prefix}")
    for field in fields:
        named[f"{name}.{field}"] = getattr(statistics, field)
    return named


def _same(space: Space, a: AnyStatistics, b: AnyStatistics) -> Array | None:
    """Whether two mixtures are equal, where that can't be seen yet; None where they are."""
    names = [name for name in arrays_of("", a) if name.startswith(".mixture.")]
    ours, theirs = arrays_of("", a), arrays_of("", b)
    flags = []
    for name in names:
        one, other = ours[name], theirs[name]
        field = name.rpartition(".")[2]
        if tuple(one.shape) != tuple(other.shape):
            raise ValueError(
                f"{field} has shape {shape_text(tuple(one.shape))} in a's mixture but "
                f"{shape_text(tuple(other.shape))} in b's; merge statistics of one mixture"
            )
        if is_concrete(one) and is_concrete(other):
            _check_equal(field, to_host(one), to_host(other))
        else:
            flags.append(space.xp.all(one == other))
    return space.xp.all(space.xp.stack(flags)) if flags else None


def _check_equal(field: str, a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> None:
    different = np.argwhere(a != b)
    if len(different):
        index = tuple(different[0].tolist())
        where = ", ".join(map(str, index))
        raise ValueError(
            f"{field}[{where}] is {a[index]!s} in a's mixture but {b[index]!s} in b's; merge "
            "statistics of one mixture"
        )
