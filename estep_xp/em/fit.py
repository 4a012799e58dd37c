"""Expectation-maximisation: E-steps and M-steps in turn until the log-likelihood stands still."""

from __future__ import annotations

import math
import warnings
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

from estep_xp import execution
from estep_xp.arrays.array_types import ComponentsT
from estep_xp.arrays.namespace import is_concrete, to_host
from estep_xp.arrays.text import shown
from estep_xp.arrays.validation import check_number, check_whole
from estep_xp.chain.call import Call as ChainCall
from estep_xp.chain.hmm import HMM
from estep_xp.em.fit_warnings import Diagnosis
from estep_xp.em.initialize import initialize
from estep_xp.em.iteration import Iteration, best_of
from estep_xp.em.m_step import check_floor, check_prior_counts
from estep_xp.em.progress import progress_bar
from estep_xp.em.result import EMResult
from estep_xp.em.statistics import AnyCall, prepare_em_call
from estep_xp.mixture.call import Call
from estep_xp.mixture.mixture import Mixture

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.shapes import LikeN, LikeNoise, LikeS, RowsLike


def fit(
    x: RowsLike,
    mixture: Mixture[ComponentsT] | HMM[ComponentsT],
    *,
    sample_weight: LikeN | LikeS | None = None,
    tol: float = 1e-6,
    max_iter: int = 1000,
    variance_floor: float | None = None,
    n_init: int = 1,
    seed: int = 0,
    accelerate: bool = False,
    callback: Callable[[EMResult[ComponentsT]], Any] | None = None,
    progress: bool = False,
    block_size: int | None = None,
    workers: int | None = None,
    missing: bool = False,
    noise: LikeNoise | None = None,
    lengths: LikeS | None = None,
    prior_counts: float = 0.0,
) -> EMResult[ComponentsT]:
    """Fit a mixture, or a hidden Markov model, by expectation-maximisation.

    Parameters
    ----------
    x : array, shape (n, d)
        Observations, one per row; shape (n,) for univariate components. At least one.
    mixture : Mixture or HMM
        Where to start, for example from `initialize`. Components of a family of this package, or
        of a class of your own with methods ``statistics`` and ``maximize``.
    sample_weight : array, shape (n,) or (s,), optional
        Non-negative weight of each row: 2 counts a row twice, 0 leaves it out whatever it holds.
        With an HMM the weight of each sequence.
    tol : float, optional
        Stop when the log-likelihood per (weighted) row changes by less than this in an iteration;
        scikit-learn's rule. Where rounding alone may change it by more, which single precision does
        where log-densities are large, stop when it has not risen by as much for several turns.
    max_iter : int, optional
        Stop after so many M-steps in any case; 0 gives the log-likelihood of the start.
    variance_floor : float, optional
        Added to the variances in each M-step, see `m_step`; by default a millionth of the variance
        of each feature over all rows.
    n_init : int, optional
        Number of starts: `mixture`, and ``n_init - 1`` from `initialize` with the seeds that follow
        `seed`. The fit with the highest log-likelihood is returned.
    seed : int, optional
        For the other starts.
    accelerate : bool, optional
        Extrapolate every second step by SQUAREM (Varadhan and Roland 2008); where that would lower
        the log-likelihood, the plain step is taken. Saves most iterations where EM is slow.
    callback : callable, optional
        Called after each iteration with the `EMResult` so far; it may raise ``StopIteration``.
    progress : bool, optional
        Show a bar with the log-likelihood on standard error; needs rich.
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
    prior_counts : float, optional
        See `m_step`. The log-likelihood may then fall.

    Returns
    -------
    EMResult
        ``mixture``, its ``log_likelihood``, ``n_iter``, ``converged`` and ``history``. Ctrl-C ends
        the fit, too, and gives the last whole iteration.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong shape, dtype or value, a row has zero density under every
        component, or a covariance matrix is not positive definite.

    Warns
    -----
    CollapseWarning, ConvergenceWarning
        At most one: if in the end a component has collapsed (without the floor a variance would be
        no more than the floor) or has lost its rows, or if the fit has not converged, unless
        ``StopIteration`` or Ctrl-C has ended it. None under ``jit``.

    Notes
    -----
    Each iteration is an M-step (`m_step`) and an E-step (`expected_statistics`). The log-likelihood
    rises until it stands still (Dempster, Laird and Rubin 1977). Only where `variance_floor` is not
    small beside the variances of a component, which without it would collapse, may it fall a
    little: the floor keeps EM away from the maximum.

    All of it runs under JAX's ``jit`` and ``vmap``, too, there without callback and progress.

    Examples
    --------
    >>> import estep_xp as ex
    >>> x = [1.0, 1.4, 1.8, 6.2, 6.6, 7.0]
    >>> result = ex.fit(x, ex.initialize(x, 2, ex.UnivariateGaussian, seed=0))
    >>> sorted(result.mixture.components.means.round(4).tolist())
    [1.4, 6.6]
    >>> result.converged, round(float(result.log_likelihood), 4)
    (True, -5.9584)
    """
    options = Options(
        tol,
        max_iter,
        variance_floor,
        n_init,
        seed,
        accelerate,
        callback,
        progress,
        block_size,
        workers,
        missing,
        noise,
        lengths,
        prior_counts,
    )
    result, diagnosis = run_fit(x, mixture, sample_weight, options)
    if diagnosis.warning is not None:
        warnings.warn(diagnosis.warning, stacklevel=2)
    return result


