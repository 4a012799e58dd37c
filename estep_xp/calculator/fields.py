"""The page's four fields: their texts, the link that carries them, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote_plus

from estep_xp.cli.read.inputs import Inputs, check_inputs
from estep_xp.cli.text.numbers import format_exact
from estep_xp.files.errors import InputError

MAX_OBSERVATIONS = 20_000
MAX_COMPONENTS = 50
_ELSEWHERE = "the command line and the library take any number"


class Fields(NamedTuple):
    """The texts of the four fields, as they were typed.

    Attributes
    ----------
    x, means, variances, weights : str
        Observations, and one number a component; empty weights are equal ones.
    """

    x: str
    means: str
    variances: str
    weights: str

    @property
    def query(self) -> str:
        """The query of the link that carries them."""
        texts = self._asdict().items()
        return "&".join(f"{name}={quote_plus(text, safe=',')}" for name, text in texts)


WORKED = Fields(
    "0.5, 1.2, 1.7, 2.1, 2.6, 3.8, 4.4, 5.3, 5.8, 6.4, 7.1, 8",
    "2, 6",
    "1, 1.5",
    "0.45, 0.55",
)


def read_fields(query: Mapping[str, str]) -> Fields:
    """Return the fields of a link; what it leaves out is as in the worked example.

    Only weights that are left out beside means are equal: those of the example would not be meant.
    """
    example = WORKED._replace(weights="") if "means" in query else WORKED
    # A browser's text fields normalise line ends; do the same for what comes by a link.
    texts = (query.get(name, text) for name, text in example._asdict().items())
    return Fields(*(text.replace("\r\n", "\n") for text in texts))


def check_fields(fields: Fields) -> tuple[Inputs | None, dict[str, str]]:
    """Return the parsed fields, or else one message for each bad field."""
    weights = fields.weights if fields.weights.strip() else None
    inputs, errors = check_inputs(fields.x, fields.means, fields.variances, weights)
    if inputs is not None:
        errors = _excess_errors("x", len(inputs.x), MAX_OBSERVATIONS, "observations")
        errors += _excess_errors("means", len(inputs.means), MAX_COMPONENTS, "components")
    return (None if errors else inputs), {error.field: error.reason for error in errors}


def _excess_errors(field: str, count: int, most: int, noun: str) -> list[InputError]:
    if count <= most:
        return []
    return [InputError(field, f"has {count} values; the page takes {most} {noun}, {_ELSEWHERE}")]


def format_list(numbers: list[float], digits: int | None = None) -> str:
    """Return numbers as a field shows them: all their digits, or the first `digits`."""
    if digits is None:
        return ", ".join(map(format_exact, numbers))
    return ", ".join(f"{number:.{digits}g}" for number in numbers)
