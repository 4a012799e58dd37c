"""The colours of components in pictures of the command line."""

from __future__ import annotations

# Told apart with any common kind of colour vision. Okabe and Ito's come first, without black and
# yellow, so that they show on light and on dark ground; Tol's after them are for white ground.
COLOURS = (
    *("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7"),
    *("#332288", "#999933", "#882255", "#888888"),
)
GREY = "#888888"


def colour_of(component: int) -> str:
    """Return the colour of a component, counted from 0; after the last comes the first."""
    return COLOURS[component % len(COLOURS)]
