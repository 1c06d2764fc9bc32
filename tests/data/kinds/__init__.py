"""Every kind of image file that `read_image` meets, with what a second library makes of it.

Each kind makes files and says what their pixels are: as tifffile, OpenCV or scikit-image read them,
turned and flattened by plain NumPy, or as they were laid down byte by byte. `docs/make_images.py`
makes the table of docs/images.md of them; `test_image_kinds.py` reads every file.
"""

from kinds._others import OTHERS
from kinds._png import PNG
from kinds._tiff import TIFF

KINDS = [*PNG, *OTHERS, *TIFF]


def table() -> str:
    """Make the table of docs/images.md."""
    lines = ["| format | kind | read as | compared with |", "|---|---|---|---|"]
    order = ("PNG", "JPEG", "WebP", "TIFF", "BMP")
    lines += [
        f"| {kind.format} | {kind.name} | {kind.result} | {kind.library} |"
        for kind in sorted(KINDS, key=lambda kind: order.index(kind.format))
    ]
    return "\n".join(lines) + "\n"
