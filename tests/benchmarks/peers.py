"""Peers: built where they are installed, and held to our results before they are timed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from tests.benchmarks.problems import Case
from tests.benchmarks.timing import Call


class Peer(NamedTuple):
    """Somebody else's way to do the same."""

    name: str
    module: str  # what has to be installed
    build: Callable[[Case], Call]
    can: Callable[[Case], bool] = lambda case: True


class WrongPeerError(AssertionError):
    """A peer computes something else, so its time means nothing."""


# Our own results are exact to about 1e-15 and 1e-7 times the largest term, some hundreds here;
# scikit-learn's way in float32 loses a digit or two more.
_TOLERANCES = {"float64": 1e-8, "float32": 5e-3}


def built(peers: Iterable[Peer], case: Case) -> tuple[dict[str, Call], list[str]]:
    """Calls of the peers that can do it, by name, and the names of those not installed."""
    able = [peer for peer in peers if peer.can(case)]
    absent = [peer for peer in able if importlib.util.find_spec(peer.module) is None]
    return (
        {peer.name: peer.build(case) for peer in able if peer not in absent},
        [peer.name for peer in absent],
    )


def verify(name: str, theirs: Iterable[Any], ours: Iterable[Any], dtype: str) -> None:
    """Raise unless a peer's arrays are ours, up to rounding."""
    tolerance = _TOLERANCES[dtype]
    for number, (their, our) in enumerate(zip(theirs, ours, strict=True)):
        their, our = np.asarray(their), np.asarray(our)
        if their.shape != our.shape:
            raise WrongPeerError(f"{name}, array {number}: shape {their.shape}, not {our.shape}")
        if not np.allclose(their, our, rtol=tolerance, atol=tolerance):
            off = np.max(np.abs(their - our))
            raise WrongPeerError(f"{name}, array {number}: differs from ours by up to {off:.3g}")


def verify_all(others: dict[str, Call], ours: Call, dtype: str) -> None:
    """Hold every peer to our result. Warms all of them, too."""
    expected = ours()
    for name, call in others.items():
        verify(name, call(), expected, dtype)
