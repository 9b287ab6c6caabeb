"""Every kind of page in a real browser: it opens by itself, fits, can be read by all, and whatever can be moved moves."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.browser import browser, open_file
from helpers.findings import HOSTILE, audit, comparison, hostile_pages, pages, view
from PIL import Image

from featvis.report.views import shown_view

__all__ = ["browser", "open_file"]

KINDS = ("audit", "compare", "dream", "discriminator", "generator", "predict")

WIDER_THAN_PAPER = """[...document.querySelectorAll('table')].filter(
    table => table.offsetWidth > table.parentElement.clientWidth + 1
).map(table => table.innerText)"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every kind of page as a file, KIND.html, and hostile-KIND.html."""
    made = tmp_path_factory.mktemp("pages")
    for prefix, kinds in (("", pages()), ("hostile-", hostile_pages())):
        for kind, page in kinds.items():
            (made / f"{prefix}{kind}.html").write_text(page, encoding="utf-8")
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_it_opens_without_a_network_fits_prints_and_has_no_faults(folder: Path, open_file: Any, kind: str) -> None:
    tab = open_file(folder / f"{kind}.html", 1440)
    assert tab.overflow <= 0
    assert tab.serious_faults() == []
    tab.page.set_viewport_size({"width": 375, "height": 900})
    tab.page.emulate_media(color_scheme="dark")
    assert tab.overflow <= 0
    assert tab.serious_faults("color-contrast", "scrollable-region-focusable") == []

    tab.page.set_viewport_size({"width": 720, "height": 900})
    tab.page.emulate_media(media="print")
    assert tab.page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    assert not tab.page.locator(".viewer-controls").is_visible()
    # Nothing scrolls on paper.
    assert tab.overflow <= 0
    assert tab.page.evaluate(WIDER_THAN_PAPER) == []

    assert tab.complaints == []
    assert tab.from_elsewhere == []


def test_paper_shows_what_is_folded_away(folder: Path, open_file: Any) -> None:
    page = open_file(folder / "discriminator.html").page
    assert not page.locator("#chances-table").is_visible()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#chances-table").is_visible()
    assert page.locator("#agreements-table").is_visible()


def test_planted_faults_are_found(tmp_path: Path, open_file: Any) -> None:
    path = tmp_path / "bad.html"
    path.write_text(
        "<!DOCTYPE html><title>x</title><img src='data:,'><div style='width: 2000px'>x</div>"
        "<script>console.error('said'); fetch('http://127.0.0.1:9/').catch(() => {})</script>"
    )
    tab = open_file(path)
    assert any(fault.startswith("image-alt") for fault in tab.serious_faults())
    assert tab.overflow > 0
    assert "said" in tab.complaints
    assert tab.from_elsewhere == ["http://127.0.0.1:9/"]


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_names_do_nothing(folder: Path, open_file: Any, kind: str) -> None:
    tab = open_file(folder / f"hostile-{kind}.html", 375)
    assert tab.complaints == []
    assert tab.page.title() != "taken"
    assert HOSTILE in tab.page.title()
    assert tab.page.locator("img[src=x]").count() == 0
    assert tab.page.locator("th", has_text=HOSTILE).count() > 0 or kind == "predict"
    assert tab.page.locator(".layer", has_text=HOSTILE).count() > 0
    if kind != "predict":
        places = tab.page.locator("#which option, #first option").all_text_contents()
        assert HOSTILE in places
    assert tab.overflow <= 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_numbers_are_downloaded(folder: Path, open_file: Any, kind: str) -> None:
    page = open_file(folder / f"{kind}.html").page
    links = page.locator("a[download]")
    names = [link.get_attribute("download") for link in links.all()]
    assert "numbers.csv" in names
    assert len(names) >= 2
    for name in names:
        with page.expect_download() as waiting:
            page.locator(f'a[download="{name}"]').click()
        assert waiting.value.suggested_filename == name
        text = Path(waiting.value.path()).read_text(encoding="utf-8")
        if name == "numbers.csv":
            rows = list(csv.DictReader(io.StringIO(text)))
            assert {"energy", "fine detail: energy"} & {row["measure"] for row in rows}
        else:
            assert json.loads(text)


def drawn(page: Any, pane: str) -> np.ndarray:
    """What a pane shows, (H, W, 4)."""
    url = page.evaluate("chosen => document.querySelector(chosen).toDataURL()", pane)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGBA"))


