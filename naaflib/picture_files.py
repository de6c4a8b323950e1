"""Opening a picture file that may be damaged, empty, or a few kilobytes that ask for all memory."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import NaafError
from .files import check_regular, shown

if TYPE_CHECKING:
    from PIL import Image

MOST_PIXELS = 178_956_970  # what Pillow refuses to open: a file of some kilobytes can ask for any memory


@contextmanager
def open_picture(path: Path) -> Iterator["Image.Image"]:
    """The picture, still to be decoded. Raises NaafError for what is none, or turns out to be none."""
    from PIL import Image

    check_regular(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # from half of MOST_PIXELS on
            with Image.open(path) as picture:
                yield picture
    except Image.DecompressionBombError:
        reason = f"more than {MOST_PIXELS // 10**6} megapixels"
    except Image.UnidentifiedImageError:
        reason = "not a picture that Pillow reads"
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        if isinstance(error, NaafError):
            raise
        reason = f"damaged ({error})"
    else:
        return
    raise NaafError(f"{shown(path)}: {reason}; replace the picture, or remove it") from None
