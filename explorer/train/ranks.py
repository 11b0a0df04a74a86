"""Several processes that train one run together, as torchrun or accelerate start them. Alone, all of this does nothing.

torchrun --nproc_per_node 2 -m explorer finetune --data FOLDER --name pets

Every process holds the whole model and looks at its share of each batch. Losses, tokens and gradients are summed over
all of them, so that a step is the one a single process would make; only the first process writes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from explorer.errors import UserError

if TYPE_CHECKING:
    import torch

PATIENCE = timedelta(minutes=30)
"""How long one process waits for the others: the first may be fetching a base meanwhile."""

BUCKET = 25_000_000
"""Numbers of gradient summed in one message: large enough to be quick, small beside the model."""


class ToldElsewhere(UserError):
    """An error of the first process, raised by another: the first one tells it."""


@dataclass(frozen=True)
class Ranks:
    """This process among ``size``; every method but `share` must be called by all of them at the same point."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def share(self, items: Sequence) -> Sequence:
        """This process's part of ``items``; together the parts are all of them."""
        return items[self.rank :: self.size]

    def sum(self, *numbers: float) -> list[float]:
        """The numbers, each summed over all processes, in double precision."""
        if self.size == 1:
            return list(numbers)
        import torch

        total = torch.tensor(numbers, dtype=torch.float64)
        torch.distributed.all_reduce(total)
        return total.tolist()

    def any(self, flag: bool) -> bool:
        return self.sum(float(flag))[0] > 0

    def gather(self, value: object) -> list:
        """Every process's ``value``, in order of rank."""
        if self.size == 1:
            return [value]
        import torch

        found: list = [None] * self.size
        torch.distributed.all_gather_object(found, value)
        return found

    def agree(self, make: Callable):
        """What ``make`` gives the first process, for all of them; the UserError it raises there ends all."""
        if self.size == 1:
            return make()
        found = error = None
        if self.first:
            try:
                found = make()
            except UserError as raised:
                error = raised
        found, text = self.gather((found, error and str(error)))[0]
        if text:
            raise error or ToldElsewhere(text)
        return found

    def sum_gradients(self, weights: Iterable[torch.nn.Parameter]) -> None:
        """Sum the gradients of ``weights``. A weight that no process used keeps none, so that it does not decay either."""
        if self.size == 1:
            return
        import torch

        weights = list(weights)
        used = torch.tensor([weight.grad is not None for weight in weights], dtype=torch.int32)
        torch.distributed.all_reduce(used)
        weights = [weight for weight, count in zip(weights, used.tolist(), strict=True) if count]
        for weight in weights:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        for bucket in buckets(weights):
            flat = torch.cat([weight.grad.flatten() for weight in bucket])
            torch.distributed.all_reduce(flat)
            for weight, part in zip(bucket, flat.split([weight.numel() for weight in bucket]), strict=True):
                weight.grad.copy_(part.view_as(weight))


def buckets(weights: Iterable[torch.nn.Parameter], size: int = BUCKET) -> Iterator[list]:
    """``weights`` in runs of about ``size`` numbers."""
    bucket, count = [], 0
    for weight in weights:
        bucket.append(weight)
        count += weight.numel()
        if count >= size:
            yield bucket
            bucket, count = [], 0
    if bucket:
        yield bucket


@contextmanager
def joined() -> Iterator[Ranks]:
    """This process among those started with it; a `Ranks` of one when it was started alone.

    Raises UserError when a process has no GPU of its own on a machine with GPUs.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Ranks()
        return
    import torch

    cuda, place = torch.cuda.is_available(), int(os.environ.get("LOCAL_RANK", "0"))
    if cuda and place >= torch.cuda.device_count():
        raise UserError(f"There are {torch.cuda.device_count()} GPUs for more processes than that: start one process a GPU.")
    if cuda:
        torch.cuda.set_device(place)
    torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=PATIENCE)
    try:
        yield Ranks(torch.distributed.get_rank(), size)
    finally:
        with suppress(Exception):  # the others may have ended first; this one is ending too
            torch.distributed.destroy_process_group()
