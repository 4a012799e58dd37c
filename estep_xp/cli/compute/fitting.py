"""EM on the rows of a file, and the model that comes out of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import estep_xp as ex
from estep_xp.cli.compute.backend import array_converter, convert_mixture
from estep_xp.cli.compute.families import Wish
from estep_xp.cli.text.numbers import format_count
from estep_xp.em.fit import Options
from estep_xp.em.fit_warnings import Diagnosis
from estep_xp.em.progress import show_bar
from estep_xp.em.select import Candidate, fit_candidate, rank
from estep_xp.files.errors import InputError, show_token

_Fit = tuple[Wish, Candidate, Diagnosis]
_Observe = Callable[[int, Wish, int], Callable[[Any], None] | None]


class FitOptions(NamedTuple):
    """How to fit.

    Attributes
    ----------
    wishes : tuple of Wish
        The families to try.
    n_components : tuple of int
        The numbers of components to try.
    criterion : str
        "bic", "aic" or "icl": what is to be lowest, where there are several fits.
    seed : int
        Seed of the first start; the others use the seeds after it.
    n_init : int
        Number of starts; the best fit is kept.
    tol : float
        Stop when the log-likelihood per row changes by less.
    max_iter : int
        Maximum number of iterations from each start.
    variance_floor : float or None
        Added to all variances; None for the library's default.
    backend : str
        "numpy" or "jax".
    missing : bool
        Whether NaN is a value that was not observed.
    as_chain : bool
        Whether to fit hidden Markov models, whose components are states.
    lengths : ndarray of shape (s,), optional
        The length of each sequence, of a chain.
    """

    wishes: tuple[Wish, ...]
    n_components: tuple[int, ...]
    criterion: str
    seed: int
    n_init: int
    tol: float
    max_iter: int
    variance_floor: float | None
    backend: str
    missing: bool = False
    as_chain: bool = False
    lengths: NDArray[np.int64] | None = None


class FitSummary(NamedTuple):
    """A fitted model, and figures about the fit.

    Attributes
    ----------
    wish : Wish
        What was fitted.
    model : Mixture or HMM
        The model, on NumPy arrays.
    n_rows, n_features : int
        Number of rows and of columns.
    log_likelihood : float
        Log-likelihood of all rows.
    criterion : str
        What chose among several fits.
    table : tuple of (Wish, Candidate)
        All fits, best first; the first is this one.
    warnings : tuple of str
        The library's warnings, in terms of options and column names.
    """

    wish: Wish
    model: Any
    n_rows: int
    n_features: int
    log_likelihood: float
    criterion: str
    table: tuple[tuple[Wish, Candidate], ...]
    warnings: tuple[str, ...]

    @property
    def is_chain(self) -> bool:
        """Whether the model is a hidden Markov model."""
        return isinstance(self.model, ex.HMM)

    @property
    def noun(self) -> str:
        """What one of its components is called."""
        return "state" if self.is_chain else "component"

    @property
    def joint(self) -> dict[str, NDArray[np.float64]]:
        """What joins the components, by name: weights, or the probabilities of a chain."""
        *fields, _ = self.model._asdict().items()
        return dict(fields)

    @property
    def candidate(self) -> Candidate:
        """The figures of the best fit."""
        return self.table[0][1]


def fit_rows(
    rows: NDArray[np.float64],
    field: str,
    options: FitOptions,
    names: Sequence[str] | None = None,
    *,
    progress: bool,
) -> FitSummary:
    """Return the best fit to `rows`.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        The observations.
    field : str
        What holds them, for errors.
    options : FitOptions
        How to fit.
    names : sequence of str, optional
        The names of the columns, for warnings.
    progress : bool
        Whether to show a bar with the log-likelihood on standard error.

    Raises
    ------
    InputError
        If there are fewer rows than components, or no such model fits them.
    SystemFailure
        If the backend is not installed.
    """
    k = max(options.n_components)
    if k > len(rows):
        has = f"{field} has {format_count(len(rows), 'row')}"
        raise InputError("--components", f"is {k}; {has}, and there must be one for each")
    convert = array_converter(options.backend)
    fits, warnings = _fit_all(rows, field, options, convert, progress=progress)
    best = rank([fit[1:] for fit in fits], options.criterion)
    wishes = {id(candidate): wish for wish, candidate, _ in fits}
    table = tuple((wishes[id(candidate)], candidate) for candidate, _ in best)
    (wish, candidate), diagnosis = table[0], best[0][1]
    if diagnosis.warning is not None:
        warnings.append(_name_features(_name_options(str(diagnosis.warning)), names))
    model = candidate.result.mixture
    x, lengths = convert(wish.shape(rows)), options.lengths
    total = float(ex.log_likelihood(x, model, lengths=lengths, missing=options.missing))
    return FitSummary(
        wish,
        convert_mixture(model, np.asarray),
        len(rows),
        rows.shape[1],
        total,
        options.criterion,
        table,
        tuple(warnings),
    )


def _fit_all(
    rows: NDArray[np.float64], field: str, options: FitOptions, convert: Any, *, progress: bool
) -> tuple[list[_Fit], list[str]]:
    """Return all fits that succeed, and a warning for each other one; InputError if all fail."""
    pairs = [(wish, k) for wish in options.wishes for k in options.n_components]
    fits: list[_Fit] = []
    warnings: list[str] = []
    with _progress(len(pairs), progress=progress) as observe:
        for i, (wish, k) in enumerate(pairs):
            x = convert(wish.shape(rows))
            em_options = Options(
                tol=options.tol,
                max_iter=options.max_iter,
                variance_floor=options.variance_floor,
                n_init=options.n_init,
                seed=options.seed,
                progress=progress and len(pairs) == 1,
                callback=observe(i, wish, k),
                missing=options.missing,
                lengths=options.lengths,
            )
            try:
                start = wish.start_from(rows)
                found = fit_candidate(x, start, k, None, em_options, as_chain=options.as_chain)
                fits.append((wish, *found))
            except ValueError as error:
                reason = _name_options(str(error))
                if i + 1 == len(pairs) and not fits:
                    raise InputError(field, reason) from error
                count = format_count(k, "component")
                warnings.append(f"{wish.family} with {count} is left out: {reason}")
    return fits, warnings


@contextmanager
def _progress(n_fits: int, *, progress: bool) -> Iterator[_Observe]:
    """Show a bar over several fits, and yield what gives each of them its callback."""
    if not progress or n_fits == 1:
        yield lambda *_: None
        return
    with show_bar(n_fits, in_percent=False) as update:

        def observe(i: int, wish: Wish, k: int) -> Callable[[Any], None]:
            description = f"{wish.family}, {k}"

            def advance(result: Any) -> None:
                note = f"log-likelihood {float(result.log_likelihood):.6f}"
                update(i, note, description=description)

            update(i, "", description=description)
            return advance

        yield observe
        update(n_fits, "", description=format_count(n_fits, "fit"))


def _name_options(message: str) -> str:
    """Replace argument names of the library in `message` by the command's options."""
    return re.sub(r"\b(variance_floor|max_iter|n_init|tol|seed)\b", _option_name, message)


def _name_features(warning: str, names: Sequence[str] | None) -> str:
    """Replace feature indices at the beginning of `warning` by column names."""
    found = re.match(r"(?:\d+ )?features? (.+?) var", warning)
    if names is None or found is None:
        return warning
    called = re.sub(r"\d+", lambda index: show_token(names[int(index[0])]), found[1])
    return f"{warning[: found.start(1)]}{called}{warning[found.end(1) :]}"


def _option_name(argument: re.Match[str]) -> str:
    name = "init" if argument[0] == "n_init" else argument[0]
    return "--" + name.replace("_", "-")
