"""The explorer as a person meets it: JupyterLab, notebook 05 run from the menu, then its controls."""

import hashlib
import os
import time
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("default"),
]  # warnings of playwright and asyncio

ROOT = Path(__file__).parents[2]
READY = """async () => {
    const widget = window.jupyterapp?.shell?.currentWidget;
    if (!widget?.context?.isReady || !widget.sessionContext?.isReady) return false;
    await widget.sessionContext.session?.kernel?.info;
    return window.jupyterapp.commands.isEnabled("runmenu:run-all");
}"""
CONTRAST = """(found, property) => {  // of the WCAG, with what lies behind
    const numbers = colour => colour.match(/[0-9.]+/g).map(Number);
    const light = colour => numbers(colour).slice(0, 3).map(value => value / 255)
        .map(value => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
        .reduce((sum, value, k) => sum + [0.2126, 0.7152, 0.0722][k] * value, 0);
    let behind = found.parentElement;
    while (numbers(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
    const both = [getComputedStyle(found)[property], getComputedStyle(behind).backgroundColor].map(light);
    return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
}"""
PIXELS = """async image => {
    const bytes = new Uint8Array(await (await fetch(image.src)).arrayBuffer());
    return Array.from(bytes).join(",");
}"""


@pytest.fixture(scope="module")
def explorer(lab, notebook, page):
    """The explorer of notebook 05, all cells run by the menu's command."""
    page.goto(lab.url(f"lab/tree/{notebook.name}"))
    wait_for(
        lambda: page.evaluate(READY), "the notebook's kernel"
    )  # before that Lab asks which kernel to take
    page.locator(".lm-MenuBar-itemLabel", has_text="Run").click()
    page.locator('.lm-Menu-item[data-command="runmenu:run-all"]').click()
    found = page.locator(".jp-OutputArea-output .naaf-explorer")
    found.wait_for()
    found.scroll_into_view_if_needed()
    yield found
    save(found, "explorer_at_the_end")


def wait_for(condition, what: str, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.05)


def save(found, name: str) -> None:
    folder = Path(os.environ.get("NAAF_SCREENSHOTS") or ROOT / "outputs" / "browser")
    folder.mkdir(parents=True, exist_ok=True)
    found.screenshot(path=folder / f"{name}.png")


def picture(explorer):
    return explorer.locator("img.naaf-picture")


def pixels(explorer) -> str:
    """What the picture shows, whatever its address is."""
    return hashlib.sha256(picture(explorer).evaluate(PIXELS).encode()).hexdigest()


def changed(explorer, before: str) -> None:
    """Wait until the picture is another one. It comes first; words, sentence and ranking follow it."""
    wait_for(lambda: pixels(explorer) != before, "another picture")


def sentence(explorer) -> str:
    return explorer.locator(".naaf-word").inner_text()


def test_a_slider_moved_with_the_keyboard_draws_the_page_anew(explorer):
    save(explorer, "explorer_at_first")
    before, said = pixels(explorer), sentence(explorer)
    slider = explorer.locator(".widget-slider", has_text="boundary")
    value = slider.locator(".widget-readout").inner_text()
    slider.locator(".noUi-handle").focus()
    explorer.page.keyboard.press("ArrowRight")
    changed(explorer, before)
    assert slider.locator(".widget-readout").inner_text() != value
    wait_for(lambda: sentence(explorer) != said, "another sentence about the word")


def test_a_clicked_word_shows_where_it_looks(explorer):
    before = pixels(explorer)
    explorer.locator(".naaf-words button").nth(0).click()  # <start>, which is never shown first
    changed(explorer, before)
    word = explorer.locator(".naaf-words button").nth(0).inner_text()
    wait_for(lambda: sentence(explorer).startswith(f"{word}:"), "a sentence about the clicked word")


def test_a_typed_caption_is_read_and_its_pictures_ranked(explorer):
    before = pixels(explorer)
    field = explorer.locator(".naaf-caption input")
    field.fill("a big red star by a circle")
    field.press("Enter")
    changed(explorer, before)
    explorer.get_by_text("the caption is your own").wait_for()  # the last that is written
    words = explorer.locator(".naaf-words button").all_inner_texts()
    assert [word.rstrip("?") for word in words[1:-1]] == ["a", "big", "red", "star", "by", "a", "circle"]
    save(explorer, "explorer_own_caption")


def test_a_mistake_is_one_sentence_and_the_picture_stays(explorer):
    before = pixels(explorer)
    field = explorer.locator(".naaf-image input")
    field.fill("no_such.jpg")
    field.press("Enter")
    explorer.get_by_text("there is no picture 'no_such.jpg'").wait_for()
    assert pixels(explorer) == before
    assert "Traceback" not in explorer.inner_text()


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_the_chosen_word_and_picture_are_seen_in_both_themes(explorer, theme):
    change = "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})"
    explorer.page.evaluate(change, theme)
    wait_for(
        lambda: explorer.page.locator("body").get_attribute("data-jp-theme-name") == theme,
        f"the theme {theme}",
    )
    explorer.locator(".naaf-words button").nth(3).click()
    chosen = explorer.locator(".naaf-words button").nth(3)
    wait_for(lambda: chosen.evaluate("button => getComputedStyle(button).fontWeight") == "700", "a bold word")
    shown = explorer.locator('[alt$=", shown"]')
    shown.wait_for()
    save(explorer, f"explorer_{theme.split()[-1].lower()}")
    assert chosen.evaluate(CONTRAST, "borderTopColor") > 3
    assert shown.evaluate(CONTRAST, "outlineColor") > 3
    assert explorer.locator(".naaf-word b").evaluate(CONTRAST, "color") > 4.5


def test_attention_is_switched_off_and_on(explorer):
    before, said = pixels(explorer), sentence(explorer)
    switch = explorer.locator("button.naaf-overlay")
    switch.click()
    changed(explorer, before)
    save(explorer, "explorer_without_attention")
    switch.click()
    wait_for(lambda: pixels(explorer) == before, "the picture with its attention")
    assert sentence(explorer) == said


def test_the_still_picture_is_hidden_where_the_explorer_lives(explorer):
    after = explorer.page.locator(".jp-OutputArea-child:has(.naaf-explorer) + .jp-OutputArea-child")
    still = after.locator(".jp-RenderedImage img")
    wait_for(lambda: still.count() == 1, "the picture for readers without a kernel")
    assert not still.is_visible()
