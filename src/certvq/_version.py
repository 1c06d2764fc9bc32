"""The version, in one place that neither the build nor an installed distribution need supply."""

__version__ = "0.1.0"
