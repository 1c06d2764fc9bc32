"""Where a run keeps its files.

In: the run directory. Out: the paths in it, and the names by which one is known. Must not import
anything that reads or writes them.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunFiles:
    """The paths of one run directory.

    Attributes:
        root: the directory itself.

    Example:
        >>> RunFiles(Path("run")).metrics.name
        'metrics.jsonl'
    """

    root: Path

    @property
    def config(self) -> Path:
        """The training configuration as JSON; what makes a folder a run directory."""
        return self.root / "train.json"

    @property
    def checkpoint(self) -> Path:
        """The latest checkpoint."""
        return self.root / "checkpoint.safetensors"

    @property
    def model(self) -> Path:
        """The directory of the trained model."""
        return self.root / "model"

    @property
    def weights(self) -> Path:
        """The weights of the trained model."""
        return self.model / "model.safetensors"

    @property
    def architecture(self) -> Path:
        """The configuration of the trained model."""
        return self.model / "config.json"

    @property
    def metrics(self) -> Path:
        """One JSON object per line and training step or validation."""
        return self.root / "metrics.jsonl"

    @property
    def tensorboard(self) -> Path:
        """The directory of TensorBoard's event files."""
        return self.root / "tensorboard"

    @property
    def tokens(self) -> Path:
        """The tokens of the held-out photographs."""
        return self.root / "tokens.parquet"

    @property
    def heldout(self) -> Path:
        """The directory of held-out pictures, latents and stability radii."""
        return self.root / "heldout"

    @property
    def radii(self) -> Path:
        """The stability radii of the held-out tokens."""
        return self.heldout / "stability.npz"

    @property
    def latents(self) -> Path:
        """The latents of the held-out tokens."""
        return self.heldout / "latents.npz"

    @property
    def margins(self) -> Path:
        """The margins of the held-out tokens' canonical codes."""
        return self.heldout / "canonical.npz"

    def picture(self, key: str, kind: str) -> Path:
        """A held-out picture: "original", "reconstruction" or "kmeans"."""
        return self.heldout / f"{key}.{kind}.png"

    @property
    def summary(self) -> Path:
        """The figures of the main job."""
        return self.root / "summary.json"

    @property
    def report(self) -> Path:
        """The page."""
        return self.root / "report.html"

    def all(self) -> tuple[Path, ...]:
        """List every file and directory that a run may write."""
        return (
            self.config,
            self.checkpoint,
            self.model,
            self.metrics,
            self.tensorboard,
            self.tokens,
            self.heldout,
            self.summary,
            self.report,
        )
