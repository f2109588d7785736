"""How pictures that are stored turned or mirrored come upright."""

from __future__ import annotations

from PIL import Image

from energon_prep.decode.geometry import FloatBox, Size

#: By EXIF orientation (2 to 8; 1 is upright): how stored pixels become upright ones.
TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# ... and how an upright box is found in the stored pixels: rows are columns, rows and columns count
# from the far end.
_SWAPS_AXES = (5, 6, 7, 8)
_FLIPS_ROWS = (3, 4, 6, 7)
_FLIPS_COLUMNS = (2, 3, 7, 8)


def across(size: Size, orientation: int) -> Size:
    """From stored to upright or back."""
    return (size[1], size[0]) if orientation in _SWAPS_AXES else size


def stored_box(box: FloatBox, stored: Size, orientation: int) -> FloatBox:
    """An upright (top, left, bottom, right) as (left, top, right, bottom) of the stored pixels,
    Pillow's order.
    """
    top, left, bottom, right = box
    if orientation in _SWAPS_AXES:
        top, left, bottom, right = left, top, right, bottom
    if orientation in _FLIPS_ROWS:
        top, bottom = stored[0] - bottom, stored[0] - top
    if orientation in _FLIPS_COLUMNS:
        left, right = stored[1] - right, stored[1] - left
    return left, top, right, bottom


def upright_box(box: FloatBox, stored: Size, orientation: int) -> FloatBox:
    """The way back: from (left, top, right, bottom) of the stored pixels to an upright (top, left,
    bottom, right).
    """
    left, top, right, bottom = box
    if orientation in _FLIPS_ROWS:
        top, bottom = stored[0] - bottom, stored[0] - top
    if orientation in _FLIPS_COLUMNS:
        left, right = stored[1] - right, stored[1] - left
    return (left, top, right, bottom) if orientation in _SWAPS_AXES else (top, left, bottom, right)
