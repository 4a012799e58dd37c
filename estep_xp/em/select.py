"""The choice of a family and of the number of components, by a criterion over fits of all."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from estep_xp.arrays.namespace import is_tracer, namespace_of, to_host
from estep_xp.arrays.record_repr import summarized
from estep_xp.arrays.text import shown
from estep_xp.arrays.validation import check_whole
from estep_xp.chain.hmm import HMM
from estep_xp.em.criteria import criteria_of, n_parameters
from estep_xp.em.fit import Options, run_fit
from estep_xp.em.fit_warnings import Diagnosis
from estep_xp.em.initialize import check_method, initialize
from estep_xp.em.result import EMResult

if TYPE_CHECKING:
    from estep_xp.arrays.shapes import LikeN, LikeNoise, LikeS, RowsLike

CRITERIA = ("bic", "aic", "icl")


class Candidate(NamedTuple):
    """One fit of a selection; criteria are better when lower."""

    family: str
    n_components: int
    log_likelihood: float
    n_parameters: int
    aic: float
    bic: float
    icl: float  # NaN of a hidden Markov model
    n_iter: int
    converged: bool
    collapsed: bool
    result: EMResult


@summarized
class Selection(NamedTuple):
    """Fits of all candidates, and the best of them.

    ``print(selection)`` shows the table, and ``pandas.DataFrame(selection.table)`` makes a frame.

    Parameters
    ----------
    best : EMResult
        The fit that the criterion prefers.
    table : tuple of Candidate
        One row for each fit, best first: family, n_components, log_likelihood, n_parameters, aic,
        bic, icl, n_iter, converged, collapsed, and the fit itself as ``result``. Fits in which a
        component collapsed stand last: their likelihood has no meaning.

    Examples
    --------
    >>> import estep_xp as ex
    >>> x = [1.0, 1.2, 1.1, 1.4, 1.3, 6.1, 6.4, 6.2, 6.6, 6.3]
    >>> selection = ex.select(x, ex.UnivariateGaussian, [1, 2])
    >>> [row.n_components for row in selection.table]
    [2, 1]
    """

    best: EMResult
    table: tuple[Candidate, ...]

    def _shown_fields(self) -> dict[str, Any]:
        first = self.table[0]
        shown_fields = ("family", "n_components", "log_likelihood", "bic")
        return {"n_fits": len(self.table)} | {name: getattr(first, name) for name in shown_fields}

    def __str__(self) -> str:
        """Return the table as text, a line a fit."""
        names = Candidate._fields[:-1]
        lines = [names, *(tuple(map(_cell, row[:-1])) for row in self.table)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def select(
    x: RowsLike,
    families: Any,
    n_components: Any,
    *,
    criterion: str = "bic",
    seed: int = 0,
    n_init: int = 1,
    method: str | None = None,
    sample_weight: LikeN | LikeS | None = None,
    tol: float = 1e-6,
    max_iter: int = 1000,
    variance_floor: float | None = None,
    block_size: int | None = None,
    workers: int | None = None,
    missing: bool = False,
    noise: LikeNoise | None = None,
    lengths: LikeS | None = None,
) -> Selection:
    """Fit mixtures, or hidden Markov models, of several families and sizes; choose by a criterion.

    Parameters
    ----------
    x : array, shape (n, d)
        Observations, one per row; shape (n,) for univariate components.
    families : family or sequence of families
        Classes, such as `FullGaussian`, or components as templates, as `initialize` takes them.
    n_components : int or sequence of int
        Numbers of components to try, such as ``range(1, 9)``.
    criterion : {"bic", "aic", "icl"}, optional
        What is to be lowest.
    seed : int, optional
        For the starts.
    n_init : int, optional
        Starts of each fit, of which the best counts.
    method : str, optional
        How they are chosen, see `initialize`; by default a finished start.
    sample_weight, tol, max_iter, variance_floor, block_size, workers, missing, noise : optional
        As for `fit`.
    lengths : array of int, shape (s,), optional
        The length of each sequence in `x`, ``[n]`` if there is one: then hidden Markov models of
        `n_components` states are fitted, each from `HMM.from_mixture` of what `initialize` gives.

    Returns
    -------
    Selection
        ``best``, the `EMResult` that is chosen, and ``table``, one row for each fit, best first.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong shape, dtype or value, or no fit succeeds.

    Warns
    -----
    RuntimeWarning
        If a fit fails, which is then left out; and what `fit` would warn of the best one.

    Notes
    -----
    BIC finds the number of components of mixtures that are well apart (Schwarz 1978; Fraley and
    Raftery 2002), ICL the number of clusters.

    Examples
    --------
    >>> import estep_xp as ex
    >>> x = [1.0, 1.2, 1.1, 1.4, 1.3, 6.1, 6.4, 6.2, 6.6, 6.3]
    >>> ex.select(x, ex.UnivariateGaussian, range(1, 4)).best.mixture.weights
    array([0.5, 0.5])
    """
    if criterion not in CRITERIA:
        names = ", ".join(map(repr, sorted(CRITERIA)))
        raise ValueError(f"criterion is {shown(criterion)}; criterion must be one of {names}")
    check_method(method)
    if any(map(is_tracer, (x, sample_weight))):
        raise TypeError("select compares numbers, and there are none under jit; call it outside")
    options = Options(tol, max_iter, variance_floor, n_init, seed, block_size=block_size)
    options = options._replace(workers=workers, missing=missing, noise=noise, lengths=lengths)
    options = options._replace(method=method)
    if lengths is not None and criterion == "icl":
        raise ValueError("criterion is 'icl', which is of mixtures; for an HMM take 'bic' or 'aic'")
    sizes = _sizes(n_components)
    pairs = [(family, k) for family in _families(families) for k in sizes]
    fits: list[tuple[Candidate, Diagnosis]] = []
    failures: list[tuple[str, ValueError]] = []
    for family, k in pairs:
        try:
            fits.append(fit_candidate(x, family, k, sample_weight, options))
        except ValueError as error:
            failures.append((f"{_name(family)} with {k} components", error))
    if not fits:
        raise failures[-1][1]
    for name, failure in failures:
        warnings.warn(f"{name} is left out: {failure}", RuntimeWarning, stacklevel=2)
    fits = rank(fits, criterion)
    best, diagnosis = fits[0]
    if diagnosis.warning is not None:
        warnings.warn(diagnosis.warning, stacklevel=2)
    return Selection(best.result, tuple(row for row, _ in fits))


def rank(
    fits: Iterable[tuple[Candidate, Diagnosis]], criterion: str
) -> list[tuple[Candidate, Diagnosis]]:
    """Fits, best first; those in which a component collapsed last."""
    place = Candidate._fields.index(criterion)
    return sorted(fits, key=lambda fit: (fit[0].collapsed, fit[0][place]))


def fit_candidate(
    x: Any, family: Any, k: int, sample_weight: Any, options: Options
) -> tuple[Candidate, Diagnosis]:
    """One fit from a start of its own, and what there is to say of it.

    With lengths of sequences, of a hidden Markov model, which starts at the mixture of its
    components; it has no ICL.
    """
    seen: Any = {"missing": options.missing, "noise": options.noise}
    start: Any = initialize(
        x,
        k,
        family,
        seed=options.seed,
        method=options.method,
        sample_weight=_weights_of_rows(sample_weight, options.lengths),
        block_size=options.block_size,
        workers=options.workers,
        **seen,
    )
    if options.lengths is not None:
        start = HMM.from_mixture(start)
    result, diagnosis = run_fit(x, start, sample_weight, options)
    criteria = criteria_of(
        x, result.mixture, result.statistics, sample_weight=sample_weight, **seen
    )
    row = Candidate(
        family=_name(family),
        n_components=k,
        log_likelihood=float(to_host(result.log_likelihood)),
        n_parameters=n_parameters(result.mixture),
        n_iter=int(result.n_iter),
        converged=bool(result.converged),
        collapsed=bool(diagnosis.collapse.components),
        result=result,
        **{name: float(to_host(value)) for name, value in criteria.items()},
    )
    return row, diagnosis


def _weights_of_rows(sample_weight: Any, lengths: Any) -> Any:
    """Weights of rows, each that of its sequence where there are sequences."""
    if sample_weight is None or lengths is None:
        return sample_weight
    weights = sample_weight if hasattr(sample_weight, "shape") else np.asarray(sample_weight)
    counts = to_host(lengths) if hasattr(lengths, "shape") else np.asarray(lengths)
    if counts.shape != weights.shape or counts.dtype.kind not in "iu" or (counts < 1).any():
        return None  # which `fit` says better
    index = np.repeat(np.arange(len(counts)), counts)
    xp = namespace_of(weights)
    return xp.take(weights, xp.asarray(index), axis=0)


def _name(family: Any) -> str:
    return (family if isinstance(family, type) else type(family)).__name__


def _families(families: Any) -> list[Any]:
    """The families as a list; components of a template are a tuple themselves."""
    if hasattr(families, "log_prob") or not isinstance(families, (list, tuple)):
        return [families]
    if not families:
        raise ValueError("families is empty; give at least one, such as [FullGaussian]")
    return list(families)


def _sizes(n_components: Any) -> list[int]:
    if not isinstance(n_components, Iterable) or isinstance(n_components, (str, bytes)):
        return [check_whole("n_components", n_components, 1)]
    sizes = [check_whole(f"n_components[{i}]", k, 1) for i, k in enumerate(n_components)]
    if not sizes:
        raise ValueError("n_components is empty; give at least one number, such as range(1, 9)")
    return list(dict.fromkeys(sizes))
