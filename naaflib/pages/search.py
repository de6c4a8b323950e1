"""Pictures searched by typed texts, and an answer taken apart. Index and features lie in the run folder.

RUN/search/   index-*: an index a data set; pictures-*: pictures of a folder with their features
"""

import hashlib
import shutil
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..data.extract.base import GRID
from ..data.extract.writing import extract
from ..data.manifest import data_name
from ..data.prepare.own_pictures import ENDINGS, import_pictures
from ..data.splits import Split, evaluation_split, open_split, split_names
from ..errors import NaafError, UsageError
from ..explanation import Explanation, explain, swapped_text
from ..files import fingerprint, missing, resolve, shown
from ..runs import Run
from ..search import Hits, Searcher, build_index
from ..search.outside import open_recorded
from ..search.places import Places
from ..viz.pictures import read_picture, retrieved_pictures
from ..viz.style import Figure, plain, signed
from .keep import open_data
from .pairs import pair_page, pick_images
from .results import in_words

EXACT = 1000  # images; of a larger index, the first stage keeps so many
ROOM = "search"  # folder in the run
TABLE = ("word", "feature_effect", "relevance_effect", "negative_effect", "effect", "best_cosine")


def open_search(
    run: Run,
    out: Run,
    data: str | Path,
    split: str = "",
    pictures: str | Path = "",
    features: str = "",
) -> Searcher:
    """The pictures of a data set, or of a folder, encoded by the run's model.

    pictures: a folder of pictures without captions, described by the extractor of the run's training data;
    "": the split of `data`. features: how naaf data extract was told that extractor, where it is a model in a
    file or folder, which the run records by its base name. What was made before is used again while model
    and pictures are the same. Raises NaafError for a folder without pictures, where it is not recorded what
    described the training data, and where features is not that.
    """
    folder = _described(resolve(pictures), run, out, features) if pictures else open_data(data)
    opened = open_split(folder, split if split and not pictures else evaluation_split(folder), True)
    place = out.path / ROOM / f"index-{data_name(folder)}-{opened.name}"
    with suppress(NaafError):
        found = Searcher(place)
        (part,) = found.index.parts
        now = fingerprint(run.checkpoint()), fingerprint(opened.regions.path), opened.folder
        if now == (found.index.record["fingerprint"], part.features_seen, part.data):
            return found
    shutil.rmtree(place, ignore_errors=True)
    return Searcher(build_index(run, folder, out=place, split=opened.name))


def _described(folder: Path, run: Run, out: Run, features: str) -> Path:
    """The pictures of a folder as a data set with features, made anew where the folder has changed."""
    if not folder.is_dir():
        raise NaafError(f"{missing(folder)}; `pictures` names the folder with your pictures")
    made = run.config.get("data", {}).get("features")
    if made is None:
        raise NaafError(
            f"{shown(run.path)} was trained on features that naaf data extract did not make, so other "
            "pictures cannot be described as they were; train on pictures of your own (docs/own_pictures.md)"
        )
    state = [(path.relative_to(folder), path.stat()) for path in sorted(folder.rglob("*"))]
    state = [(str(n), s.st_size, s.st_mtime_ns) for n, s in state if n.suffix.lower() in ENDINGS]
    digest = hashlib.sha256(repr((state, made)).encode()).hexdigest()[:8]
    place = out.path / ROOM / f"pictures-{folder.name}-{digest}"
    for old in place.parent.glob(f"pictures-{folder.name}-????????"):
        if old != place:
            shutil.rmtree(old)
    if not split_names(place):
        extractor = open_recorded(made, features or None, "the training pictures", "`features`")
        found = extractor.record()
        if found["extractor"] != made["extractor"]:
            raise NaafError(
                f"{features} is recorded as {found['extractor']}, and the training data have features by "
                f"{made['extractor']}; give it that name again"
            )
        if not place.is_dir():
            print(import_pictures(folder, None, place))
        how = {"grid": int(made.get("grid") or GRID), "min_score": made.get("min_score")}
        extract(place, features or str(made["extractor"]), **how)
    return place


@dataclass(frozen=True)
class Answers:
    """The answers to some texts, best first."""

    searcher: Searcher
    places: Places
    hits: list[Hits]  # to each text, all that were scored

    def sentence(self) -> str:
        """How many pictures were searched and scored, and which words the model does not know."""
        count, images = len(self.hits[0]), len(self.places)
        said = [f"{images:,} pictures, each scored with each text."]
        if count < images:
            said = [f"{images:,} pictures; the first stage keeps {count:,} for each text, which are scored."]
        encoder = self.searcher.model.text_encoder
        words = dict.fromkeys(word for hits in self.hits for word in encoder.words(hits.query))
        unknown = [word for word in words if not encoder.known(word)]
        return " ".join([*said, *([f"The model has not learnt: {', '.join(unknown)}."] if unknown else [])])

    def figure(self, count: int = 6) -> Figure:
        """The first pictures for each text; green where the data set has the text for a picture."""
        texts = [hits.query for hits in self.hits]
        right = [self.places.of_caption(text) for text in texts]
        first = [hits.places[:count].tolist() for hits in self.hits]
        rows = [[self.places.at(place) for place in some] for some in first]
        return retrieved_pictures(
            texts,
            [[read_picture(split.image_path(row)) for split, row in some] for some in rows],
            [[place in own for place in some] for own, some in zip(right, first, strict=True)],
            [hits.scores[:count] for hits in self.hits],
            names=[[named(split, row) for split, row in some] for some in rows],
            places=[best_place(hits, own) for hits, own in zip(self.hits, right, strict=True)],
            answer_places=[[*range(1, len(some) + 1)] for some in first],
        )

    def first(self) -> Explanation:
        """The first answer to the first text, word by word."""
        return self.searcher.explain(self.hits[0])

    def last(self) -> Explanation:
        """Of the pictures that were scored with the first text, the one that fits it least."""
        return self.searcher.explain(self.hits[0], len(self.hits[0]))


