"""What the command `fit` prints: how the fit went, and its components as a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estep_xp.cli.compute.fitting import FitSummary
from estep_xp.cli.text.numbers import format_decimal
from estep_xp.cli.write.layout import GAP, Style, TableColumn, figure_lines, table_lines
from estep_xp.cli.write.report import encode_json
from estep_xp.files.errors import show_token

_MAX_FEATURE_LENGTH = 40


def fit_warning(fit: FitSummary, data: str) -> str | None:
    """Return the warning about a fit that has not converged, or has collapsed."""
    return f"warning: {data}: {fit.warning}" if fit.warning else None


def fit_json(fit: FitSummary, names: Sequence[str] | None, output: str) -> str:
    """Return a fit as one JSON object."""
    components: Any = fit.mixture.components
    means = components.means
    return encode_json(
        {
            "n_observations": fit.n_rows,
            "n_components": len(means),
            "n_features": 1 if means.ndim == 1 else means.shape[1],
            "features": None if names is None else list(names),
            "family": fit.family,
            "n_iter": fit.n_iter,
            "converged": fit.converged,
            "log_likelihood": fit.log_likelihood,
            "bic": fit.bic,
            "weights": fit.mixture.weights.tolist(),
            "means": means.tolist(),
            "standard_deviations": _standard_deviations(fit).reshape(means.shape).tolist(),
            "output": output,
        }
    )


def fit_text(
    fit: FitSummary, names: Sequence[str] | None, output: str, style: Style
) -> Iterator[str]:
    """Yield the lines of a fit, for a person: figures, and a row a component and feature."""
    figures = {
        "Rows": str(fit.n_rows),
        "Components": f"{len(fit.mixture.weights)} {fit.family}",
        "Iterations": f"{fit.n_iter}, {'converged' if fit.converged else 'not converged'}",
        "Log-likelihood": format_decimal(fit.log_likelihood),
        "BIC": format_decimal(fit.bic),
        "Output": output,
    }
    yield from figure_lines(figures, style)
    yield "\n"
    yield from _table(fit, names, style)


def _table(fit: FitSummary, names: Sequence[str] | None, style: Style) -> Iterator[str]:
    """Yield weights, means and standard deviations, one row a component and feature."""
    components: Any = fit.mixture.components
    k, d = components.means.reshape(len(components.means), -1).shape
    cells = {
        "component": _pad_below(map(str, range(k)), d),
        "weight": _pad_below(map(format_decimal, fit.mixture.weights.tolist()), d),
        "feature": [],
        "mean": [f"{mean:.6g}" for mean in components.means.reshape(-1).tolist()],
        "standard deviation": [
            f"{value:.6g}" for value in _standard_deviations(fit).reshape(-1).tolist()
        ],
    }
    widths = {heading: max(map(len, [heading, *column])) for heading, column in cells.items()}
    if d > 1:
        room = _MAX_FEATURE_LENGTH
        if style.columns is not None:
            others = sum(widths.values()) - widths["feature"]
            room = max(style.columns - others - len(GAP) * (len(widths) - 1), len("feature"))
        features = names or [f"column {index}" for index in range(d)]
        cells["feature"] = [_shorten(show_token(name), room) for name in features] * k
        widths["feature"] = max(map(len, ["feature", *cells["feature"]]))
    else:
        del cells["feature"]
    columns = [
        TableColumn(heading, widths[heading], is_text=heading == "feature") for heading in cells
    ]
    return table_lines(columns, zip(*cells.values(), strict=True), style)


def _pad_below(words: Iterable[str], times: int) -> list[str]:
    """Return a column of cells: each word, then blanks for the rest of its rows."""
    return [cell for word in words for cell in (word, *[""] * (times - 1))]


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."


def _standard_deviations(fit: FitSummary) -> NDArray[np.float64]:
    """Return the standard deviation (k, d) of each feature of each component."""
    components: Any = fit.mixture.components
    variances = components.covariances
    if fit.family in ("tied", "full"):
        variances = np.diagonal(variances, axis1=-2, axis2=-1)
    elif fit.family != "diagonal":
        variances = variances[:, None]  # the same for all features
    k = len(components.means)
    shape = components.means.reshape(k, -1).shape
    deviations: NDArray[np.float64] = np.sqrt(np.broadcast_to(variances, shape))
    return deviations
