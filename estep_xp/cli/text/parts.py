"""The parts of a product of families, as a person writes them."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection
from typing import NamedTuple

from estep_xp.cli.text.errors import OptionError
from estep_xp.files.errors import show_token

OPTION = "--parts"
_PART = re.compile(r'(?:[^;"]|"[^"]*")+')


class PartText(NamedTuple):
    """A part as it was written: the name of its family, and names or numbers of columns."""

    family: str
    columns: list[str]


def parse_parts(
    text: str, families: Collection[str], of_one_column: Collection[str]
) -> tuple[PartText, ...]:
    """Return the parts of a product.

    Parameters
    ----------
    text : str
        Parts with semicolons between them: a family, a colon, and names of columns with commas
        between them, in double quotes where they hold such signs. The family may be "gaussian".
    families : collection of str
        The names of families that may be parts.
    of_one_column : collection of str
        Those that take one column only.

    Raises
    ------
    OptionError
        If it is written in another way.
    """
    text = " ".join(text.splitlines())  # a shell's string may go over several lines
    pieces = [piece for piece in _PART.findall(text) if piece.strip()]
    if not pieces or _PART.sub("", text).strip("; "):
        raise OptionError(
            OPTION,
            f'is {show_token(text)}; must be parts such as "full: height, weight; poisson: visits"',
        )
    parts = []
    for number, piece in enumerate(pieces, start=1):
        given, colon, rest = piece.partition(":")
        try:
            words = next(csv.reader([rest.strip()], skipinitialspace=True), [])
        except csv.Error as error:
            raise OptionError(OPTION, f"part {number} is not a list of names: {error}") from None
        columns = [word.strip() for word in words]
        name = given.strip().replace("-", "_")
        if not colon or not all(columns) or not columns:
            raise OptionError(
                OPTION,
                f"part {number} is {show_token(piece.strip())}; must be a family, a colon and "
                "columns, such as poisson: visits",
            )
        if name == "gaussian":
            name = "univariate" if len(columns) == 1 else "full"
        if name not in families:
            known = ", ".join(families)
            raise OptionError(
                OPTION, f"part {number} is of {show_token(name)}; must be gaussian, {known}"
            )
        if name in of_one_column and len(columns) > 1:
            raise OptionError(
                OPTION,
                f"part {number} has {len(columns)} columns; {name} takes one: give a part for each",
            )
        parts.append(PartText(name, columns))
    return tuple(parts)


def columns_of_parts(parts: Collection[PartText]) -> str:
    """Return the columns of all parts as the option --columns takes them."""
    words = [word.replace('"', '""') for part in parts for word in part.columns]
    return ",".join(f'"{word}"' for word in words)
