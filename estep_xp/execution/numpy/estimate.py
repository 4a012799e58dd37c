"""Squared lengths of standardised residuals in single precision."""

from __future__ import annotations

from typing import Any

import numpy as np

_CACHED_ELEMENTS = 1 << 20  # of a few arrays that stay in the cache
_LEAST_ROWS = 256
_PIECE = 32  # columns of a triangular factor that are multiplied at a time: few are zeros then

Floats = np.ndarray[Any, np.dtype[np.float32]]


def estimate_squared_norms(rows: Floats, means: Floats, factors: Any, scale: Any) -> Floats:
    """Squared lengths (k, n) of (x − μ) P · scale, for rows (d, n) and triangular P (k, d, d).

    P is upper triangular, and may be of any dtype.
    """
    (k, d), n = means.shape, rows.shape[1]
    result = np.empty((k, n), dtype=np.float32)
    step = min(n, max(_LEAST_ROWS, _CACHED_ELEMENTS // (2 * d)))
    scratch = np.empty((2, d * step), dtype=np.float32)
    ends = [*range(_PIECE, d - _PIECE + 1, _PIECE), d]
    pieces = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
    for mean, factor, norms in zip(means, factors, result, strict=True):
        transposed = (factor * scale).astype(np.float32).T
        for start in range(0, n, step):
            block = rows[:, start : start + step]
            residuals, products = scratch[:, : block.size].reshape(2, *block.shape)
            np.subtract(block, mean[:, None], out=residuals)
            for piece in pieces:
                some = slice(piece.stop)
                np.matmul(transposed[piece, some], residuals[some], out=products[piece])
            np.square(products, out=products)
            np.add.reduce(products, axis=0, out=norms[start : start + step])
    return result
