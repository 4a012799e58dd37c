"""Values as text in messages: short, whatever they are."""

from __future__ import annotations

from typing import Any


def shown(value: Any, most: int = 60) -> str:
    """The repr of a value, shortened, or what stands for one that has none."""
    try:
        text = repr(value)
    except Exception:  # a user's class, an enormous integer
        text = f"<{type(value).__name__}>"
        if isinstance(value, int):
            text = f"an integer of {value.bit_length()} bits"
    return shortened(text, most)


def shortened(text: str, most: int) -> str:
    """A text of at most so many characters."""
    return text if len(text) <= most else f"{text[: most - 3]}..."
