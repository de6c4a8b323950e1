"""The controls of the explorer and their places. They know nothing of models; `widget` listens to them."""

import base64
import html
from collections.abc import Sequence

import ipywidgets as widgets

from ..viz import style
from ..viz.captions import ink_on
from ..viz.explorer import WIDTH
from ..viz.style import to_hex
from .state import Constants

PAGE = f"{round(100 * WIDTH)}px"
THUMB = "138px"
STRONG = f"var(--jp-ui-font-color0, {style.INK})"  # seen on JupyterLab's light and dark theme
OFF = "off"  # lambda_intra None
HIDES = (  # the still picture, an output of its own right after the living widget's
    "<style>.jp-OutputArea-child:has(.naaf-explorer) + .jp-OutputArea-child:has(.jp-RenderedImage)"
    " { display: none; }</style>"
)
INTRA = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0)


def line() -> widgets.HTML:
    return widgets.HTML(layout=widgets.Layout(margin="0 4px"))


def button(label: str, tooltip: str, width: str = "auto") -> widgets.Button:
    return widgets.Button(
        description=label, tooltip=tooltip, layout=widgets.Layout(width=width, margin="2px")
    )


def slider(name: str, low: float, high: float, step: float, form: str, tooltip: str) -> widgets.FloatSlider:
    return widgets.FloatSlider(
        value=low,
        min=low,
        max=high,
        step=step,
        description=name,
        continuous_update=False,
        readout_format=form,
        tooltip=tooltip,
        layout=widgets.Layout(width="275px"),
        style={"description_width": "70px"},
    )


class Words(widgets.HBox):
    """The caption, a button a word, coloured as the words match."""

    def __init__(self, clicked):
        super().__init__(layout=widgets.Layout(flex_flow="row wrap", width="100%", margin="2px 2px 0"))
        self.add_class("naaf-words")
        self.clicked, self.made = clicked, []
        common = {"width": "auto", "height": "28px", "margin": "1px", "padding": "0 7px"}
        self.plain = widgets.Layout(**common, border="2px solid transparent")
        self.chosen = widgets.Layout(**common, border=f"2px solid {STRONG}")

    def show(
        self, words: Sequence[str], colours: Sequence[tuple], tooltips: Sequence[str], chosen: int
    ) -> None:
        while len(self.made) < len(words):
            self.made.append(self._button(len(self.made)))
        for k, (word, colour, tooltip) in enumerate(zip(words, colours, tooltips, strict=True)):
            made = self.made[k]
            made.description, made.tooltip = word, tooltip
            made.style.button_color, made.style.text_color = to_hex(colour), ink_on(colour)
            made.style.font_weight = "bold" if k == chosen else "normal"
            made.layout = self.chosen if k == chosen else self.plain
        if len(self.children) != len(words):
            self.children = self.made[: len(words)]

    def _button(self, place: int) -> widgets.Button:
        made = widgets.Button(layout=self.plain)
        made.on_click(lambda _: self.clicked(place))
        return made


class Strip(widgets.HBox):
    """The retrieved pictures, each with a button that shows it."""

    def __init__(self, count: int, clicked):
        self.images: list[int] = []
        self.pictures = [widgets.HTML() for _ in range(count)]
        self.buttons = [button("", "show this picture", THUMB) for _ in range(count)]
        for place, made in enumerate(self.buttons):
            made.on_click(lambda _, place=place: clicked(self.images[place]))
        cells = zip(self.pictures, self.buttons, strict=True)
        super().__init__([widgets.VBox(cell, layout=widgets.Layout(width="148px")) for cell in cells])

    def show(
        self,
        images: Sequence[int],
        pictures: Sequence[bytes | str],
        labels: Sequence[str],
        right: Sequence[bool],
        shown: Sequence[bool],
    ) -> None:
        """pictures: a JPEG, or the text that stands where there is no file."""
        self.images = list(images)
        for k, cell in enumerate(self.children):
            cell.layout.display = None if k < len(images) else "none"
        for k, content in enumerate(pictures):
            self.pictures[k].value = thumbnail(content, right[k], shown[k])
            self.buttons[k].description = labels[k]


def thumbnail(content: bytes | str, right: bool, shown: bool) -> str:
    """A square of HTML: picture or text; a green frame in a right one, a strong one around the shown."""
    frame = (
        f"display:block;box-sizing:border-box;width:{THUMB};height:{THUMB};margin:4px 3px;"
        f"border:4px solid {style.RIGHT if right else 'transparent'};"
        f"outline:3px solid {STRONG if shown else 'transparent'};"
    )
    if isinstance(content, str):
        look = (
            "background:#F2F2F2;color:#555;font-size:11px;line-height:1.3;padding:6px;overflow:hidden;"
            "display:flex;align-items:center;justify-content:center;text-align:center;"
        )
        return f'<div style="{frame}{look}">{html.escape(content)}</div>'
    data = base64.b64encode(content).decode()
    alt = "retrieved picture" + ", the right one" * right + ", shown" * shown
    source = f"data:image/jpeg;base64,{data}"
    return f'<img alt="{alt}" style="{frame}object-fit:contain;" src="{source}">'