class Options(NamedTuple):
    """The options of `fit`."""

    tol: Any = 1e-6
    max_iter: int = 1000
    variance_floor: Any = None
    n_init: int = 1
    seed: int = 0
    accelerate: bool = False
    callback: Callable[[EMResult[Any]], Any] | None = None
    progress: bool = False
    block_size: int | None = None
    workers: int | None = None
    missing: bool = False
    noise: Any = None
    lengths: Any = None
    prior_counts: Any = 0.0
    method: str | None = None  # of the other starts


def run_fit(
    x: Any, mixture: Any, sample_weight: Any, options: Options
) -> tuple[EMResult[Any], Diagnosis]:
    """What `fit` returns, and what it warns of."""
    seen = {"missing": options.missing, "noise": options.noise}
    call = prepare_em_call(x, mixture, sample_weight, lengths=options.lengths, **seen)
    _check_rows_given(call)
    em = Iteration(
        execution.check_options(options.block_size, options.workers),
        check_number("tol", options.tol),
        check_whole("max_iter", options.max_iter, 0),
        check_floor(options.variance_floor),
        bool(options.accelerate),
        prior_counts=check_prior_counts(options.prior_counts, call.mixture),
    )
    if em.accelerate and not call.family._is_unconstrainable:
        raise TypeError(
            f"accelerate=True needs parameters that have a form without bounds, and "
            f"{type(call.mixture.components).__name__} has none; leave it out"
        )
    callback = options.callback
    if not (callback is None or callable(callback)):
        raise TypeError(f"callback is {shown(callback)}; callback must be callable or None")
    seed = check_whole("seed", options.seed, 0, most=math.inf)
    n_init = check_whole("n_init", options.n_init, 1)
    others = (_another_start(call, x, sample_weight, seed + i, options) for i in range(1, n_init))
    starts = [call, *others]
    with ExitStack() as stack:
        callbacks = [] if callback is None else [callback]
        if options.progress:
            callbacks.append(stack.enter_context(progress_bar(em.max_iter, len(starts))))
        return best_of(em, starts, callbacks)


def _another_start(
    call: AnyCall, x: Any, sample_weight: Any, seed: int, options: Options
) -> AnyCall:
    """The same call from a start that `initialize` gives."""
    seen: Any = {"missing": options.missing, "noise": options.noise}
    k, family = call.k, call.mixture.components
    if isinstance(call, Call):
        seen_by_start = seen | {"method": options.method}
        start = initialize(x, k, family, seed=seed, sample_weight=sample_weight, **seen_by_start)
        return prepare_em_call(x, start, sample_weight, **seen)
    # Sequences of weight 0 hold good rows by now, where there is nothing beside rows.
    rows = call.rows[0] if call.wrapper is None else x
    start = initialize(rows, k, family, seed=seed, **seen)
    return call._replace(mixture=call.mixture._replace(components=start.components))


def _check_rows_given(call: AnyCall) -> None:
    """Raise unless there is a row, as far as that can be told."""
    if call.rows[0].shape[0] == 0:
        raise ValueError(f"{call.name} has no rows; fit needs at least one")
    weights = (call.weights,) if isinstance(call, ChainCall) else call.rows[1:]
    for weight in weights:
        if weight is not None and is_concrete(weight) and not to_host(weight).any():
            what = "sequence" if isinstance(call, ChainCall) else "row"
            raise ValueError(
                f"sample_weight sums to 0; at least one {what} must have a positive weight"
            )
