"""What a user may have meant, where something else stands in place of components or a mixture."""

from __future__ import annotations

from typing import Any

from estep_xp import families
from estep_xp.arrays.text import shown


def described(value: Any) -> str:
    """What a value is, in a message: 'text', the class X, or its type."""
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, type):
        return f"the class {value.__name__}"
    name = type(value).__name__
    return f"{'an' if name[0] in 'AEIO' or name == 'HMM' else 'a'} {name}"


def family_named(text: Any) -> str:
    """The name of the family that a text means, as "full" means FullGaussian; "" if none."""
    if not isinstance(text, str):
        return ""
    wanted = text.lower().replace("_", "").replace(" ", "").removesuffix("gaussian")
    wanted = "diagonal" if wanted == "diag" else wanted
    names = (name for name in families.__all__ if name.lower().removesuffix("gaussian") == wanted)
    return next(names, "")


def hint_for_family(family: Any) -> str:
    """What to give where the class of a family is expected."""
    name = family_named(family)
    return f"; did you mean estep_xp.{name}?" if name else ""


def hint_for_components(components: Any) -> str:
    """What to give where components are expected."""
    family = components if isinstance(components, type) else None
    if name := family_named(components):
        family = getattr(families, name)
    if family is None:
        return ""
    fields = ", ".join(getattr(family, "_fields", ("...",)))
    return f"; did you mean {family.__name__}({fields})?"


def hint_for_mixture(value: Any) -> str:
    """What to give where a mixture is expected."""
    if hasattr(value, "mixture"):
        also = ", or m_step of it" if hasattr(value, "moments") else ""
        return f"; did you mean .mixture{also}?"
    if hasattr(value, "responsibilities"):
        return "; the mixture is what e_step was given, or what fit returns as .mixture"
    if isinstance(value, type) or family_named(value):
        return "; initialize makes one of x, a number of components and the class of a family"
    if hasattr(value, "log_prob"):
        return "; did you mean Mixture(weights, components)?"
    if type(value) is tuple and len(value) == 2:
        return "; did you mean Mixture(*mixture)?"
    return ""
