"""Shapes in annotations of what users hand in and get back: n rows, k components, d features.

For a type checker each of these is an array of any library, `AnyArray`; `tests/check_shapes.py`
checks shapes and dtypes of real calls. Modules import these names for type checkers alone, so that
jaxtyping is no dependency. `d` is spelled ``*d`` where rows may be numbers: no axis, or one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from jaxtyping import Bool, Float, Int, Real

# Parameters in a record, where a list may stand for an array until it is used.
RealK: TypeAlias = Real[Any, "k"]
RealKd: TypeAlias = Real[Any, "k *d"]
RealKD: TypeAlias = Real[Any, "k d"]
RealKDQ: TypeAlias = Real[Any, "k d q"]  # of q factors
RealKM: TypeAlias = Real[Any, "k m"]  # m kinds
RealVariances: TypeAlias = RealKd | RealK  # of each feature, or one for all of them
RealFactors: TypeAlias = Real[Any, "k d d"] | Real[Any, "d d"]  # of each component, or one for all
RealTransitions: TypeAlias = Real[Any, "k k"] | Real[Any, "n k k"]  # for all rows, or for each

# Arguments: an array, a list, a data frame.
RowsLike: TypeAlias = Real[Any, "n *d"] | Sequence[Any]
LikeN: TypeAlias = Real[Any, "n"] | Sequence[Any]
LikeNK: TypeAlias = Real[Any, "n k"] | Sequence[Any]
LikeK: TypeAlias = RealK | Sequence[Any]
LikeKD: TypeAlias = RealKD | Sequence[Any]
LikeKDD: TypeAlias = Real[Any, "k d d"] | Sequence[Any]
LikeF: TypeAlias = Real[Any, "f"] | Sequence[Any]  # some of the features
LikeNoise: TypeAlias = RowsLike | Real[Any, "n d d"]  # variances or covariances of errors
LikeDD: TypeAlias = Real[Any, "d d"] | Sequence[Any]
LikeTransitions: TypeAlias = RealTransitions | Sequence[Any]
LikeSK: TypeAlias = Real[Any, "s k"] | Sequence[Any]
LikeStatesK: TypeAlias = Real[Any, "*states k"] | Sequence[Any]
LikeS: TypeAlias = Real[Any, "s"] | Sequence[Any]  # of each sequence

# Results.
FloatScalar: TypeAlias = Float[Any, ""]
FloatN: TypeAlias = Float[Any, "n"]
FloatK: TypeAlias = Float[Any, "k"]
FloatKK: TypeAlias = Float[Any, "k k"]
FloatSK: TypeAlias = Float[Any, "s k"]
FloatStepsK: TypeAlias = Float[Any, "steps *states k"]
FloatS: TypeAlias = Float[Any, "s"]
FloatNK: TypeAlias = Float[Any, "n k"]
FloatNd: TypeAlias = Float[Any, "n *d"]
FloatRowCovariances: TypeAlias = Float[Any, "n"] | Float[Any, "n d d"]
FloatKd: TypeAlias = Float[Any, "k *d"]
FloatKM: TypeAlias = Float[Any, "k m"]
FloatKD: TypeAlias = Float[Any, "k d"]
FloatKDD: TypeAlias = Float[Any, "k d d"]
FloatKQ: TypeAlias = Float[Any, "k q"]  # of q factors
FloatKDQ: TypeAlias = Float[Any, "k d q"]
FloatKQQ: TypeAlias = Float[Any, "k q q"]
FloatDD: TypeAlias = Float[Any, "d d"]
FloatPP: TypeAlias = Float[Any, "p p"]  # p free parameters
FloatSecondMoments: TypeAlias = FloatKDD | FloatDD | FloatKd | FloatK
FloatIterations: TypeAlias = Float[Any, "iterations"]
IntN: TypeAlias = Int[Any, "n"]
IntScalar: TypeAlias = Int[Any, ""]
BoolScalar: TypeAlias = Bool[Any, ""]
