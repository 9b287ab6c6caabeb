"""The explorer: in a real browser, its numbers are those of the closed form, and everything can be moved."""

from __future__ import annotations

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
    expected = counts([Stage(3, 2)], 16)
    assert heights == pytest.approx([120 * count / expected.max() for count in expected])


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
