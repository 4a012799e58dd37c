"""Which form of a Gaussian density is the fastest: one table of measured sizes, by driver.

All forms keep the same promise of exactness, so the sizes decide about time alone. The comment at
each driver's sizes names the benchmark whose lines they decide; to measure a size anew, change it
and compare those lines, as in ``python -m tests.benchmarks --only "test_e_step.full"``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from estep_xp.arrays.block import BlockOps


@dataclass(frozen=True)
class Strategy:
    """Sizes at which one driver changes from one form to another. The defaults never change.

    The product form is for many rows only: its coefficients take longer to prepare.
    """

    # Fewest and most features for which the product form is the faster one. Its terms are squares,
    # or the products of all pairs of features.
    least_features: int = 1
    least_features_single: int = 1  # rows in single precision have to be widened first
    most_by_squares: float = 0
    most_by_products: float = 0

    # Whether sums of products are faster for moments alone, and densities left to residuals.
    products_for_moments_only: bool = False

    # Most features over which loops are unrolled, for all components at once.
    most_unrolled: int = 0
    most_unrolled_dependent: int = 0
    most_unrolled_dependent_few_rows: int = 0
    unrolled_before_products: bool = False  # unrolled loops are faster than the product form, too

    # Whether all pairwise products are built with one gather instead of d multiplications.
    gathers_products: bool = False

    # Whether large triangular factors are cut into pieces, to multiply few of their zeros.
    cuts_factors: bool = False

    # Fewest rows, components and features for which log-joints are estimated in single precision,
    # where they are only normalised.
    least_rows_estimated: float = math.inf
    least_components_estimated: float = math.inf
    least_features_estimated: float = math.inf

    def uses_product_form(
        self, ops: BlockOps, d: int, *, products: bool, independent: bool
    ) -> bool:
        """Whether to prepare the product form of d features, for densities or for moments."""
        if not ops.many_rows:
            return False
        if self.unrolled_before_products and self.unrolls_features(ops, d, independent=independent):
            return False
        least = self.least_features_single if ops.single else self.least_features
        return least <= d <= (self.most_by_products if products else self.most_by_squares)

    def unrolls_features(self, ops: BlockOps, d: int, *, independent: bool) -> bool:
        """Whether to unroll loops over features in the residual form."""
        if independent:
            return d <= self.most_unrolled
        dependent = self.most_unrolled_dependent
        return d <= (dependent if ops.many_rows else self.most_unrolled_dependent_few_rows)

    def estimates(self, rows: int, k: int, d: int) -> bool:
        """Whether to estimate log-joints that are only normalised."""
        return (
            rows >= self.least_rows_estimated
            and k >= self.least_components_estimated
            and d >= self.least_features_estimated
        )


# --only "test_e_step.(full|tied|diagonal|spherical).*k=[0-9]+]": products of up to 44 features take
# less time than (x - μ) P does, and squares always do. Lines of d=64 and more are estimated, and
# their factors cut. --only test_e_step_in_float32: for one feature, widening to double precision
# costs more than the product form saves.
_NUMPY = Strategy(
    least_features_single=2,
    most_by_squares=math.inf,
    most_by_products=44,
    cuts_factors=True,
    least_rows_estimated=512,
    least_components_estimated=4,
    least_features_estimated=29,
)

# --only "test_e_step.*float[36]": XLA fuses an unrolled loop into one pass over rows and
# components, which is faster than a matrix product. The unrolled code of dependent features grows
# with the square of their number, and few rows do not make up for its compile time.
_JAX = Strategy(
    most_by_squares=math.inf,
    most_unrolled=64,
    most_unrolled_dependent=16,
    most_unrolled_dependent_few_rows=8,
    unrolled_before_products=True,
    gathers_products=True,
)

# --only "test_gradient|test_fit_in_jax": where sums are wanted, one matrix product adds up the
# products of all pairs of up to 64 features faster than products component by component.
_JAX_SUMS = Strategy(
    least_features=2,
    most_by_squares=math.inf,
    most_by_products=64,
    products_for_moments_only=True,
    most_unrolled=64,
    most_unrolled_dependent=16,
    most_unrolled_dependent_few_rows=8,
    gathers_products=True,
)

# By `ops.kind`, and whether one form is chosen for all rows of a block (`ops.decides_per_block`).
STRATEGIES: dict[tuple[str, bool], Strategy] = {
    ("standard", False): Strategy(),
    ("numpy", False): _NUMPY,
    ("jax", False): _JAX,
    ("jax", True): _JAX_SUMS,
}


def strategy_for(ops: BlockOps) -> Strategy:
    """Return the measured sizes of a driver's arithmetic."""
    return STRATEGIES[ops.kind, ops.decides_per_block]
