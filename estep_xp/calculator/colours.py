"""The colours of components on the page, in light and in dark."""

from __future__ import annotations

# Each has a contrast of 3 at least with every ground of its scheme, and those beside each other
# are told apart with any common kind of colour vision.
LIGHT = ("#0072b2", "#c26a00", "#00845f", "#c43d63", "#7450b8", "#7a7a00")
DARK = ("#4aa8e8", "#f0a830", "#22be8e", "#f27396", "#ae92ea", "#c9c94a")
LIGHT_GREY, DARK_GREY = "#6b747e", "#98a3ae"
N_COLOURS = len(LIGHT)


def scheme_colours(k: int) -> list[tuple[str, str]]:
    """Return the colours of `k` components, each for light and for dark; they are repeated."""
    pairs = list(zip(LIGHT, DARK, strict=True))
    return [pairs[j % N_COLOURS] for j in range(k)]


def component_colours(k: int) -> list[str]:
    """Return the colours of `k` components in the words of CSS."""
    return [f"light-dark({light}, {dark})" for light, dark in scheme_colours(k)]
