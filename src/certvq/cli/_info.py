"""`certvq info`: what this installation is made of."""

from certvq.cli._options import Json


def info(*, as_json: Json = False) -> None:
    """Print versions, the instruction set, the number of threads, and the backends found.

    Example: certvq info --json

    CERTVQ_ISA and CERTVQ_NUM_THREADS change the set and the number.
    """
    from certvq._info import show_info

    show_info(as_json=as_json)