def colours(url: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"))


def move(page: Any, name: str, value: int) -> None:
    page.evaluate(
        "([id, value]) => { const input = document.getElementById(id); input.value = value; input.dispatchEvent(new Event('input')); }",
        [name, value],
    )


PANES = ("#pane-picture", "#pane-gradient")


def test_every_pixel_is_whole_screen_pixels_and_both_panes_zoom_together(folder: Path, open_file: Any) -> None:
    page = open_file(folder / "audit.html").page
    shown = shown_view(view("first.png"), 4)
    sources = {"#pane-picture": colours(shown["pictures"][0]), "#pane-gradient": colours(shown["versions"][0]["map"])}
    move(page, "split", 100)
    page.locator("#grid").uncheck()
    for step, zoom in ((0, 1), (4, 6), (9, 32)):
        move(page, "zoom", step)
        for pane, source in sources.items():
            seen = drawn(page, pane)
            side = len(seen)
            scale = side // 64 * zoom
            first = (side - 64 * scale) // 2 if 64 * scale <= side else round(side / 2 - 32 * scale)
            rows = (np.arange(side) - first) // scale
            inside = (rows >= 0) & (rows < 64)
            if pane == "#pane-gradient":
                inside[-4:] = False  # the divider
            expected = source[rows[inside]][:, rows[inside]]
            assert np.array_equal(seen[np.ix_(inside, inside)][..., :3], expected)


@pytest.mark.parametrize(("kind", "divided"), [("audit", PANES[1:]), ("dream", PANES)])
def test_the_slider_divides_left_from_right(folder: Path, open_file: Any, kind: str, divided: tuple[str, ...]) -> None:
    page = open_file(folder / f"{kind}.html").page
    for pane in PANES:
        seen = {}
        for place in (100, 0, 50):
            move(page, "split", place)
            seen[place] = drawn(page, pane)
        middle = len(seen[50]) // 2
        assert np.array_equal(seen[100][:, 4:-4], seen[0][:, 4:-4]) == (pane not in divided)
        assert np.array_equal(seen[50][:, 4 : middle - 4], seen[100][:, 4 : middle - 4])
        assert np.array_equal(seen[50][:, middle + 4 : -4], seen[0][:, middle + 4 : -4])


def test_any_two_variants_can_be_held_against_each_other(folder: Path, open_file: Any) -> None:
    page = open_file(folder / "compare.html").page
    assert page.locator("#map-caption").text_content() == "plain | low-pass", "the evenest is beside the first"
    assert page.locator("#first option").all_text_contents() == ["plain", "blurpool", "low-pass"]
    assert page.locator("#sheet canvas").count() == 3
    page.locator("#first").select_option("2")
    page.locator("#second").select_option("1")
    assert page.locator("#map-caption").text_content() == "low-pass | blurpool"
    move(page, "split", 100)
    move(page, "zoom", 0)
    page.locator("#grid").uncheck()
    assert page.locator("#spectra figcaption").all_text_contents() == ["spectrum, low-pass", "spectrum, blurpool"]
    expected = colours(shown_view(view("0.png", 48, 0, ("plain", "blurpool", "low-pass")), 4)["versions"][2]["map"])
    seen = drawn(page, "#pane-gradient")
    scale = len(seen) // 48
    first = (len(seen) - 48 * scale) // 2 + scale // 2
    assert np.array_equal(seen[first : first + 48 * scale : scale, first : first + 48 * scale : scale, :3], expected)
    before = [drawn(page, f"#sheet figure:nth-child({number}) canvas") for number in (1, 2, 3)]
    move(page, "zoom", 5)
    after = [drawn(page, f"#sheet figure:nth-child({number}) canvas") for number in (1, 2, 3)]
    assert all(not np.array_equal(one, other) for one, other in zip(before, after, strict=True)), "all zoom together"


@pytest.mark.parametrize("width", [375, 1440])
@pytest.mark.parametrize("kind", ["audit", "compare"])
def test_it_begins_where_single_pixels_and_the_grid_of_the_found_period_show(
    folder: Path, open_file: Any, kind: str, width: int
) -> None:
    page = open_file(folder / f"{kind}.html", width).page
    assert "period 4" in page.locator("label[for=grid]").text_content()
    gridded = drawn(page, "#pane-gradient")
    page.locator("#grid").uncheck()
    plain = drawn(page, "#pane-gradient")
    changed = (gridded != plain).any(2)
    lines = np.flatnonzero(changed.mean(0) > 0.9)
    # A dark line and a light one beside it, at every fourth pixel.
    places = lines[np.diff(lines, prepend=-2) > 1][1:]
    (step,) = set(np.diff(places))
    pixels = len(plain) / (step / 4)
    assert 16 <= pixels <= 34, f"{pixels} pixels across a pane"


def test_each_side_says_its_energy_and_shows_its_mean_tile(folder: Path, open_file: Any) -> None:
    page = open_file(folder / "audit.html").page
    left, right = page.locator("#sides p").all()
    assert left.inner_text() == f"gradient\n{audit().finding.headline()}\n{audit().finding.size}"
    assert right.inner_text().startswith("equalised\nE(4) = "), "measured at the picture itself"
    assert "\nnot distinguishable from 0 (below 0." in right.inner_text()
    assert page.locator("#sides .tile").count() == 2
    page = open_file(folder / "compare.html").page
    plain, _, low_pass = comparison("plain", "blurpool", "low-pass").rows
    assert page.locator("#sides p").all_inner_texts() == [
        f"plain\nE(4) = {plain.audit.energy[4]}\nweak",
        f"low-pass\nE(4) = {low_pass.audit.energy[4]}\nnot distinguishable from 0 (below 0.00048)",
    ]


COUNT_TURNS = """() => new Promise(done => {
    let turns = 0;
    const line = document.querySelector('#sides > *');
    const watcher = new MutationObserver(() => { turns += 1; });
    watcher.observe(line, { attributeFilter: ['class'] });
    setTimeout(() => { watcher.disconnect(); done(turns); }, 2200);
})"""


def test_the_flicker_shows_the_sides_in_turns_at_most_three_times_a_second(folder: Path, open_file: Any) -> None:
    page = open_file(folder / "audit.html").page
    move(page, "split", 100)
    first = drawn(page, "#pane-gradient")
    move(page, "split", 0)
    second = drawn(page, "#pane-gradient")
    button = page.locator("#flicker")
    button.focus()
    page.keyboard.press("Enter")
    assert button.get_attribute("aria-pressed") == "true"
    assert np.array_equal(drawn(page, "#pane-gradient")[:, 4:-4], first[:, 4:-4]), "the left side by itself"
    assert 3 <= page.evaluate(COUNT_TURNS) <= 6, "about two turns a second"
    page.keyboard.press("Enter")
    assert button.get_attribute("aria-pressed") == "false"
    assert np.array_equal(drawn(page, "#pane-gradient"), second), "the slider divides again"


def test_nothing_flickers_by_itself_where_motion_is_not_wanted(folder: Path, open_file: Any) -> None:
    page = open_file(folder / "audit.html").page
    page.emulate_media(reduced_motion="reduce")
    seen = []
    for _ in range(3):
        page.locator("#flicker").press("Enter")
        assert page.evaluate(COUNT_TURNS) == 0
        seen.append(page.locator("#sides .away").all_inner_texts())
    page.emulate_media(reduced_motion="no-preference")
    assert [len(away) for away in seen] == [1, 1, 0]
    assert seen[0] != seen[1]


def test_the_keyboard_and_the_mouse_move_both_panes(folder: Path, open_file: Any) -> None:
    page = open_file(folder / "audit.html").page
    move(page, "zoom", 0)
    page.locator("#pane-gradient").focus()
    for key in ("+", "+", "+"):
        page.keyboard.press(key)
    assert page.locator("#zoom").input_value() == "3"
    shown = [drawn(page, pane) for pane in PANES]
    page.keyboard.press("ArrowRight")
    pressed = [drawn(page, pane) for pane in PANES]
    box = page.locator("#pane-picture").bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    assert re.match(r"row \d+, column \d+; phase \d, \d of 4", page.locator("#place").text_content())
    page.mouse.down()
    page.mouse.move(box["x"] + 100, box["y"] + 250)
    page.mouse.up()
    dragged = [drawn(page, pane) for pane in PANES]
    for first, second in ((shown, pressed), (pressed, dragged)):
        assert all(not np.array_equal(one, other) for one, other in zip(first, second, strict=True))
    page.locator("#pane-gradient").press("0")
    assert page.locator("#zoom").input_value() == "0"


def test_another_picture_can_be_chosen(folder: Path, open_file: Any) -> None:
    page = open_file(folder / "audit.html").page
    page.locator("#which").select_option("1")
    assert page.locator("#split-line").is_hidden()
    assert page.locator("#place").text_content() == "100 × 100 pixels"
    assert page.locator("#spectra svg").count() == 1
    assert page.locator("#spectra circle").count() == 24, "five by five harmonics of 4 without the constant one"


@pytest.mark.parametrize(
    ("kind", "address"),
    [("audit", "#stack=4,2,0+4,2,0+4,2,0&dims=2"), ("predict", "#stack=4,2,0+4,2,0&dims=2")],
)
def test_the_explorer_of_the_page_works(folder: Path, open_file: Any, kind: str, address: str) -> None:
    page = open_file(folder / f"{kind}.html").page
    page.get_by_role("button", name="Make it even").click()
    assert page.evaluate("location.hash") == address
