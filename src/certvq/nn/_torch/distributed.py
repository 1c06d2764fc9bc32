"""What several processes that train one codebook have to agree on, and who holds its numbers.

In: tensors of this process, and the group that shares them. Out: the same tensors on every process
of the group, and numbers written where they last. Whether processes work together is asked at each
call and never remembered: layers are often built before the process group. Must not know how
codebooks learn.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import distributed, nn

from certvq.errors import DistributedError, NonFiniteError, OptionError
from certvq.nn._torch.modes import recomputing
from certvq.nn._torch.transaction import parts_of

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
    for part in parts_of(module):
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


class Ties:
    """The process group of a codebook, and its shard under ``fully_shard`` (FSDP2).

    Copies keep the group; pickles take the default group in its place, as those of
    ``DistributedDataParallel`` do. Neither keeps the shard, which belongs to one module.

    Args:
        group: a `torch.distributed.ProcessGroup`, None or False.
        owner: name of the layer, for errors.

    Attributes:
        peers: the processes that learn the codebook together.
        shard: the parameter that lasts where the codebook of a forward pass is gathered for that
            pass alone, a DTensor; else None.
        agreed: whether the processes had one state at some time; copies have to agree anew.

    Raises:
        OptionError: no process group.
    """

    def __init__(self, group: Any, owner: str) -> None:
        self.peers = Peers(require_group(group), owner)
        self.shard: Any = None
        self.agreed = False

    def __deepcopy__(self, memo: dict[int, Any]) -> "Ties":
        """Keep the group itself."""
        del memo
        return Ties(self.peers.group, self.peers.owner)

    def __reduce__(self) -> tuple[type["Ties"], tuple[Any, str]]:
        """Keep whether anything is shared."""
        return Ties, (False if self.peers.group is False else None, self.peers.owner)

    def share(self, group: Any) -> None:
        """Take another process group.

        Raises:
            OptionError: no process group.
        """
        self.peers = Peers(require_group(group), self.peers.owner)
        self.agreed = False

    def notice(self, codebook: Any) -> bool:
        """Look at what becomes the codebook: FSDP2 sets the shard and the whole in turn.

        Returns:
            Whether it has come in shards for the first time.
        """
        tensors = sys.modules.get("torch.distributed.tensor")
        if tensors is None or not isinstance(codebook, tensors.DTensor):
            return False
        first = self.shard is None
        # After a forward pass the whole may stay in larger shards, on a mesh of their own.
        if first or self.shard.device_mesh == codebook.device_mesh:
            self.shard = codebook
        return first

    def in_shards(self, codebook: torch.Tensor) -> bool:
        """Say whether a codebook is in shards, as FSDP2 leaves it between forward passes."""
        return self.shard is not None and type(codebook) is type(self.shard)

    def require_whole(self, codebook: torch.Tensor) -> None:
        """Require a codebook that is not in shards.

        Raises:
            DistributedError: it is.
        """
        if self.in_shards(codebook):
            require_whole(codebook, self.peers.owner)

    @torch.no_grad()
    def write_back(self, codebook: torch.Tensor) -> None:
        """Write a codebook that was gathered for one forward pass to the shard that lasts.

        Args:
            codebook: (K, D), as it shall stay.

        Raises:
            DistributedError: the shards are those of more processes than share the codebook.
        """
        if self.shard is None or self.in_shards(codebook):
            return
        from torch.distributed.tensor import DTensor, Replicate

        mesh = self.shard.device_mesh
        if mesh.size() > self.peers.size():
            text = (
                f"{self.peers.owner} has a codebook in shards of {mesh.size()} processes, so that "
                f"they must learn it together, but shares it with {self.peers.size()}; leave "
                "process_group at None"
            )
            raise DistributedError(text)
        whole = codebook.detach().clone()
        copies = [Replicate()] * mesh.ndim
        whole = DTensor.from_local(whole, mesh, copies, run_check=False)  # pyright: ignore[reportUnknownMemberType] (torch's types)
        own = whole.redistribute(placements=self.shard.placements)
        self.shard.to_local().copy_(own.to_local())


def require_whole(codebook: torch.Tensor, owner: str) -> None:
    """Require a tensor that is not in shards, as FSDP2 leaves parameters between forward passes.

    Raises:
        DistributedError: it is.
    """
    tensors = sys.modules.get("torch.distributed.tensor")
    if tensors is None or not isinstance(codebook, tensors.DTensor):
        return
    text = (
        f"{owner} needs its whole codebook, which fully_shard (FSDP2) gathers "
        "for forward passes only; call torch.distributed.fsdp.register_fsdp_forward_method"
        "(module, 'encode') for each further method that is called, on the module that "
        "fully_shard was given"
    )
    raise DistributedError(text)


def require_lasting(codebook: torch.Tensor, owner: str) -> None:
    """Require that what is written to a codebook lasts longer than a forward pass.

    Raises:
        DistributedError: it is a piece of a flat parameter of ``FullyShardedDataParallel`` (FSDP1).
    """
    if not getattr(codebook._base, "_fsdp_flattened", False):  # noqa: SLF001 (no public name)
        return
    text = (
        f"{owner} starts or revives code vectors by writing to its codebook, but "
        "FullyShardedDataParallel (FSDP1) throws away what a forward pass writes to parameters; "
        "use fully_shard (FSDP2), update=EMA(), whose codebook is a buffer, or start=Uniform() "
        "with revive=None"
    )
    raise DistributedError(text)
