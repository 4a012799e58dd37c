"""The colours of components on the page, in light and in dark."""

from __future__ import annotations

from estep_xp.cli.write.palette import colour_of


def scheme_colours(k: int) -> list[tuple[str, str]]:
    """Return the colours of `k` components, each for light and for dark; they are repeated."""
    return [(colour.light, colour.dark) for colour in map(colour_of, range(k))]


def component_colours(k: int) -> list[str]:
    """Return the colours of `k` components in the words of CSS."""
    return [f"light-dark({light}, {dark})" for light, dark in scheme_colours(k)]
