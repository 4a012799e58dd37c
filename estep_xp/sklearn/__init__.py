"""The estimator: scikit-learn's `GaussianMixture` with this package's EM behind it.

Nothing else in the package imports scikit-learn.
"""

try:
    import sklearn as _sklearn  # noqa: F401
except ImportError as error:
    raise ImportError(
        'estep_xp.sklearn needs scikit-learn; pip install "estep_xp[sklearn]"'
    ) from error

from estep_xp.sklearn.estimator import GaussianMixture

__all__ = ["GaussianMixture"]


def __dir__() -> list[str]:
    return __all__
