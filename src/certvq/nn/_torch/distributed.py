"""What several processes that train one codebook have to agree on.

In: tensors of this process, and the group that shares them. Out: the same tensors on every process
of the group. Whether processes work together is asked at each call and never remembered: layers are
often built before the process group. Must not know of quantizers.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import distributed, nn

from certvq.errors import DistributedError, NonFiniteError, OptionError
from certvq.nn._torch.modes import recomputing

OF_ANOTHER = (
    "latents must be finite in every process, but those of another process are not; its own error "
    "names the row and column"
)


@dataclass(frozen=True)
class Peers:
    """The processes with which a layer shares what it learns.

    Attributes:
        group: a `torch.distributed.ProcessGroup`; None for the default group, whichever that is
            when the layer is used; False for nobody.
        owner: name of the layer, for errors.
    """

    group: Any
    owner: str

    def together(self) -> bool:
        """Say whether this process is one of several."""
        return (
            self.group is not False
            and distributed.is_available()
            and distributed.is_initialized()
            and distributed.get_world_size(self.group) > 1
        )

    def size(self) -> int:
        """Return the number of processes, at least 1."""
        return distributed.get_world_size(self.group) if self.together() else 1

    def is_first(self) -> bool:
        """Say whether this process decides: the first one, or the only one."""
        return not self.together() or distributed.get_rank(self.group) == 0

    def add(self, tensor: torch.Tensor) -> torch.Tensor:
        """Replace a tensor, in place, by its sum over the processes, and return it."""
        if self.together():
            self._ask(lambda: distributed.all_reduce(tensor, group=self.group))
        return tensor

    def copy_from_first(self, tensors: Iterable[torch.Tensor]) -> None:
        """Overwrite tensors by those of the first process."""
        if not self.together():
            return
        first = 0 if self.group is None else distributed.get_global_rank(self.group, 0)
        for tensor in tensors:
            raw = tensor.detach()
            raw = raw.view(torch.uint8) if raw.dtype == torch.bool else raw
            self._ask(lambda raw=raw: distributed.broadcast(raw, src=first, group=self.group))

    def any(self, flag: bool, device: torch.device) -> bool:  # noqa: FBT001 (what is asked about)
        """Say whether a flag is set on one of the processes at least.

        A forward pass that is computed again within a backward pass asks nobody: it was asked
        before, and there gradients are under way between the processes.
        """
        if not self.together() or recomputing():
            return flag
        seen = torch.tensor(float(flag), device=device)
        highest = distributed.ReduceOp.MAX
        self._ask(lambda: distributed.all_reduce(seen, op=highest, group=self.group))
        return bool(seen)

    def _ask(self, collective: Callable[[], Any]) -> None:
        """Run a collective; name the layer where it fails.

        Raises:
            DistributedError: it fails, also after the time limit of the group, or would not fit
                among those of `Join`.
        """
        self._refuse_join()
        try:
            collective()
        except RuntimeError as error:
            text = (
                f"{self.owner} shares what it learns with {distributed.get_world_size(self.group)} "
                "processes, so that all of them must make the same training forwards in the same "
                f"order; one of them did not answer: {str(error).partition(chr(10))[0]}; give all "
                "processes equally many batches, or the layer process_group=False (in compat "
                "sync_codebook=False)"
            )
            raise DistributedError(text) from error

    def _refuse_join(self) -> None:
        """Refuse a context in which processes that are done shadow the others' collectives.

        torch shadows those of `DistributedDataParallel` alone, so that ours would meet them.
        """
        active = nn.parallel.DistributedDataParallel._get_active_ddp_module()  # noqa: SLF001 (no public name)
        config = getattr(active, "_join_config", None)
        if config is None or not config.enable or config.throw_on_early_termination:
            return
        text = (
            f"{self.owner} shares what it learns in its forward pass, which torch's Join cannot "
            "shadow, as it cannot shadow SyncBatchNorm; give Join throw_on_early_termination=True, "
            "or the layer process_group=False (in compat sync_codebook=False), or all processes "
            "equally many batches and no Join"
        )
        raise DistributedError(text)


ALONE = Peers(group=False, owner="a layer")
"""For what is shared with nobody."""


class Sharing(Protocol):
    """A module that may share what it learns."""

    peers: Peers

    @property
    def communicates(self) -> bool:
        """Whether a forward pass of it, as things are, talks to other processes."""
        ...


def require_group(group: Any) -> Any:
    """Return a process group as layers take them.

    Raises:
        OptionError: neither a group nor None nor False.
    """
    known = group is None or group is False
    if not known and distributed.is_available():
        known = isinstance(group, distributed.ProcessGroup)
    if known:
        return group
    text = (
        "process_group must be a torch.distributed.ProcessGroup that this process belongs to, None "
        f"for the default group, or False for no communication, got {group!r}"
    )
    raise OptionError(text)


def peers_of(module: nn.Module) -> list[Peers]:
    """Return whom a forward pass of a module talks to now, one entry for each process group."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return []
    return list({peers.group: peers for peers in _peers(module)}.values())


def _peers(module: nn.Module) -> Iterator[Peers]:
    for part in module.modules():
        if hasattr(type(part), "communicates"):
            sharing = cast("Sharing", part)
            if sharing.communicates:
                yield sharing.peers


def any_process(module: nn.Module, flag: bool, device: torch.device) -> bool:  # noqa: FBT001 (what is asked about)
    """Say whether a flag is set on one of the processes that a module talks to at least."""
    for peers in peers_of(module):
        flag = peers.any(flag, device)
    return flag


def raise_together(module: nn.Module, error: NonFiniteError | None, device: torch.device) -> None:
    """Raise on every process that a module talks to if one of them has an error.

    Without this the healthy processes would wait for the broken one until their time limit. A
    module that talks to nobody raises its own error.

    Raises:
        NonFiniteError: `error` itself, or that of another process.
    """
    flag = any_process(module, error is not None, device)
    if error is not None:
        raise error
    if flag:
        raise NonFiniteError(OF_ANOTHER)
