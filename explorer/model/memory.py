"""When memory runs out: the same work in smaller parts."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import TypeVar

from explorer.errors import UserError

Found = TypeVar("Found")

SAYINGS = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory", "bad alloc", "bad_alloc")
"""How torch says it: on a GPU, on a CPU, on Windows, and from within its libraries."""

NO_ROOM = (
    "The memory ran out even with one image at a time. Take the method lora, which keeps the vision tower's work on disk, "
    "a smaller base, or close other programs; then resume."
)


def ran_out(error: BaseException) -> bool:
    """Whether ``error`` says that memory ran out."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(word in str(error).lower() for word in SAYINGS))


def free() -> None:
    """Give back what the failed attempt held. Call it outside the ``except`` block: the error holds the attempt's tensors."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def halving(items: Sequence, work: Callable[[Sequence], Found]) -> list[Found]:
    """[work(items)], or what its halves give where memory does not hold all at once.

    Raises UserError when a single item does not fit.
    """
    try:
        return [work(items)]
    except Exception as error:
        if not ran_out(error):
            raise
        if len(items) == 1:
            raise UserError(NO_ROOM) from error
    free()
    middle = len(items) // 2
    return halving(items[:middle], work) + halving(items[middle:], work)
