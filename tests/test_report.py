"""The page: what it says, that it needs nothing else, and that it works in a real browser."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import browser, open_file
from networks import strided
from PIL import Image
from running import ZOO, files_below, printed, refused, save_pictures

from featvis.audit import Audit, Culprit
from featvis.comparison import Comparison, Row
from featvis.drift import Drift
from featvis.errors import FeatvisError
from featvis.estimates import Estimate
from featvis.models import Model
from featvis.overlap import Stage
from featvis.report import PictureView, picture_views, report_html, write_report
from featvis.report.explorer import COMMON, stack_of
from featvis.report.page import LARGEST
from featvis.report.tables import Scale
from featvis.report.views import MOST_PIXELS, shown_view
from featvis.report.words import command_of, verdict, words

__all__ = ["browser", "open_file"]

HOSTILE = "</script><script>document.title='taken'</script><img src=x onerror=alert(1)>"


def culprit(layer: str, share: float, period: int = 2) -> Culprit:
    left = {2: Estimate(0.1, 0.01), 4: Estimate(0.19 * (1 - share), 0.01)}
    sizes = ((3, 3), (2, 2), (1, 1))
    return Culprit(layer, "Conv2d", *sizes, period, 0.2346, Estimate(0.29, 0.01), left, {2: share - 0.01, 4: 0.01})


def audit(**changes: Any) -> Audit:
    values: dict[str, Any] = {
        "total_stride": 4,
        "energy": {2: Estimate(0.05, 0.004), 4: Estimate(0.19, 0.006)},
        "controls": {3: Estimate(0.0001, 0.0003), 5: Estimate(-0.0002, 0.0004)},
        "exact_periods": {2: Estimate(0.05, 0.004), 4: Estimate(0.14, 0.005)},
        "signed_comb": {2: Estimate(0.01, None)},
        "high_frequency_share": Estimate(0.7, 0.01),
        "mean_gradient_flatness": 0.5,
        "profile": tuple(tuple(1 + 0.1 * (row - column) for column in range(4)) for row in range(4)),
        "pictures": 12,
        "replicates": "pictures",
        "settings": {"model": ZOO, "weights": "zoo", "seed": 3, "score": "seeds", "versions": {"torch": "2.13"}},
        "culprits": (culprit("conv1", 0.6), culprit("conv2", 0.35, 4), culprit("conv3", 0.02, 4)),
    }
    return Audit(**{**values, **changes})


def comparison(*names: str) -> Comparison:
    rows = tuple(
        Row(
            name,
            "forward" if number else "",
            (),
            replace(audit(culprits=()), energy={2: Estimate(0.01, 0.001), 4: Estimate(0.19 / 50**number, 0.0002)}),
            {4: Estimate(-0.1 * number, 0.01)},
            Drift(Estimate(0.98, 0.01), None, 0.2, None),
            None,
            None,
            12.5,
            3_000_000,
            12345,
        )
        for number, name in enumerate(names)
    )
    return Comparison(rows, 4, 12, ("lost.png: not a picture",), ("quiet machine",))


def view(name: str = "photo.png", size: int = 64, seed: int = 0, after: bool = True) -> PictureView:
    draw = np.random.default_rng(seed)
    before, treated = draw.standard_normal((2, 3, size, size))
    before[:, ::2, ::2] *= 3
    return PictureView(name, draw.random((size, size, 3)), before, treated if after else None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "Period-4 checkerboard, E(4) = 0.190 ± 0.006, 95 % from conv1 and conv2."),
        (
            {"culprits": (culprit("a", 0.95), culprit("b", -0.2))},
            "Period-4 checkerboard, E(4) = 0.190 ± 0.006, 95 % from a.",
        ),
        ({"culprits": (culprit("b", -0.2),)}, "Period-4 checkerboard, E(4) = 0.190 ± 0.006."),
        (
            {
                "exact_periods": {2: Estimate(0.001, 0.004), 4: Estimate(0.002, 0.005)},
                "energy": {4: Estimate(0.003, 0.006)},
            },
            "No checkerboard above the noise: E(4) = 0.003 ± 0.006.",
        ),
        (
            {"energy": {}, "exact_periods": {}},
            "No layer has a stride, so there is no period in which a checkerboard could repeat.",
        ),
    ],
)
def test_the_verdict(changes: dict[str, Any], said: str) -> None:
    assert verdict(audit(**changes)) == said


def test_the_verdict_names_the_best_variant_unless_it_is_the_first() -> None:
    assert verdict(audit(), comparison("plain", "blurpool")).endswith("conv2; blurpool leaves 0.0038 ± 0.0002.")
    assert verdict(audit(), comparison("plain")).endswith("conv2.")


def test_words_have_no_negative_zero() -> None:
    assert words(Estimate(-0.00002, 0.001)) == "0.000 ± 0.001"
    assert words(Estimate(-0.002, 0.001)) == "−0.002 ± 0.001"
    assert words(None) == "–"


def test_the_command_repeats_the_audit() -> None:
    settings = {"model": "m", "weights": "w x.pth", "score": "top", "method": "smoothgrad", "compensation": "none"}
    settings |= {"seed": 1, "skip_bad": True, "input_size": [3, 32, 48]}
    expected = (
        "featvis audit m 'a b.png' --size 32x48 --method smoothgrad --seed 1 --weights 'w x.pth' --skip-bad --culprits"
    )
    assert command_of(audit(settings=settings), ["a b.png"]) == expected
    drawn = command_of(audit(settings={"model": "m", "weights": "random"}, culprits=()))
    assert drawn == "featvis audit m PICTURES --weights none"
    assert command_of(audit(settings={"model": "m", "weights": "zoo"}, culprits=())) == "featvis audit m PICTURES"


def test_a_scale_is_linear_near_zero_and_logarithmic_beyond() -> None:
    scale = Scale.holding([Estimate(0.19, 0.01), Estimate(-0.002, 0.001)])
    places = [scale.place(value) for value in (-0.003, 0, 0.0005, 0.001, 0.01, 0.1, 1)]
    assert places == sorted(places)
    assert min(places) >= 0
    assert max(places) <= 100
    assert places[2] - places[1] == pytest.approx(places[3] - places[2], abs=2e-3)
    assert places[4] - places[3] == pytest.approx(places[6] - places[5], abs=2e-3)


def test_the_page_needs_nothing_else_and_holds_every_number() -> None:
    page = report_html(audit(), comparison("plain", "blurpool"), [view()])
    assert re.findall(r"(?:src|href)=\"(?!data:)[^\"]*", page) == []
    assert set(re.findall(r"https?://[^\s\"']*", page)) == {"http://www.w3.org/2000/svg"}
    urls = dict(re.findall(r'href="(data:[^"]*)" download="([^"]*)"', page))
    content = {name: base64.b64decode(url.partition("base64,")[2]).decode() for url, name in urls.items()}
    assert Audit.from_json(content["audit.json"]) == audit()
    assert Comparison.from_json(content["comparison.json"]) == comparison("plain", "blurpool")
    rows = list(csv.DictReader(io.StringIO(content["numbers.csv"])))
    assert {row["subject"] for row in rows} == {"audit", "variant plain", "variant blurpool"}
    found = [row for row in rows if (row["subject"], row["measure"], row["period"]) == ("audit", "energy", "4")]
    assert [(float(row["value"]), float(row["standard error"])) for row in found] == [(0.19, 0.006)]
    shares = [row for row in rows if row["measure"] == "share" and row["layer"] == "conv1"]
    assert sum(float(row["value"]) for row in shares) == pytest.approx(0.6)
    assert sum(row["measure"] == "profile" and row["subject"] == "audit" for row in rows) == 16
    for said in ("seeds", "2.13", "quiet machine", "lost.png: not a picture", "control"):
        assert said in page


def test_hostile_names_are_text() -> None:
    hostile = audit(
        culprits=(culprit(HOSTILE, 0.9),),
        notes=(HOSTILE,),
        skipped=(HOSTILE,),
        settings={"model": HOSTILE, HOSTILE: [HOSTILE]},
    )
    page = report_html(hostile, comparison("plain", HOSTILE), [view(HOSTILE)], command=HOSTILE)
    assert "<img src=x" not in page
    assert page.count("</script>") == page.count("<script") == 2


def test_hostile_names_do_nothing_in_a_browser(tmp_path: Path, open_file: Any) -> None:
    hostile = audit(culprits=(culprit(HOSTILE, 0.9),), settings={"model": HOSTILE})
    tab = open_file(write_report(tmp_path / "page.html", hostile, comparison("plain", HOSTILE), [view(HOSTILE)]))
    assert tab.complaints == []
    assert tab.page.title() == f"Checkerboard audit of {HOSTILE}"
    assert HOSTILE in tab.page.locator("#culprits tbody").text_content()
    assert tab.page.locator("#which option").text_content() == HOSTILE
    assert tab.page.locator("img[src=x]").count() == 0


def test_a_name_that_is_no_text_is_written_all_the_same(tmp_path: Path) -> None:
    path = write_report(
        tmp_path / "page.html", audit(skipped=("caf\udce9.png: not a picture",)), pictures=[view("caf\udce9.png")]
    )
    assert "caf?.png: not a picture" in path.read_text(encoding="utf-8")


def test_a_comparison_alone_gives_a_page() -> None:
    assert "blurpool leaves" in report_html(comparison=comparison("plain", "blurpool"))
    with pytest.raises(FeatvisError, match="neither was given"):
        report_html()


def test_a_network_without_a_stride_gives_a_page() -> None:
    plain = audit(total_stride=1, energy={}, exact_periods={}, signed_comb={}, profile=((1.0,),), culprits=())
    assert "No layer has a stride" in report_html(plain, pictures=[view()])


def test_an_audit_of_signals_gives_a_page() -> None:
    assert "Phase profile of 1 by 4 phases" in report_html(audit(profile=((0.5, 1.5, 0.5, 1.5),)))


def images_of(shown: dict[str, Any]) -> list[np.ndarray]:
    urls = [shown["picture"], *(gradient["map"] for gradient in shown["gradients"])]
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB")) for url in urls]


def test_maps_are_shown_pixel_by_pixel() -> None:
    one = view()
    picture, before, after = images_of(shown_view(one, 4))
    assert np.array_equal(picture, np.rint(one.picture * 255))
    assert before.shape == after.shape == (64, 64, 3)
    signed = one.before.sum(0)
    strong = np.abs(signed) > np.abs(signed).mean()
    redder = before[..., 0].astype(int) - before[..., 2]
    assert (redder[strong & (signed > 0)] > 0).all()
    assert (redder[strong & (signed < 0)] < 0).all()


def test_of_a_large_picture_the_middle_is_shown_from_a_whole_period() -> None:
    shown = shown_view(view(size=MOST_PIXELS + 90), 4)
    assert (shown["width"], shown["height"], shown["whole"]) == (MOST_PIXELS, MOST_PIXELS, [MOST_PIXELS + 90] * 2)
    assert shown["top"] == shown["left"] == 44


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (np.zeros((3, 8, 8)), "is zero"),
        (np.full((3, 8, 8), np.nan), "not finite"),
        (np.ones((3, 8, 9)), "expected \\(C, 8, 8\\)"),
    ],
)
def test_a_bad_gradient_is_refused(before: np.ndarray, said: str) -> None:
    with pytest.raises(FeatvisError, match=said):
        PictureView("photo", np.zeros((8, 8, 3)), before)


def test_a_page_stays_small_and_says_what_it_left_out(tmp_path: Path) -> None:
    pictures = [view(f"{number}.png", 512, number) for number in range(5)]
    path = write_report(tmp_path / "page.html", audit(), pictures=pictures)
    assert path.stat().st_size < LARGEST + 1000
    assert "further pictures left out" in path.read_text(encoding="utf-8")


def test_thirty_layers_and_sixteen_pictures_take_less_than_five_seconds(tmp_path: Path) -> None:
    layers = tuple(culprit(f"layer{number}.conv", 1 / 30) for number in range(30))
    pictures = [view(f"{number}.png", 224, number) for number in range(16)]
    started = time.process_time()
    path = write_report(tmp_path / "page.html", audit(culprits=layers), pictures=pictures)
    assert time.process_time() - started < 5
    assert path.stat().st_size < 5_000_000


def test_the_explorer_starts_from_the_culprits() -> None:
    assert stack_of(audit()) == (Stage(3, 2), Stage(3, 2), Stage(3, 2))
    assert stack_of(audit(culprits=())) == COMMON


def test_views_are_the_gradients_of_the_audit(tmp_path: Path) -> None:
    from featvis.audit import audit_pictures
    from featvis.gradients import GradientEngine

    paths = save_pictures(tmp_path / "pictures", 6, (40, 40))
    model = Model(strided(), "strided", (3, 32, 32), resize=32)
    for method, label, count in (("vanilla", "equalised", 2), ("input", "input", 2)):
        measured = audit_pictures(model, paths, "seeds", "smoothgrad" if method == "input" else method, seed=5)
        views = picture_views(model, paths, measured, 3)
        assert [one.name for one in views] == ["0.png", "1.png", "2.png"]
        _, pixels = model.load(paths[1])
        expected = GradientEngine(model, "seeds", 5)(model.normalise(pixels.unsqueeze(0)), [1])
        assert np.allclose(views[1].before, expected[0].numpy(), atol=1e-6)
        assert len(views[1].gradients) == count
        assert views[1].after_label == ("smoothgrad" if method == "input" else label)


def test_the_commands_write_a_page(tmp_path: Path) -> None:
    save_pictures(tmp_path / "in", 4, (40, 40))
    page, saved = tmp_path / "page.html", tmp_path / "audit.json"
    printed(
        "audit",
        ZOO,
        tmp_path / "in",
        "--size",
        "32",
        "--mean",
        "0.5,0.4,0.3",
        "--skip-bad",
        "--batch-size",
        "auto",
        "--html",
        page,
        "--json",
        saved,
    )
    text = page.read_text(encoding="utf-8")
    assert "equalised" in text
    given = f"featvis audit {ZOO} {tmp_path / 'in'} --mean 0.5,0.4,0.3 --size 32x32 --batch-size auto --skip-bad"
    assert set(given.split()) <= set(re.search(r"<code>(.*)</code>", text)[1].split())
    again = tmp_path / "again.html"
    assert printed("report", saved, "--out", again) == f"wrote {again}\n"
    assert "Energy by period" in again.read_text(encoding="utf-8")
    assert "at most one of each" in refused("report", saved, saved, "--out", again)
    assert "cannot read" in refused("report", tmp_path / "none.json", "--out", again)
    saved.write_text("{}")
    assert "expected" in refused("report", saved, "--out", again)
    assert files_below(tmp_path) >= {"page.html", "again.html"}


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pictures = [view("first.png"), view("second.png", 100, 1, after=False)]
    path = tmp_path_factory.mktemp("report") / "page.html"
    return write_report(path, audit(), comparison("plain", "blurpool"), pictures)


@pytest.mark.parametrize("width", [375, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens_without_a_network_fits_and_has_no_faults(
    page_file: Path, open_file: Any, width: int, scheme: str
) -> None:
    tab = open_file(page_file, width, color_scheme=scheme)
    assert tab.complaints == []
    assert tab.from_elsewhere == []
    assert tab.overflow <= 0
    assert tab.serious_faults() == []


def drawn(page: Any, pane: str) -> np.ndarray:
    """What a pane shows, (H, W, 4)."""
    url = page.evaluate("id => document.getElementById(id).toDataURL()", pane)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGBA"))


def move(page: Any, name: str, value: int) -> None:
    page.evaluate(
        "([id, value]) => { const input = document.getElementById(id); input.value = value; input.dispatchEvent(new Event('input')); }",
        [name, value],
    )


def test_every_pixel_is_whole_screen_pixels_and_both_panes_zoom_together(page_file: Path, open_file: Any) -> None:
    page = open_file(page_file).page
    picture, before, _ = images_of(shown_view(view("first.png"), 4))
    move(page, "split", 100)
    for step, zoom in ((0, 1), (4, 6), (9, 32)):
        move(page, "zoom", step)
        for pane, source in (("pane-picture", picture), ("pane-gradient", before)):
            shown = drawn(page, pane)
            side = len(shown)
            scale = side // 64 * zoom
            first = (side - 64 * scale) // 2 if 64 * scale <= side else round(side / 2 - 32 * scale)
            rows = (np.arange(side) - first) // scale
            inside = (rows >= 0) & (rows < 64)
            if pane == "pane-gradient":
                inside[-4:] = False  # the divider
            expected = source[rows[inside]][:, rows[inside]]
            assert np.array_equal(shown[np.ix_(inside, inside)][..., :3], expected)


def test_the_slider_divides_before_from_after(page_file: Path, open_file: Any) -> None:
    page = open_file(page_file).page
    move(page, "split", 100)
    before = drawn(page, "pane-gradient")
    move(page, "split", 0)
    after = drawn(page, "pane-gradient")
    move(page, "split", 50)
    half = drawn(page, "pane-gradient")
    middle = len(half) // 2
    assert not np.array_equal(before[:, 4:-4], after[:, 4:-4])
    assert np.array_equal(half[:, 4 : middle - 4], before[:, 4 : middle - 4])
    assert np.array_equal(half[:, middle + 4 : -4], after[:, middle + 4 : -4])


def test_the_keyboard_and_the_mouse_move_both_panes(page_file: Path, open_file: Any) -> None:
    page = open_file(page_file).page
    page.locator("#pane-gradient").focus()
    for key in ("+", "+", "+"):
        page.keyboard.press(key)
    assert page.locator("#zoom").input_value() == "3"
    shown = [drawn(page, pane) for pane in ("pane-picture", "pane-gradient")]
    page.keyboard.press("ArrowRight")
    pressed = [drawn(page, pane) for pane in ("pane-picture", "pane-gradient")]
    box = page.locator("#pane-picture").bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    assert re.match(r"row \d+, column \d+; phase \d, \d of 4", page.locator("#place").text_content())
    page.mouse.down()
    page.mouse.move(box["x"] + 100, box["y"] + 250)
    page.mouse.up()
    dragged = [drawn(page, pane) for pane in ("pane-picture", "pane-gradient")]
    for first, second in ((shown, pressed), (pressed, dragged)):
        assert all(not np.array_equal(one, other) for one, other in zip(first, second, strict=True))
    page.locator("#pane-gradient").press("0")
    assert page.locator("#zoom").input_value() == "0"


def test_another_picture_can_be_chosen(page_file: Path, open_file: Any) -> None:
    page = open_file(page_file).page
    page.locator("#which").select_option("1")
    assert page.locator("#split-line").is_hidden()
    assert page.locator("#place").text_content() == "100 × 100 pixels"
    assert page.locator("#spectra svg").count() == 1
    assert page.locator("#spectra circle").count() == 24, "five by five harmonics of 4 without the constant one"


def test_the_numbers_are_downloaded(page_file: Path, open_file: Any) -> None:
    page = open_file(page_file).page
    for name in ("audit.json", "numbers.csv", "comparison.json"):
        with page.expect_download() as waiting:
            page.locator(f'a[download="{name}"]').click()
        assert waiting.value.suggested_filename == name
        text = Path(waiting.value.path()).read_text(encoding="utf-8")
        if name == "audit.json":
            assert json.loads(text)["energy"]["4"]["value"] == 0.19


def test_the_explorer_of_the_page_works(page_file: Path, open_file: Any) -> None:
    page = open_file(page_file).page
    page.get_by_role("button", name="Make it even").click()
    assert page.evaluate("location.hash") == "#stack=4,2,0+4,2,0+4,2,0&dims=2"


def test_it_prints(page_file: Path, open_file: Any) -> None:
    tab = open_file(page_file, 720, color_scheme="dark")
    page = tab.page
    page.emulate_media(media="print")
    assert tab.overflow <= 0, "tables fit on paper, where nothing scrolls"
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator(".viewer-controls").is_hidden()
    assert page.pdf(format="A4")[:5] == b"%PDF-"
