"""A control moved -> a new state -> the page drawn anew; where nothing can be moved, the same as a figure."""

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import RLock

import ipywidgets as widgets
import numpy as np

from ..data.splits import Split
from ..errors import NaafError, UsageError
from ..explanation.choice import check_caption
from ..runs import BEST_MEMBER, best_member
from ..search import Searcher
from ..viz import style
from ..viz.captions import as_shown, match_norm
from ..viz.explorer import draw, live_png
from . import pages
from .controls import PAGE, Controls, Strip, Words
from .readers import IndexReader, Reader, Source, first_group, named_sources, open_readers
from .state import State

STATIC_DPI = 150  # sharper than on a screen, and a notebook stays small
NONE = -1  # of the picture's captions


def explore(
    run: Source | Searcher | Sequence[Source],
    data: str | Path | Split | None = None,
    *,
    split: str | None = None,
    image: int | None = None,
    caption: int | str | None = None,
    member: int = BEST_MEMBER,
    limit: int = 1000,
) -> "Explorer":
    """A widget on one picture and one caption: its words, their regions, the constants, the retrieval.

    run: a run folder (of several members: one can switch between them), a checkpoint, a model, or a list of
    these; or a searcher, whose whole index is ranked, with its model and its data.
    data: the data set's folder, or an open split; None: the run's own. split None: test, else dev.
    image, caption (an index of the split, or any text): what is shown first; by default the first image with
    a picture file and its first caption. member: of several models, the one that is shown first, counted from
    0; BEST_MEMBER (-1): of the first group the one with the highest rsum on dev, which is said.
    limit: so many images of the split can be seen and are ranked; of an index, so many candidates of its
    first stage where it has more images.
    Raises NaafError for runs and data that cannot be opened or do not fit.
    """
    if isinstance(run, Searcher):
        if not (data is None and split is None and member == BEST_MEMBER and not isinstance(caption, int)):
            raise UsageError("an index has its own data and model; name an image, a text and limit only")
        index = IndexReader(run.index.folder.name, run, limit)
        return Explorer({index.name: lambda: index}, _first_state(index, image, caption))
    found = named_sources(run)
    group = first_group(found)
    if not (member == BEST_MEMBER or 0 <= member < len(found)):
        raise UsageError(f"there is no member {member}; the members are {', '.join(found)}, counted from 0")
    readers = open_readers(found, data, split, limit)
    best = best_member(group) if group else 0
    name = list(readers)[best if member == BEST_MEMBER else member]
    if member == BEST_MEMBER and len(group) > 1:
        print(f"{name}: of {len(group)} members the best on dev, rsum {group[best].best_rsum:.1f}")
    reader = readers[name]()
    shown = reader.split
    if isinstance(caption, int):
        image = shown.image_of(check_caption(caption, shown)) if image is None else image
        caption = shown.captions[caption]
    return Explorer(readers, _first_state(reader, image, caption))


def _first_state(reader: Reader, image: int | None, caption: str | None) -> State:
    """None: the first image with a picture file, and the image's first caption."""
    if image is None:
        rows = (reader.at(one) for one in range(len(reader)))
        image = next((one for one, (split, row) in enumerate(rows) if split.image_path(row)), 0)
    split, row = reader.at(image)
    if caption is None and not split.captions:
        raise UsageError(f"{split.image_name(row)} has no caption of its own; give a text as caption")
    if caption is None:
        caption = split.captions[split.captions_of_image(row)[0]]
    return State(reader.name, image, caption, None, reader.own)


