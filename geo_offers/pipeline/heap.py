"""What lives as long as the process, kept from the collector; and what work on much of it left free, given back.

Fences are many and in no circles: the collector would stop the loop to look at each again and again.
"""

import contextlib
import ctypes
import gc
from collections.abc import Iterator


def settle() -> None:
    """Take what there is now from the collector, and give what is free to the system; a few ms, fit for a worker.

    A C library that cannot give back does not.
    """
    gc.freeze()
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


@contextlib.contextmanager
def filling() -> Iterator[None]:
    """While much is made that stays: the collector waits, and all is settled afterwards."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        settle()
