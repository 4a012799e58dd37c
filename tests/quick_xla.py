"""JAX as the tests have it: in float64, and compiled by ways that take a third of the time.

Most of the time of this suite is XLA's. Its older way to write code for CPUs takes 0.56 times as
long as what users have, and half of the rest is LLVM's, which here optimises nothing. The passes
before these, which decide what is fused, folded or exchanged, are nearly the same. Environments
that set XLA_FLAGS, if to nothing, have users' way: `.ci/run newest` does.
"""

from __future__ import annotations

import functools
import importlib.util
import mmap
import os
from pathlib import Path

FLAGS = ("--xla_cpu_use_fusion_emitters=false", "--xla_backend_optimization_level=0")


def start_jax() -> None:
    """Import JAX and have XLA read its flags, once, before any array exists."""
    quick = quick_environment()
    os.environ.update(quick)
    import jax

    # Float32 tests ask for float32 by name.
    jax.config.update("jax_enable_x64", True)
    if quick:
        jax.devices()  # now the flags have been read
        del os.environ["XLA_FLAGS"]  # processes that a test starts say themselves what they want


def quick_environment(*more: str) -> dict[str, str]:
    """Return what has a process compile quickly, with `more` flags."""
    quick = () if "XLA_FLAGS" in os.environ else known_flags()
    flags = " ".join((*quick, *more))
    return {"XLA_FLAGS": flags} if flags else {}


@functools.cache
def known_flags() -> tuple[str, ...]:
    """Return those of the flags that this XLA has: it ends a process that is given another one."""
    if importlib.util.find_spec("jaxlib") is None:
        return ()
    import jaxlib

    return tuple(flag for flag in FLAGS if is_in_a_library(jaxlib, flag[2:].partition("=")[0]))


def is_in_a_library(package, text: str) -> bool:
    for library in Path(package.__file__).parent.glob("*.so"):
        with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as m:
            if m.find(text.encode()) >= 0:
                return True
    return False
