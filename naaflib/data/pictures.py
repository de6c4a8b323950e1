"""A picture file as every step sees it: upright, RGB, eight bits, its first frame, nothing transparent."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ..picture_files import MOST_PIXELS

PLAIN = {"JPEG": (".jpg", ".jpeg"), "PNG": (".png",)}
ORIENTATION = 0x0112  # EXIF


@contextmanager
def large_pictures() -> Iterator[None]:
    """Pillow warns above half of MOST_PIXELS; here such pictures are wanted. Not for threads: around them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def read_upright(path: Path) -> Image.Image:
    """The whole picture, decoded. Raises ValueError, which says in some words why it cannot be read."""
    if not path.is_file():
        raise ValueError("not a file")
    try:
        with Image.open(path) as picture:
            picture.load()
            return _rgb(ImageOps.exif_transpose(picture))
    except Image.DecompressionBombError:
        raise ValueError(f"more than {MOST_PIXELS // 10**6} megapixels") from None
    except Image.UnidentifiedImageError:
        raise ValueError("not a picture that Pillow reads") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ValueError(f"damaged ({error})") from None


def is_plain(path: Path) -> bool:
    """Whether every reader shows the file alike: an upright RGB or greyscale JPEG or PNG, so called."""
    with Image.open(path) as picture:
        upright = picture.getexif().get(ORIENTATION, 1) == 1
        frames = getattr(picture, "n_frames", 1)
        named = path.suffix.lower() in PLAIN.get(picture.format or "", ())
        return (
            upright
            and frames == 1
            and named
            and picture.mode in ("RGB", "L")
            and not _is_transparent(picture)
        )


def _is_transparent(picture: Image.Image) -> bool:
    return picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        values = np.asarray(picture).astype(np.float64)
        if not np.isfinite(values).all() or values.min(initial=0) < 0:
            raise ValueError("values that are not finite, or below 0")
        largest = values.max(initial=0)
        scale = 1 if largest <= 255 else 257 if largest <= 65535 else largest / 255  # 16 bits fill 65535
        if picture.mode == "F" and largest <= 1:
            scale = 1 / 255
        return Image.fromarray(np.clip(values / scale, 0, 255).astype(np.uint8)).convert("RGB")
    if _is_transparent(picture):
        above = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", above.size, "white"), above).convert("RGB")
    return picture.convert("RGB")
