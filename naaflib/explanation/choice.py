"""An image or a caption of a split as a person names it: a number, a file's name, or a text."""

import numpy as np

from ..data.splits import Split
from ..errors import NaafError


def find_image(text: str, split: Split) -> int:
    """A picture by its number or its file's name. Raises NaafError where there is none such."""
    text = text.strip()
    names = split.image_names or []
    if text in names:
        return names.index(text)
    if not text.isdecimal():
        example = f" or a file's name such as {names[0]}" if names else ""
        raise NaafError(f"there is no picture {text!r}; write a number from 0 to {len(split) - 1}{example}")
    check_image(int(text), split)
    return int(text)


def find_caption(text: str, split: Split) -> int | str:
    """A caption by its number, or a text. Raises NaafError for another number and a text without letters."""
    text = text.strip()
    if text.isdecimal():
        return check_caption(int(text), split)
    if text and not any(character.isalpha() for character in text):
        most = len(split.captions) - 1
        raise NaafError(f"there is no caption {text!r}; write a number from 0 to {most}, or words")
    return text


def check_image(image: int | np.integer, split: Split) -> None:
    """Raises NaafError for a picture outside the split."""
    if not 0 <= image < len(split):
        raise NaafError(
            f"there is no picture {image}; the pictures of {split.name} are 0 to {len(split) - 1}"
        )


def check_caption(caption: int | np.integer, split: Split) -> int | np.integer:
    """The caption's index. Raises NaafError for one outside the split."""
    last = len(split.captions) - 1
    if not 0 <= caption <= last:
        raise NaafError(f"there is no caption {caption}; the captions of {split.name} are 0 to {last}")
    return caption


def find_pair(split: Split, image: int | str | None, caption: int | str | None) -> tuple[int, int | str]:
    """Image and caption of a pair, each as an index; a caption may be any text. What is not named is the
    other's own: the image of the caption, the first caption of the image, image 0 of a text.
    """
    if image is None:
        of_caption = caption is not None and not isinstance(caption, str)
        image = check_caption(caption, split) // split.captions_per_image if of_caption else 0
    if isinstance(image, str):
        image = find_image(image, split)
    return int(image), split.captions_of_image(image)[0] if caption is None else caption
