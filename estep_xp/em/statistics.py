"""Expected sufficient statistics: what EM needs to know of the rows, added up over all of them."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeAlias, TypeVar, overload

from estep_xp import execution
from estep_xp.arrays.array_types import Array, ComponentsT
from estep_xp.arrays.namespace import is_concrete, is_within_reach, to_host, to_number
from estep_xp.arrays.nested import named_arrays
from estep_xp.arrays.record_repr import sizes, summarized
from estep_xp.arrays.validation import check_array
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
    """Check the arguments of a call, whose components must have an M-step."""
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