class Controls:
    """All controls but the caption's words and the strip; a style sheet or a test finds each by its class."""

    def __init__(self, models: Sequence[str]):
        row = {"style": {"description_width": "58px"}, "continuous_update": False}
        self.model = widgets.ToggleButtons(options=list(models), style={"button_width": "auto"})
        self.caption = widgets.Text(
            description="caption", placeholder="type a caption and press Enter", **row,
            layout=widgets.Layout(flex="1 1 auto", width="auto"),
        )  # fmt: skip
        self.own = widgets.Dropdown(
            layout=widgets.Layout(width="210px"), tooltip="the picture's own captions"
        )
        self.image = widgets.Text(
            description="picture", placeholder="number or file name", **row,
            layout=widgets.Layout(width="290px"),
        )  # fmt: skip
        self.previous = button("◀ better", "the next picture that scores higher for this caption")
        self.next = button("worse ▶", "the next picture that scores lower for this caption")
        self.right = button("right picture", "the picture that this caption was written for")
        self.random = button("another pair", "a random picture with one of its captions")
        self.boundary = slider(
            "boundary", 0.0, 1.0, 0.005, ".3f", "a word whose largest cosine lies below it finds nothing"
        )
        self.lambda_softmax = slider(
            "λ softmax", 1.0, 60.0, 1.0, ".0f", "how sharply a word picks its regions"
        )
        self.lambda_intra = widgets.SelectionSlider(
            options=[("5", 5.0), (OFF, OFF)], description="λ intra", continuous_update=False,
            tooltip="how strongly words that are alike share their mismatch; off: each word by itself",
            layout=widgets.Layout(width="245px"), style={"description_width": "55px"},
        )  # fmt: skip
        self.reset = button("reset", "the model's own constants")
        self.overlay = widgets.ToggleButton(
            value=True, description="attention", tooltip="lay the word's attention over the picture",
            layout=widgets.Layout(width="95px", margin="4px"),
        )  # fmt: skip
        self.about, self.word, self.message = line(), line(), line()
        self.word.layout.flex = "1 1 auto"
        self.picture = widgets.Image(format="png", layout=widgets.Layout(max_width="100%", margin="4px 0"))
        for name, control in vars(self).items():
            control.add_class(f"naaf-{name}")

    def show_message(self, sentence: str) -> None:
        """One sentence on what was wrong; nothing for an empty one."""
        colour = style.MISMATCHED
        self.message.value = f'<b style="color:{colour}">{html.escape(sentence)}</b>' if sentence else ""
        self.message.layout.display = None if sentence else "none"

    def show_word(self, word: str, sentence: str) -> None:
        """A paragraph two lines high, so that what lies below stays in its place."""
        text = f"<b>{html.escape(word)}</b>: {html.escape(sentence)}"
        self.word.value = f'<div style="line-height:1.4;min-height:2.8em;padding-top:4px">{text}</div>'

    def show_about(self, head: str, sentence: str) -> None:
        text = f"<b>{html.escape(head)}</b> {html.escape(sentence)}"
        self.about.value = f'<div style="line-height:1.4;padding:4px 0">{text}</div>'

    @property
    def constants(self) -> Constants:
        """As the sliders have it; a slider that is off has no constant."""
        intra = self.lambda_intra.value
        return Constants(
            None if self.boundary.disabled else self.boundary.value,
            None if self.lambda_softmax.disabled else self.lambda_softmax.value,
            None if self.lambda_intra.disabled or intra == OFF else intra,
        )

    def show_constants(self, constants: Constants, reach: tuple[float, float]) -> None:
        """Set the sliders; reach: the lowest and the highest boundary worth trying."""
        boundary, softmax, intra = constants
        self.boundary.disabled = self.lambda_intra.disabled = boundary is None
        if boundary is not None:
            with self.boundary.hold_trait_notifications():
                self.boundary.min, self.boundary.max = min(reach[0], boundary), max(reach[1], boundary)
                self.boundary.value = boundary
        self.lambda_softmax.disabled = softmax is None
        if softmax is not None:
            self.lambda_softmax.max = max(60.0, softmax)
            self.lambda_softmax.value = softmax
        choices = sorted({*INTRA, *([] if intra is None else [intra])})
        options = ((f"{choice:g}", choice) for choice in choices)
        self.lambda_intra.options = [*options, (OFF, OFF)]
        self.lambda_intra.value = OFF if intra is None else intra

    def laid_out(self, words: Words, strip: Strip) -> list[widgets.Widget]:
        """The rows of the explorer, top to bottom."""
        row = widgets.Layout(width="100%", align_items="center", flex_flow="row wrap")
        whole = widgets.Layout(width="100%", align_items="center")
        name = widgets.Label("run", layout=widgets.Layout(width="58px", justify_content="flex-end"))
        models = widgets.HBox([name, self.model], layout=row)
        return [
            *([models] if len(self.model.options) > 1 else []),
            widgets.HBox([self.caption, self.own], layout=whole),
            widgets.HBox([self.image, self.previous, self.next, self.right, self.random], layout=row),
            self.message,
            words,
            widgets.HBox([self.word, self.overlay], layout=whole),
            self.picture,
            widgets.HBox([self.boundary, self.lambda_softmax, self.lambda_intra, self.reset], layout=row),
            self.about,
            strip,
            widgets.HTML(HIDES, layout=widgets.Layout(display="none")),
        ]
