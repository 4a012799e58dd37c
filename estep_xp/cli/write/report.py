"""What the commands print: figures and tables to read, JSON and CSV for machines."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from estep_xp.cli.compute.evaluate import Evaluation, rescale_weights
from estep_xp.cli.compute.results import csv_heading, csv_lines, result_values, split_columns
from estep_xp.cli.compute.stream import Summary
from estep_xp.cli.text.numbers import format_decimal, format_exact
from estep_xp.cli.write.layout import GAP, Style, TableColumn, figure_lines, table_lines


class Calculation(NamedTuple):
    """A univariate mixture's E-step, to be printed.

    Attributes
    ----------
    x : ndarray of shape (n,)
        The observations.
    weights : ndarray of shape (k,)
        Mixing weights as given.
    evaluation : Evaluation
        The E-step.
    """

    x: NDArray[np.float64]
    weights: NDArray[np.float64]
    evaluation: Evaluation

    @property
    def normalized_weights(self) -> list[float]:
        """Mixing weights that sum to 1."""
        weights = rescale_weights(self.weights) + 0.0  # turns -0.0 into 0.0
        return [float(weight) for weight in weights / math.fsum(weights)]

    @property
    def warning(self) -> str | None:
        """The warning about observations of zero density, if there are any."""
        impossible = np.flatnonzero(self.evaluation.results.labels < 0)
        if not len(impossible):
            return None
        first = f"the first is value {impossible[0] + 1}"
        return _density_warning("x", len(impossible), len(self.x), "observations", first)

    @property
    def title(self) -> str:
        """The title of its picture."""
        n = len(self.x)
        n_possible = n - int(np.count_nonzero(self.evaluation.results.labels < 0))
        title = "1 observation" if n == 1 else f"{n} observations"
        if n_possible < n:
            return f"{title}, {n - n_possible} of zero density not shown"
        total = format_decimal(self.evaluation.total_log_likelihood).replace("-", "\N{MINUS SIGN}")
        return f"{title}, log-likelihood {total}"

    def json(self) -> str:
        """Return everything as one JSON object."""
        results, mean_max_responsibility, log_likelihood = self.evaluation
        return encode_json(
            {
                "n_observations": len(self.x),
                "n_components": len(self.weights),
                "weights": self.normalized_weights,
                "responsibilities": results.responsibilities.tolist(),
                "labels": results.labels.tolist(),
                "per_observation_log_likelihood": results.log_likelihood.tolist(),
                "mean_max_responsibility": mean_max_responsibility,
                "log_likelihood": log_likelihood,
            }
        )

    def csv(self) -> Iterator[str]:
        """Yield the lines of a CSV file, one an observation."""
        yield csv_heading(len(self.weights), "x")
        values = [self.x, *result_values(self.evaluation.results)]
        yield from (f"{line}\n" for line in csv_lines(split_columns(values)))

    def text(self, style: Style) -> Iterator[str]:
        """Yield lines for a person: figures, and a table with one row an observation."""
        results, mean_max_responsibility, log_likelihood = self.evaluation
        weights = GAP.join(map(format_decimal, self.normalized_weights))
        figures = {
            "Observations": str(len(self.x)),
            "Components": str(len(self.weights)),
            "Weights": weights,
        }
        yield from figure_lines(figures, style)
        labels = [str(label) if label >= 0 else "-" for label in results.labels.tolist()]
        values = list(map(format_exact, self.x.tolist()))
        for group in _split_components(len(self.weights), max(map(len, values)), style.columns):
            yield "\n"
            yield from _table(values, results.responsibilities, labels, group, style)
        yield "\n"
        figures = {
            "Average max responsibility": format_decimal(mean_max_responsibility),
            "Log-likelihood": format_decimal(log_likelihood),
        }
        yield from figure_lines(figures, style)


def summary_warning(summary: Summary, data: str) -> str | None:
    """Return the warning about rows of zero density, if there are any."""
    if not summary.n_impossible:
        return None
    first = f"the first is row {summary.first_impossible}, counted from 0"
    return _density_warning(data, summary.n_impossible, summary.n_rows, "rows", first)


def summary_json(summary: Summary, output: str) -> str:
    """Return the summary of a run as one JSON object."""
    return encode_json(
        {
            "n_observations": summary.n_rows,
            "n_components": len(summary.rows_per_component),
            "rows_per_component": summary.rows_per_component,
            "mean_max_responsibility": summary.mean_max_responsibility,
            "log_likelihood": summary.log_likelihood,
            "output": output,
        }
    )


def summary_text(
    summary: Summary, output: str, style: Style, *, noun: str = "component"
) -> Iterator[str]:
    """Yield the lines of the summary of a run, for a person; `noun` is what has rows."""
    figures = {
        "Rows": str(summary.n_rows),
        f"{noun.capitalize()}s": str(len(summary.rows_per_component)),
        f"Rows per {noun}": GAP.join(map(str, summary.rows_per_component)),
        "Average max responsibility": format_decimal(summary.mean_max_responsibility),
        "Log-likelihood": format_decimal(summary.log_likelihood),
        "Output": output,
    }
    return figure_lines(figures, style)


def drawn_json(rows_per_component: list[int], output: str) -> str:
    """Return the summary of drawn rows as one JSON object."""
    return encode_json(
        {
            "n_observations": sum(rows_per_component),
            "n_components": len(rows_per_component),
            "rows_per_component": rows_per_component,
            "output": output,
        }
    )


def drawn_text(
    rows_per_component: list[int], output: str, style: Style, *, noun: str = "component"
) -> Iterator[str]:
    """Yield the lines of the summary of drawn rows, for a person; `noun` is what has rows."""
    figures = {
        "Rows": str(sum(rows_per_component)),
        f"{noun.capitalize()}s": str(len(rows_per_component)),
        f"Rows per {noun}": GAP.join(map(str, rows_per_component)),
        "Output": output,
    }
    return figure_lines(figures, style)


def _density_warning(field: str, count: int, n: int, noun: str, first: str) -> str:
    has = "has" if count == 1 else "have"
    return (
        f"warning: {field}: {count} of {n} {noun} {has} zero density under every component "
        f"({first}): no responsibilities there"
    )


def _split_components(k: int, value_width: int, columns: int | None) -> Iterator[range]:
    """Yield ranges of components that fit side by side in one table."""
    size = k
    if columns is not None:
        room = columns - value_width - len(GAP + "label")
        size = max(1, room // len(f"{GAP}{_heading(k - 1)}"))
    for start in range(0, k, size):
        yield range(start, min(start + size, k))


def _table(
    values: Sequence[str],
    responsibilities: NDArray[np.float64],
    labels: Sequence[str],
    group: range,
    style: Style,
) -> Iterator[str]:
    """Yield a table of some components, one row an observation."""
    width = max(len(_heading(group[-1])), len(format_decimal(1.0)))
    columns = [
        TableColumn("x", max(map(len, values))),
        *(TableColumn(_heading(j), width) for j in group),
        TableColumn("label", len("label")),
    ]
    shares = responsibilities[:, group].tolist()
    rows = (
        [value, *map(format_decimal, row), label]
        for value, row, label in zip(values, shares, labels, strict=True)
    )
    cells = {str(component): cell for cell, component in enumerate(group, start=1)}
    return table_lines(columns, rows, style, strong=map(cells.get, labels))


def _heading(component: int) -> str:
    return f"component {component}"


def encode_json(record: dict[str, Any]) -> str:
    """Return `record` as JSON; what JSON cannot write, NaN and infinity, is null."""
    return json.dumps(_replace_nonfinite(record), allow_nan=False) + "\n"


def _replace_nonfinite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _replace_nonfinite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_replace_nonfinite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
