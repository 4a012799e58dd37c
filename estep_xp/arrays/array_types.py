"""The few names that annotations share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import TypeVar  # which has defaults before Python 3.13
else:
    from typing import TypeVar

# The standard fixes what arrays can do, not their type: NumPy, JAX and PyTorch share no class.
Array: TypeAlias = Any
Namespace: TypeAlias = Any

ArrayLike: TypeAlias = "Array | Sequence[Any] | float"


class Components(Protocol):
    """What a mixture asks of its components; a family of your own needs no more than this."""

    def log_prob(self, x: Any, /) -> Array:
        """Log-densities of the rows of `x`, shape (n, k)."""
        ...


# The class of a mixture's components. A record of it is plain `Mixture` where the class is unknown.
if TYPE_CHECKING:
    ComponentsT = TypeVar("ComponentsT", bound=Components, default=Components, covariant=True)
else:
    ComponentsT = TypeVar("ComponentsT", covariant=True)