class Explorer(widgets.VBox):
    """The widget. `turn` changes what is shown, as the controls do; `state`, `pair`, `ranking` hold it."""

    def __init__(self, readers: Mapping[str, Callable[[], Reader]], state: State):
        super().__init__(layout=widgets.Layout(max_width=PAGE, width="100%"))
        self.add_class("naaf-explorer")
        self.readers, self.constants = readers, {}
        self.rng = np.random.default_rng(0)
        self.following = False  # the controls follow the state and are not to be listened to
        self.turning = RLock()  # JupyterLab hands messages of controls to threads beside the notebook's
        self.controls = Controls(list(readers))
        self.words = Words(lambda place: self._try(word=place))
        self.strip = Strip(pages.STRIP, lambda image: self._try(image=image))
        self._show(state)
        self._listen()
        self.children = self.controls.laid_out(self.words, self.strip)

    @property
    def reader(self) -> Reader:
        return self.readers[self.state.model]()

    def turn(self, **changes: object) -> None:
        """Change parts of the state; a model comes with the constants that it was left with.

        image: its number in the split or its file's name.
        Raises NaafError for what cannot be shown; then everything stays as it is.
        """
        if isinstance(named := changes.get("image"), str):
            changes = {**changes, "image": self.reader.find(named)}
        if "caption" in changes and changes["caption"] != self.state.caption:
            changes = {"word": None, **changes}
        if "model" in changes and "constants" not in changes:
            name = str(changes["model"])
            changes = {**changes, "constants": self.constants.get(name) or self.readers[name]().own}
        with self.turning:
            self._show(replace(self.state, **changes))

    def figure(self) -> style.NotebookFigure:
        """All that is shown now, as one figure."""
        return draw(pages.page(self.reader, self.state, self.pair, self.ranking))

    def _ipython_display_(self) -> None:
        """The widget, and under it a picture for readers without a kernel (GitHub, nbconvert, papermill).

        Two outputs, since a page that knows widgets shows nothing else of one that holds both. Where the
        widget lives, in JupyterLab and Notebook, it hides the picture.
        """
        from IPython.display import display

        bundle = super()._repr_mimebundle_()
        live = dict(bundle[0] if isinstance(bundle, tuple) else bundle)
        live["text/plain"] = f"explorer: “{self.state.caption}” on {pages.said(self.state, self.pair)}"
        display(live, raw=True)
        png, size = self.figure()._repr_png_(STATIC_DPI)
        still = {"image/png": base64.b64encode(png).decode()}
        display(still, metadata={"image/png": size}, raw=True)

    def _show(self, state: State) -> None:
        """First the page, which answers a slider, then what takes longer: the ranking of all pictures."""
        reader = self.readers[state.model]()
        pair = reader.explain(state)
        if state.word is None:
            state = replace(state, word=pages.telling_word(pair))
        self.state, self.pair = state, pair
        self.constants[state.model] = state.constants
        self.controls.picture.value = live_png(pages.page(reader, state, pair))
        with self._following():
            self._show_words()
            self._show_controls(reader)
            self.ranking = pages.rank(reader, state, pair)
            self._show_ranking(reader)
        self.controls.show_message("")

    def _show_words(self) -> None:
        pair, word = self.pair, self.state.word
        norm = match_norm(pair.best_cosine, pair.boundary)
        colours = [style.diverging()(norm(value)) for value in pair.best_cosine]
        tooltips = [pages.about_word(pair, k) for k in range(len(pair.words))]
        self.words.show(as_shown(pair.words, pair.known), colours, tooltips, word)
        self.controls.show_word(pair.words[word], tooltips[word])

    def _show_controls(self, reader: Reader) -> None:
        c, state = self.controls, self.state
        split, row = reader.at(state.image)
        c.model.value, c.caption.value, c.overlay.value = state.model, state.caption, state.overlay
        c.image.value = split.image_name(row) if split.image_names else str(state.image)
        own = split.captions_of_image(row)
        texts = [(f"{k}. {split.captions[caption]}", caption) for k, caption in enumerate(own, start=1)]
        c.own.options = [("the picture's captions …", NONE), *texts]
        c.own.value = next((caption for caption in own if split.captions[caption] == state.caption), NONE)
        c.show_constants(state.constants, reader.reach)

    def _show_ranking(self, reader: Reader) -> None:
        c, found = self.controls, pages.retrieved(reader, self.ranking, self.state.image)
        place = self.ranking.place(self.state.image)
        c.previous.disabled, c.next.disabled = place in (1, None), place in (len(self.ranking.order), None)
        c.right.disabled = not self.ranking.right
        said = f"score {style.plain(self.pair.score, 3)}, {pages.about_place(self.ranking, self.state.image)}"
        c.show_about("The pictures that score highest.", f"This one: {said}.")
        labels = [pages.label(place, score) for place, score in zip(found.places, found.scores, strict=True)]
        images = self.ranking.strip(self.state.image)
        self.strip.show(images, pages.thumbnails(reader, images), labels, found.right, found.shown)

    def _listen(self) -> None:
        c = self.controls
        self._on(c.model, lambda name: self._try(model=name))
        self._on(c.caption, lambda text: self._try(caption=text))
        self._on(c.own, self._own_caption)
        self._on(c.image, lambda text: self._try(image=text))
        self._on(c.overlay, lambda on: self._try(overlay=on))
        for slider in (c.boundary, c.lambda_softmax, c.lambda_intra):
            self._on(slider, lambda _: self._try(constants=c.constants))
        c.reset.on_click(lambda _: self._try(constants=self.reader.own))
        c.previous.on_click(lambda _: self._step(-1))
        c.next.on_click(lambda _: self._step(1))
        c.right.on_click(lambda _: self._try(image=self.ranking.best(self.ranking.right)))
        c.random.on_click(lambda _: self._another_pair())

    def _on(self, control: widgets.Widget, listener: Callable[[object], None]) -> None:
        def changed(change: Mapping[str, object]) -> None:
            with self.turning:
                if not self.following:
                    listener(change["new"])

        control.observe(changed, "value")

    @contextmanager
    def _following(self) -> Iterator[None]:
        self.following = True
        try:
            yield
        finally:
            self.following = False

    def _try(self, **changes: object) -> None:
        """`turn`, with a user's mistake as one sentence in the widget."""
        try:
            self.turn(**changes)
        except NaafError as error:
            self.controls.show_message(str(error))

    def _own_caption(self, caption: int) -> None:
        if caption != NONE:
            self._try(caption=self.reader.at(self.state.image)[0].captions[caption])

    def _step(self, by: int) -> None:
        self._try(image=int(self.ranking.order[self.ranking.place(self.state.image) - 1 + by]))

    def _another_pair(self) -> None:
        image = int(self.rng.integers(len(self.reader)))
        split, row = self.reader.at(image)
        own = [split.captions[caption] for caption in split.captions_of_image(row)]
        self._try(image=image, caption=str(self.rng.choice(own)) if own else self.state.caption)
