"""The Python lines that compute what the page shows."""

from __future__ import annotations

import textwrap

from estep_xp.calculator.fields import format_list
from estep_xp.cli.read.inputs import Inputs

_MAX_NUMBERS = 1000  # longer lists are loaded from the downloaded file
_WIDTH = 88
FILE = "responsibilities.csv"


def write_recipe(inputs: Inputs) -> str:
    """Return a script: observations and mixture, the E-step, and the figures of the page."""
    imports = ["import estep_xp as ex"]
    x, means, variances, weights = (_python_list(values.tolist()) for values in inputs)
    if len(inputs.x) > _MAX_NUMBERS:
        imports = ["import numpy as np", "", *imports]
        x = f'np.loadtxt("{FILE}", delimiter=",", skiprows=1, usecols=0)  # the page\'s download'
    lines = [
        *imports,
        "",
        f"x = {x}",
        f"means = {means}",
        f"variances = {variances}",
        f"weights = {weights}",
        "",
        "mixture = ex.Mixture(weights, ex.UnivariateGaussian(means, variances))",
        "result = ex.e_step(x, mixture)",
        "",
        "print(result.responsibilities)",
        "print(result.mean_max_responsibility)",
        "print(result.total_log_likelihood)",
    ]
    return "\n".join(lines) + "\n"


def _python_list(numbers: list[float]) -> str:
    """Return a list in Python's words, on one line if it is short."""
    text = format_list(numbers)
    if len(text) < _WIDTH:
        return f"[{text}]"
    indented = textwrap.fill(
        text, _WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False
    )
    return f"[\n{indented},\n]"
