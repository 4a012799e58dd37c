"""JAX as the tests have it: in float64, and compiled by a way that takes 0.56 of the time.

Most of the time of this suite is XLA's. Its older way to write code for CPUs takes 0.56 times as
long as what users have; the passes before it, which decide what is fused, folded or exchanged, are
nearly the same, and so are LLVM's after it. Environments that set XLA_FLAGS, if to nothing, have
users' way: `.ci/run newest` does, and so do programs that a test starts, such as examples.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

FLAG = "xla_cpu_use_fusion_emitters"


def start_jax() -> None:
    """Import JAX and have XLA read its flags, once, before any array exists."""
    quick = "XLA_FLAGS" not in os.environ and knows_flag()
    if quick:
        os.environ["XLA_FLAGS"] = f"--{FLAG}=false"
    import jax

    # Float32 tests ask for float32 by name.
    jax.config.update("jax_enable_x64", True)
    if quick:
        jax.devices()  # now the flags have been read
        del os.environ["XLA_FLAGS"]  # which other processes would inherit


def knows_flag() -> bool:
    """Whether this XLA has the flag: it ends the process if it is given one that it lacks."""
    import jaxlib

    for library in Path(jaxlib.__file__).parent.glob("*.so"):
        with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as m:
            if m.find(FLAG.encode()) >= 0:
                return True
    return False
