"""The explorer: in a real browser, its numbers are those of the closed form, and everything can be moved."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from helpers.browser import browser, open_file
from helpers.running import printed, refused

from featvis.errors import FeatvisError
from featvis.measure.periods import exact_periods
from featvis.predict.overlap import (
    Stage,
    balanced_kernels,
    counts,
    energies_by_period,
    parse_stack,
    profile,
    total_energy,
)
from featvis.report import explorer_html, write_explorer
from featvis.report.explorer import stack_text

__all__ = ["browser", "open_file"]

TWO = [Stage(3, 2, 1), Stage(3, 2, 1)]


@pytest.fixture(scope="module")
def explorer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_explorer(tmp_path_factory.mktemp("explorer") / "explorer.html", TWO)


def random_stack(draw: random.Random) -> list[Stage]:
    stages = []
    for _ in range(draw.randint(1, 4)):
        kernel, stride, dilation = draw.randint(1, 11), draw.randint(1, 4), draw.randint(1, 3)
        stages.append(Stage(kernel, stride, draw.randint(0, 5), dilation, draw.randrange(max(stride, dilation))))
    return stages


SETTINGS = [(seed, random_stack(random.Random(seed)), 1 + seed % 2) for seed in range(50)]

TABLE = """[...document.querySelectorAll('#energies tbody tr')].map(
    row => [row.cells[0].textContent, row.cells[1].dataset.value, row.cells[2].dataset.value].map(Number)
)"""


def test_the_numbers_are_those_of_python(explorer: Path, open_file: Any) -> None:
    page = open_file(explorer).page
    for _, stack, dims in SETTINGS:
        page.evaluate(
            "address => new Promise(done => { addEventListener('hashchange', done, {once: true}); location.hash = address })"
            ".then(() => null)",
            f"#stack={stack_text(stack)}&dims={dims}",
        )
        expected = energies_by_period(stack, *([stack] if dims == 2 else []))
        exact = exact_periods(expected)
        rows = {period: (energy, part) for period, energy, part in page.evaluate(TABLE)}
        assert rows.keys() == expected.keys()
        for period, (energy, part) in rows.items():
            assert energy == pytest.approx(float(expected[period]), rel=1e-9, abs=1e-12)
            assert part == pytest.approx(float(exact[period]), rel=1e-9, abs=1e-12)


def test_the_counts_are_those_of_python(explorer: Path, open_file: Any) -> None:
    page = open_file(explorer).page
    for seed, stack, _ in SETTINGS:
        stages = [
            {key.replace("output_padding", "outputPadding"): value for key, value in asdict(stage).items()}
            for stage in stack
        ]
        row, period, kernels = page.evaluate(
            "([stack, positions]) => [counts(stack, positions), profile(stack), stack.map(balancedKernels)]",
            [stages, 3 + seed % 5],
        )
        assert period == profile(stack).tolist()
        assert kernels == [list(balanced_kernels(stage.kernel, stage.stride, stage.dilation)) for stage in stack]
        try:
            assert row == counts(stack, 3 + seed % 5).tolist()
        except FeatvisError:
            assert row is None


def test_it_opens_without_a_network_and_without_faults(explorer: Path, open_file: Any) -> None:
    for scheme in ("light", "dark"):
        tab = open_file(explorer, color_scheme=scheme)
        assert tab.complaints == []
        assert tab.from_elsewhere == []
        assert tab.serious_faults() == []


@pytest.mark.parametrize("width", [375, 1440])
def test_it_fits(explorer: Path, open_file: Any, width: int) -> None:
    tab = open_file(explorer, width, address="#stack=7,3,2+5,4,1+3,2,1+3,2,1+3,2,1")
    assert tab.page.locator("#stages fieldset").count() == 5
    assert tab.overflow <= 0


def test_make_it_even_makes_it_even(explorer: Path, open_file: Any) -> None:
    page = open_file(explorer, address="#stack=3,2,1+7,4,0+4,2,1").page
    page.get_by_role("button", name="Make it even").click()
    assert page.evaluate("location.hash") == "#stack=4,2,1+8,4,0+4,2,1&dims=2"
    assert max(abs(energy) for _, energy, _ in page.evaluate(TABLE)) < 1e-12
    assert page.locator("#advice").text_content().startswith("Even:")
    assert page.locator("#even").is_disabled()


def test_an_uneven_dilation_has_no_even_kernel(explorer: Path, open_file: Any) -> None:
    page = open_file(explorer, address="#stack=3,2,1,2&dims=1").page
    assert "no kernel is even while stride 2 and dilation 2 share a factor" in page.locator("#advice").text_content()
    assert page.locator("#even").is_disabled()


def test_the_keyboard_moves_the_sliders_and_the_address(explorer: Path, open_file: Any) -> None:
    page = open_file(explorer).page
    page.locator("#kernel-1").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("location.hash") == "#stack=4,3,1+3,2,1&dims=2"
    assert page.evaluate("document.activeElement.id") == "stride-1"
    expected = total_energy(*[[Stage(4, 3, 1), Stage(3, 2, 1)]] * 2)
    assert page.evaluate(TABLE)[-1][1] == pytest.approx(float(expected), rel=1e-9)
    page.locator("#layers").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("location.hash") == "#stack=4,3,1+3,2,1+3,2,1&dims=2"
    page.get_by_role("button", name="1-D").press("Enter")
    assert page.evaluate("location.hash").endswith("&dims=1")
    assert page.locator("#counts").is_hidden()


def test_a_bad_address_changes_nothing(explorer: Path, open_file: Any) -> None:
    for address in ("#stack=x", "#stack=3", "#stack=", "#nothing", "#stack=%E0%A4%A", "#stack=3,2<b>"):
        tab = open_file(explorer, address=address)
        assert tab.page.locator("#kernel-1").input_value() == "3", address
        assert tab.page.locator("#stages fieldset").count() == 2
        assert tab.complaints == []


def test_values_beyond_the_limits_are_brought_back(explorer: Path, open_file: Any) -> None:
    page = open_file(explorer, address="#stack=999999,0,-3,99,99&dims=7").page
    assert [page.locator(f"#{name}-1").input_value() for name in ("kernel", "stride", "padding", "dilation")] == [
        "64",
        "1",
        "0",
        "16",
    ]


def test_padding_that_leaves_no_pixel_is_said(explorer: Path, open_file: Any) -> None:
    tab = open_file(explorer, address="#stack=1,1,64")
    assert tab.complaints == []
    assert tab.page.locator("#bars rect").count() > 0, "more positions leave some"


def test_the_drawing_is_the_counts(explorer: Path, open_file: Any) -> None:
    page = open_file(explorer, address="#stack=3,2,0").page
    heights = page.evaluate(
        "[...document.querySelectorAll('#bars rect')].map(bar => 120 - Number(bar.getAttribute('y')))"
    )
    # Sixteen pixels to begin with, from the middle of a row of 33, an even one.
    expected = counts([Stage(3, 2)], 16)[8 : 8 + 16]
    assert heights == pytest.approx([120 * count / expected.max() for count in expected])


def read_by(stack: list[Stage], layer: int, place: int) -> list[set[int]]:
    """By layer, down to the pixels, all places that a place reads."""
    found = [{place}]
    for stage in reversed(stack[:layer]):
        offsets = [tap * stage.dilation - stage.padding for tap in range(stage.kernel)]
        found.insert(0, {one * stage.stride + offset for one in found[0] for offset in offsets})
    return found


ACTIVE = "[...document.querySelectorAll('[data-at].active')].map(one => one.dataset.at.split(':').map(Number))"


def pointed_at(page: Any) -> set[tuple[int, int]]:
    return {(layer, place) for layer, place in page.evaluate(ACTIVE)}


def drawn_places(page: Any) -> set[tuple[int, int]]:
    return {tuple(at) for at in page.evaluate(ACTIVE.replace(".active", ""))}


SMALL_STACKS = ("3,2,1+3,2,1", "3,2,0", "5,3,2,2+4,2,1", "2,2+1,3,0+3,1,1")


@pytest.mark.parametrize("text", SMALL_STACKS)
def test_pointing_shows_what_is_read_and_what_reads(explorer: Path, open_file: Any, text: str) -> None:
    tab = open_file(explorer, address=f"#stack={text}")
    page, stack = tab.page, parse_stack(text.split("+"))[0]
    page.locator("#windows").scroll_into_view_if_needed()
    shown = drawn_places(page)
    assert {layer for layer, _ in shown} == set(range(len(stack) + 1))
    pixels = sorted(place for layer, place in shown if layer == 0)
    assert len(pixels) == max(16, math.ceil(math.prod(stage.stride for stage in stack) / 4) * 8)
    for layer, place in sorted(shown):
        box = page.locator(f'[data-at="{layer}:{place}"]').bounding_box()
        frame = page.locator("#windows").bounding_box()
        if not frame["x"] + 53 < box["x"] + box["width"] / 2 < frame["x"] + frame["width"]:
            continue  # Its middle is not in the part that is drawn.
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        if layer:
            expected = {(level, one) for level, places in enumerate(read_by(stack, layer, place)) for one in places}
        else:
            expected = {(0, place)} | {
                (level, one) for level, one in shown if level and place in read_by(stack, level, one)[0]
            }
        assert pointed_at(page) == expected & shown, (layer, place)
        said = page.locator("#told").text_content()
        assert said.startswith(f"Pixel {place} is read by" if layer == 0 else f"Place {place} of layer {layer} reads")
    assert tab.complaints == []


def test_the_axes_have_numbers(explorer: Path, open_file: Any) -> None:
    for width in (375, 1440):
        page = open_file(explorer, width).page
        numbers = page.locator("#windows > text.number").all_text_contents()
        first = int(numbers[0])
        assert numbers == [str(first + number) for number in range(16)]
        assert first % 4 == 0, "from a whole period on"
        assert page.locator("#windows .axis").all_text_contents() == ["0", "1", "2", "3"]
        assert page.locator("#windows .row").all_text_contents() == [
            "layer 2",
            "layer 1",
            "pixels",
            "paths to each pixel",
        ]
    move(page, "pixels", 64)
    numbers = page.locator("#windows > text.number").all_text_contents()
    assert len(page.locator("#windows .pixel").all()) == 64
    assert all(int(number) % 2 == 0 for number in numbers)


def move(page: Any, name: str, value: int) -> None:
    page.evaluate(
        "([id, value]) => { const input = document.getElementById(id); input.value = value; input.dispatchEvent(new Event('input')); }",
        [name, value],
    )


def test_the_keyboard_walks_through_the_windows(explorer: Path, open_file: Any) -> None:
    page = open_file(explorer).page
    page.locator("#windows").focus()
    page.keyboard.press("ArrowRight")
    (pixel,) = {place for layer, place in pointed_at(page) if layer == 0}
    page.keyboard.press("ArrowRight")
    assert (0, pixel + 1) in pointed_at(page)
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    (top,) = {place for layer, place in pointed_at(page) if layer == 2}
    assert {(layer, place) for layer, places in enumerate(read_by(TWO, 2, top)) for place in places} == pointed_at(page)
    page.keyboard.press("ArrowDown")
    assert 2 not in {layer for layer, _ in pointed_at(page)}
    page.keyboard.press("Escape")
    assert pointed_at(page) == set()


def test_pointing_in_the_plane_tells_both_axes(explorer: Path, open_file: Any) -> None:
    page = open_file(explorer).page
    plane, first = page.locator("#counts"), min(place for layer, place in drawn_places(page) if layer == 0)
    row = counts(TWO, 64)
    plane.focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowRight"):
        plane.press(key)
    down, across = first + 8 + 1, first + 8 + 1
    expected = [sum(pixel in read_by(TWO, 1, place)[0] for place in range(40)) for pixel in (down, across)]
    assert page.locator("#told").text_content() == (
        f"Row {down}, column {across} is read by {expected[0]} × {expected[1]} windows of layer 1. "
        f"Paths to it: {row[down]} × {row[across]} = {row[down] * row[across]}."
    )
    assert (0, across) in pointed_at(page)
    plane.press("Escape")
    assert pointed_at(page) == set()
    box = plane.bounding_box()
    page.mouse.move(box["x"] + box["width"] - 3, box["y"] + 3)
    assert page.locator("#told").text_content().startswith(f"Row {first}, column {first + 15} is read by 1 × 2 windows")


def test_a_touch_points_and_stays(explorer: Path, open_file: Any) -> None:
    page = open_file(explorer, 375).page
    page.evaluate(
        """() => {
            const drawing = document.getElementById('windows');
            const pixel = drawing.querySelector('.pixel:nth-of-type(6)') ?? drawing.querySelectorAll('.pixel')[5];
            const box = pixel.getBoundingClientRect();
            const at = { clientX: box.x + box.width / 2, clientY: box.y + box.height / 2, pointerType: 'touch', bubbles: true };
            for (const kind of ['pointerdown', 'pointerup', 'pointerleave']) drawing.dispatchEvent(new PointerEvent(kind, at));
        }"""
    )
    assert any(layer == 0 for layer, _ in pointed_at(page))


def test_windows_slide_pause_and_end(explorer: Path, open_file: Any) -> None:
    page = open_file(explorer).page
    button = page.locator("#play")
    button.press("Enter")
    assert (button.text_content(), button.get_attribute("aria-pressed")) == ("pause", "true")
    before = pointed_at(page)
    page.wait_for_function(
        "before => document.querySelector('.place.active').dataset.at !== before", arg=f"2:{max(before)[1]}"
    )
    button.press("Enter")
    paused = pointed_at(page)
    assert (button.text_content(), button.get_attribute("aria-pressed")) == ("go on", "false")
    page.wait_for_timeout(900)
    assert pointed_at(page) == paused
    assert max(paused)[1] > max(before)[1]


def test_windows_move_by_hand_where_motion_is_not_wanted(explorer: Path, open_file: Any) -> None:
    page = open_file(explorer).page
    page.emulate_media(reduced_motion="reduce")
    places = sorted(place for layer, place in drawn_places(page) if layer == 2)
    seen, sofar = [], []
    for _ in places:
        page.locator("#play").press("Enter")
        seen.append(max(pointed_at(page)))
        sofar.append(
            page.evaluate("[...document.querySelectorAll('#bars rect')].map(bar => Number(bar.getAttribute('height')))")
        )
    page.wait_for_timeout(900)
    assert max(pointed_at(page)) == seen[-1]
    page.locator("#play").press("Enter")
    page.emulate_media(reduced_motion="no-preference")
    assert pointed_at(page) == set(), "the last has passed"
    assert seen == [(2, place) for place in places]
    # Paths are added window by window, up to those of all.
    whole = page.evaluate("[...document.querySelectorAll('#bars rect')].map(bar => Number(bar.getAttribute('height')))")
    assert all(low <= high for early, late in itertools.pairwise(sofar) for low, high in zip(early, late, strict=True))
    assert sofar[-1] == pytest.approx(whole)
    assert sum(sofar[0]) < sum(whole)


def test_the_command_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "explorer.html"
    assert f"wrote {path}" in printed("overlap", "5,2,1", "3,1,1", "--html", path)
    assert 'data-stack="5,2,1,1,0+3,1,1,1,0"' in path.read_text()
    assert "alike" in refused("overlap", "3x5,2", "--html", tmp_path / "none.html")
    assert not (tmp_path / "none.html").exists()


@pytest.mark.parametrize(
    ("stack", "said"),
    [([], "0 stages"), ([Stage(3, 2)] * 6, "6 stages"), ([Stage(65, 2)], "limits"), ([Stage(3, 17)], "limits")],
)
def test_what_the_explorer_cannot_show_is_refused(stack: list[Stage], said: str) -> None:
    with pytest.raises(FeatvisError, match=said):
        explorer_html(stack)


def test_axes_that_differ_are_refused() -> None:
    with pytest.raises(FeatvisError, match="alike"):
        explorer_html(*parse_stack(["3x5,2"]))
