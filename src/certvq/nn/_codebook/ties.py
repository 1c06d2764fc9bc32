"""What ties a codebook to other processes: who shares it, and who holds its numbers.

In: a process group, and the tensors that stand for the codebook. Out: the same group, and numbers
written where they last. Must not know how codebooks learn.
"""

import sys
from typing import Any

import torch

from certvq.errors import DistributedError
from certvq.nn._torch.distributed import Peers, require_group


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
            text = (
                f"{self.peers.owner} needs its whole codebook, which fully_shard (FSDP2) gathers "
                "for forward passes only; call torch.distributed.fsdp.register_fsdp_forward_method"
                "(module, 'encode') for each further method that is called, on the module that "
                "fully_shard was given"
            )
            raise DistributedError(text)

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
