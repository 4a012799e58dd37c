"""What the command `fit` prints: how the fit went, and its components as tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estep_xp.cli.compute.fitting import FitSummary
from estep_xp.cli.compute.parameters import (
    Matrix,
    Section,
    correlations_of,
    describe,
    variances_of,
)
from estep_xp.cli.text.numbers import format_count, format_decimal
from estep_xp.cli.write.layout import Style, figure_lines
from estep_xp.cli.write.report import encode_json
from estep_xp.cli.write.tables import Cells, fitting_table_lines, shorten
from estep_xp.files.components import GAUSSIAN_FAMILIES, describe_components

_MAX_FEATURE_LENGTH = 40
_MAX_HEADING_LENGTH = 16
_WIDE = 72  # from so many columns on numbers have all their digits
_MAX_KINDS = 50  # of a column of categories that are printed
_MAX_CORRELATED = 20  # features whose correlations are printed


def fit_warnings(fit: FitSummary, data: str) -> list[str]:
    """Return the warnings about a fit that has not converged or has collapsed, and failed ones."""
    return [f"warning: {data}: {warning}" for warning in fit.warnings]


def fit_json(fit: FitSummary, names: Sequence[str] | None, output: str) -> str:
    """Return a fit as one JSON object."""
    best = fit.candidate
    return encode_json(
        {
            "n_observations": fit.n_rows,
            "n_components": best.n_components,
            "n_features": fit.n_features,
            "features": None if names is None else list(names),
            "family": fit.wish.family,
            "n_iter": best.n_iter,
            "converged": best.converged,
            "log_likelihood": fit.log_likelihood,
            "n_parameters": best.n_parameters,
            "aic": best.aic,
            "bic": best.bic,
            "icl": best.icl,
            **_as_lists(fit.joint),
            **_parameters(fit.model.components),
            "output": output,
            "criterion": fit.criterion,
            "table": [
                {
                    "family": wish.family,
                    "n_components": row.n_components,
                    "n_parameters": row.n_parameters,
                    "log_likelihood": row.log_likelihood,
                    "aic": row.aic,
                    "bic": row.bic,
                    "icl": row.icl,
                    "n_iter": row.n_iter,
                    "converged": row.converged,
                    "collapsed": row.collapsed,
                }
                for wish, row in fit.table
            ],
        }
    )


def _parameters(components: Any) -> dict[str, Any]:
    """Return parameters of components: moments of Gaussians, fields of others by their names."""
    described = describe_components(components)
    if described.pop("family") not in GAUSSIAN_FAMILIES:
        return {name: _as_lists(value) for name, value in described.items()}
    means = components.means
    variances = variances_of(components).reshape(means.shape)
    correlations = correlations_of(components)
    return {
        "means": means.tolist(),
        "variances": variances.tolist(),
        "standard_deviations": np.sqrt(variances).tolist(),
    } | ({} if correlations is None else {"correlations": correlations.tolist()})


def _as_lists(value: Any) -> Any:
    """Return a description of components with lists for its arrays."""
    if isinstance(value, dict):
        return {name: _as_lists(one) for name, one in value.items()}
    return (
        list(map(_as_lists, value))
        if isinstance(value, list)
        else getattr(value, "tolist", lambda: value)()
    )


def fit_text(
    fit: FitSummary, names: Sequence[str] | None, output: str, style: Style
) -> Iterator[str]:
    """Yield the lines of a fit, for a person: figures, and a row a component and feature."""
    best = fit.candidate
    if len(fit.table) > 1:
        yield from _table_of_fits(fit, style)
        yield "\n"
    noun = "States" if fit.is_chain else "Components"
    criteria = {"BIC": best.bic} | {fit.criterion.upper(): getattr(best, fit.criterion)}
    figures = {
        "Rows": str(fit.n_rows),
        noun: f"{best.n_components} {fit.wish.family}",
        "Iterations": f"{best.n_iter}, {'converged' if best.converged else 'not converged'}",
        "Log-likelihood": format_decimal(fit.log_likelihood),
        **{name: format_decimal(value) for name, value in criteria.items()},
        "Output": output,
    }
    if len(fit.table) > 1:
        figures[noun] += f", of {len(fit.table)} fits the best by {fit.criterion.upper()}"
    yield from figure_lines(figures, style)
    features = names or [f"column {index}" for index in range(fit.n_features)]
    sections = describe(fit.model.components, features)
    for number, section in enumerate(sections):
        yield "\n"
        if len(sections) > 1:
            yield f"{section.family}: {', '.join(section.features)}\n"
        weights = next(iter(fit.joint.values())) if not number else None
        yield from _section_table(section, weights, fit, style, named=len(sections) > 1)
        for matrix in section.matrices:
            yield from _matrix_table(section, matrix, fit, style)
    if fit.is_chain:
        yield "\n"
        yield from _transition_table(fit.joint["transitions"], style)


def _table_of_fits(fit: FitSummary, style: Style) -> Iterator[str]:
    """Yield a row a fit, best first."""
    rows = [row for _, row in fit.table]
    notes = [
        "collapsed" if row.collapsed else "" if row.converged else "not converged" for row in rows
    ]
    criterion = [getattr(row, fit.criterion) for row in rows]
    columns = [
        Cells("family", [wish.family for wish, _ in fit.table], is_text=True, is_key=True),
        Cells(f"{fit.noun}s", [str(row.n_components) for row in rows], is_key=True),
        Cells("parameters", [str(row.n_parameters) for row in rows], is_optional=True),
        Cells("log-likelihood", [f"{row.log_likelihood:.2f}" for row in rows]),
        Cells(fit.criterion.upper(), [f"{value:.2f}" for value in criterion]),
    ]
    if any(notes):
        columns.append(Cells("note", notes, is_text=True))
    yield from fitting_table_lines(columns, style)


def _section_table(
    section: Section,
    weights: NDArray[np.float64] | None,
    fit: FitSummary,
    style: Style,
    *,
    named: bool,
) -> Iterator[str]:
    """Yield weights and parameters, one row a component and feature."""
    k = len(next(iter(section.of_item.values())))
    m = len(section.items)
    shown = min(m, _MAX_KINDS) if section.item == "kind" else m
    columns = [Cells(fit.noun, _pad_below(map(str, range(k)), shown), is_key=True)]
    if weights is not None:
        heading = "initial" if fit.is_chain else "weight"
        columns.append(Cells(heading, _pad_below(map(format_decimal, weights.tolist()), shown)))
    digits = 6 if style.columns is None or style.columns >= _WIDE else 5
    for heading, values in section.of_component.items():
        cells = [f"{value:.{digits}g}" for value in values.tolist()]
        columns.append(Cells(heading, _pad_below(cells, shown)))
    if m > 1 or named:
        words = [shorten(item, _MAX_FEATURE_LENGTH) for item in section.items[:shown]] * k
        columns.append(Cells(section.item, words, is_text=section.item != "kind", is_key=True))
    for heading, values in section.of_item.items():
        cells = [f"{value:.{digits}g}" for value in values[:, :shown].reshape(-1).tolist()]
        columns.append(Cells(heading, cells))
    yield from fitting_table_lines(columns, style)
    if shown < m:
        yield f"{m - shown} more kinds are not shown; --json has them\n"


def _matrix_table(section: Section, matrix: Matrix, fit: FitSummary, style: Style) -> Iterator[str]:
    """Yield correlations or loadings, one row a component and feature."""
    k, m, c = matrix.values.shape
    yield "\n"
    if max(m if matrix.headings == section.items else 0, c) > _MAX_CORRELATED:
        yield f"{matrix.title} of {format_count(m, 'feature')} are not shown; --json has them\n"
        return
    yield matrix.title + (f", the same for all {fit.noun}s\n" if matrix.is_shared else "\n")
    k = 1 if matrix.is_shared else k
    words = [shorten(item, _MAX_FEATURE_LENGTH) for item in section.items] * k
    columns = [Cells(section.item, words, is_text=True, is_key=True)]
    if not matrix.is_shared:
        columns.insert(0, Cells(fit.noun, _pad_below(map(str, range(k)), m), is_key=True))
    for heading, values in zip(matrix.headings, matrix.values[:k].reshape(-1, c).T, strict=True):
        cells = ["" if math.isnan(value) else f"{value:.4f}" for value in values.tolist()]
        columns.append(Cells(shorten(heading, _MAX_HEADING_LENGTH), cells))
    yield from fitting_table_lines(columns, style)


def _transition_table(transitions: NDArray[np.float64], style: Style) -> Iterator[str]:
    """Yield the probabilities of the next row's state, a row a state."""
    k = len(transitions)
    yield "Transitions\n"
    columns = [Cells("from state", list(map(str, range(k))), is_key=True)]
    for j, values in enumerate(transitions.T):
        columns.append(Cells(f"to {j}", list(map(format_decimal, values.tolist()))))
    yield from fitting_table_lines(columns, style)


def _pad_below(words: Iterable[str], times: int) -> list[str]:
    """Return a column of cells: each word, then blanks for the rest of its rows."""
    return [cell for word in words for cell in (word, *[""] * (times - 1))]
