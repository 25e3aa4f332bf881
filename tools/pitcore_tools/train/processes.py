"""Connects the training loop with the other processes that ``torchrun`` started, if there are any."""

from __future__ import annotations

import os

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


class Processes:
    """The processes that train one network together, as ``torchrun`` describes them in the environment.

    Args:
        device: ``cpu``, ``cuda`` (each process takes the one of its local rank) or ``auto``.

    Attributes:
        rank: number of this process.
        count: number of processes.
        device: device of this process.
    """

    def __init__(self, device: str) -> None:
        self.rank, self.count = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        kind = device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        local = f":{os.environ.get('LOCAL_RANK', '0')}" if kind == "cuda" else ""
        self.device = torch.device(kind + local)
        if self.count > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if kind == "cuda" else "gloo")

    @property
    def first(self) -> bool:
        """True if this process writes files and reports."""
        return self.rank == 0

    def shared(self, network: nn.Module) -> nn.Module:
        """Return a wrapper of the network that averages gradients over the processes."""
        return network if self.count == 1 else DistributedDataParallel(network)

    def part(self, chosen: Tensor) -> Tensor:
        """Return this process's part of a batch; all parts have the same size."""
        each = len(chosen) // self.count
        return chosen[self.rank * each : (self.rank + 1) * each]

    def meet(self) -> None:
        """Wait for the other processes."""
        if self.count > 1:
            dist.barrier()

    def end(self) -> None:
        """Leave the group of processes."""
        if self.count > 1:
            dist.destroy_process_group()
