"""The record of a chain's expected statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, NamedTuple

from estep_xp.arrays.array_types import ComponentsT
from estep_xp.arrays.record_repr import sizes, summarized
from estep_xp.chain.hmm import HMM

if TYPE_CHECKING:
    from estep_xp.arrays.shapes import FloatK, FloatKK, FloatScalar


@summarized
class ChainStatistics(NamedTuple, Generic[ComponentsT]):
    """Expected sufficient statistics of sequences under a hidden Markov model.

    Like `Statistics`, they add up, over sequences.

    Parameters
    ----------
    mixture : HMM
        The model they were taken under, whose means they are centred on.
    log_likelihood : array, shape ()
        Σ_i s_i log p(sequence i), in nats, with the sample weights s_i.
    n_rows : array, shape ()
        Weighted number of rows.
    counts : array, shape (k,)
        Expected number of rows in each state.
    moments : NamedTuple of arrays
        The family's own sums, as of `Statistics`.
    initial : array, shape (k,)
        Expected number of sequences that begin in each state.
    transitions : array, shape (k, k)
        Expected number of times that state i is followed by state j.

    Examples
    --------
    >>> import estep_xp as ex
    >>> components = ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5])
    >>> hmm = ex.HMM([0.5, 0.5], [[0.9, 0.1], [0.2, 0.8]], components)
    >>> statistics = ex.expected_statistics([1.0, 2.5, 7.0], hmm)
    >>> statistics.transitions.round(4)
    array([[9.863e-01, 9.999e-01],
           [1.000e-04, 1.370e-02]])
    """

    mixture: HMM[ComponentsT]
    log_likelihood: FloatScalar
    n_rows: FloatScalar
    counts: FloatK
    moments: Any
    initial: FloatK
    transitions: FloatKK

    def _shown_fields(self) -> dict[str, Any]:
        numbers = {"n_rows": self.n_rows, "log_likelihood": self.log_likelihood}
        return sizes("k", "counts", self.counts) | numbers | {"mixture": self.mixture}