def words_against(pair: Explanation) -> str:
    """Which words no region matches, and which lower the score; "" for a method without a boundary."""
    if pair.boundary is None:
        return ""
    unmatched = [
        word for word, best in zip(pair.words, pair.best_cosine, strict=True) if best <= pair.boundary
    ]
    if not unmatched:
        return "A region matches each word, so none counts against the picture."
    lowers = np.flatnonzero(pair.negative_effect < 0)
    listed = ", ".join(f"{pair.words[k]} ({signed(pair.negative_effect[k], 3)})" for k in lowers)
    counts = f"Negative effects: {listed}." if listed else "None of them has a negative effect."
    return f"Words that no region matches: {', '.join(unmatched)}. {counts}"


def named(split: Split, row: int) -> str:
    """What stands where there is no picture file."""
    return in_words(split, row) if split.captions else split.image_name(row)


def best_place(hits: Hits, right: Collection[int]) -> int | None:
    """Of the right images' first, from 1; None where there is none, or none was scored."""
    found = np.flatnonzero(np.isin(hits.places, list(right)))
    return int(found[0]) + 1 if len(found) else None


def search_texts(searcher: Searcher, texts: str = "", count: int = 2) -> Answers:
    """The answers to texts, which semicolons part; "": captions of so many of the pictures themselves.

    Raises UsageError where there is no text and the pictures have no captions.
    """
    places = Places(searcher.index)
    wanted = [text for text in map(str.strip, texts.split(";")) if text]
    split = next((split for split in places.splits if split.captions), None)
    if not wanted and split is None:
        raise UsageError(
            "texts is empty, and these pictures have no captions to take instead; write what to search for"
        )
    if not wanted:
        own = (split.captions_of_image(image)[0] for image in pick_images(split, count))
        wanted = [split.captions[caption] for caption in own]
    return Answers(searcher, places, [_ranked(searcher, text) for text in wanted])


def _ranked(searcher: Searcher, text: str) -> Hits:
    count = min(searcher.index.images, EXACT)
    return searcher.by_text(text, count, EXACT if searcher.index.images > EXACT else None)


@dataclass(frozen=True)
class Wronged:
    """A picture with a text, and with the same text made wrong."""

    before: Explanation
    after: Explanation | None  # None: no word can be swapped
    place: int | None  # of the picture among all for the wrong text, from 1; None: not scored
    images: int

    def sentence(self) -> str:
        """What the change does to score and place, and which words of the wrong text count against it."""
        one, other = self.before, self.after
        if other is None:
            return f"No word of “{one.text}” can be swapped; the parameter wrong takes a text."
        new = [k for k, word in enumerate(other.words) if word not in one.words]
        place = f"{self.place:,}" if self.place else "beyond those scored"
        said = [
            f"{one.image_name}: score {plain(one.score, 3)}, then {plain(other.score, 3)}; place 1 of "
            f"{self.images:,}, then {place}."
        ]
        if len(one.words) == len(other.words):
            said += [
                f"{one.words[k]} adds {signed(one.effect[k], 3)}, {other.words[k]} in its place "
                f"{signed(other.effect[k], 3)}."
                for k in new
            ]
        return "\n".join([*said, words_against(other)]).strip()

    def page(self, title: str) -> Figure | None:
        """The picture with the wrong text."""
        return self.after and pair_page(self.after.split, self.after, title)

    def table(self) -> pd.DataFrame | None:
        """The words of the wrong text; beside them the effect in the other text where both are as long."""
        if self.after is None:
            return None
        table = self.after.to_frame()[list(TABLE)]
        if len(self.before.words) == len(self.after.words):
            table.insert(5, "effect before", self.before.effect)
        table.insert(1, "new", ["" if word in self.before.words else "new" for word in self.after.words])
        return table.round(3)


def make_wrong(answers: Answers, wrong: str = "", seed: int = 0) -> Wronged:
    """The first answer with its text made wrong.

    wrong: the wrong text; "": one word is swapped for another of its kind (a colour, a number, an animal, a
    person) that no caption of the picture has, where the text has such a word.
    """
    searcher, hits = answers.searcher, answers.hits[0]
    split, row = answers.places.at(int(hits.places[0]))
    if not wrong:
        said = [split.captions[caption] for caption in split.captions_of_image(row)]
        swapped = swapped_text(hits.query, searcher.model.vocabulary, said=said, seed=seed)
        if swapped is None:
            return Wronged(answers.first(), None, None, len(answers.places))
        wrong = swapped[0]
    place = best_place(_ranked(searcher, wrong), {int(hits.places[0])})
    after = explain(searcher.model, split, image=row, caption=wrong)
    return Wronged(answers.first(), after, place, len(answers.places))
