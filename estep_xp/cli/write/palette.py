"""The colours of components: one palette, for pictures and for the page in light and in dark."""

from __future__ import annotations

from typing import NamedTuple


class Colour(NamedTuple):
    """One colour of the palette in the shade for each ground."""

    picture: str  # on white; the documentation's pictures show the first six on dark, too
    light: str  # contrast of 3 at least with every ground of the page in light
    dark: str  # and in dark


# Colours beside each other are told apart with any common kind of colour vision
# (tests/test_palette.py). Okabe and Ito's come first, without black and yellow, then Tol's.
PALETTE = (
    Colour("#0072b2", "#0072b2", "#4397d6"),  # blue
    Colour("#e69f00", "#c07f00", "#f0a830"),  # orange
    Colour("#009e73", "#008f68", "#22be8e"),  # green
    Colour("#d55e00", "#c85200", "#f0743a"),  # vermilion
    Colour("#56b4e9", "#3a94ca", "#7cc8f5"),  # sky blue
    Colour("#cc79a7", "#b4568c", "#d884bb"),  # purple
    Colour("#332288", "#332288", "#8f86ff"),  # indigo
    Colour("#999933", "#7d7d22", "#c9c94a"),  # olive
    Colour("#882255", "#882255", "#d0639a"),  # wine
)
N_COLOURS = len(PALETTE)
GREY = Colour("#888888", "#6b747e", "#98a3ae")  # what belongs to no component


def colour_of(component: int) -> Colour:
    """Return the colour of a component, counted from 0; after the last comes the first."""
    return PALETTE[component % N_COLOURS]
