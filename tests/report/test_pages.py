"""The pages: what they say, what they hold, and that they need nothing else."""

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
import torch
from helpers.findings import (
    audit,
    command_of,
    comparison,
    culprit,
    discriminator,
    dreams,
    generator,
    headline,
    hostile_pages,
    pages,
    predictions,
    view,
)
from helpers.networks import strided
from helpers.running import save_pictures
from PIL import Image
from torch import nn

from featvis.audit.comparison import Comparison
from featvis.audit.record import Audit
from featvis.audit.request import Request, Watching
from featvis.errors import FeatvisError
from featvis.measure.estimates import Estimate
from featvis.models.model import Model
from featvis.predict.overlap import Stage
from featvis.predict.prediction import predict
from featvis.report import (
    Gathered,
    PictureView,
    Version,
    discriminator_html,
    dreams_html,
    prediction_html,
    report_html,
    write_report,
)
from featvis.report.charts import HEIGHT, WIDTH, spectrum_chart
from featvis.report.explorer import COMMON, stack_of
from featvis.report.gallery import gallery
from featvis.report.page import LARGEST
from featvis.report.sides import sides_at, sides_of
from featvis.report.tables import Grid, Scale
from featvis.report.views import MOST_PIXELS, shown_view, shown_views
from featvis.tracing.layer_table import resolution_layers
from featvis.tracing.trace import trace

KINDS = ("audit", "compare", "dream", "discriminator", "generator", "predict")


def test_a_scale_is_linear_near_zero_and_logarithmic_beyond() -> None:
    scale = Scale.holding([Estimate(0.19, 0.01), Estimate(-0.002, 0.001)])
    places = [scale.place(value) for value in (-0.003, 0, 0.0005, 0.001, 0.01, 0.1, 1)]
    assert places == sorted(places)
    assert min(places) >= 0
    assert max(places) <= 100
    assert places[2] - places[1] == pytest.approx(places[3] - places[2], abs=2e-3)
    assert places[4] - places[3] == pytest.approx(places[6] - places[5], abs=2e-3)


def test_every_axis_has_the_energies_where_another_word_is_used() -> None:
    for energy in (Estimate(0.02, 0.001), Estimate(0.0001, 0.0002), Estimate(50.0, 1.0)):
        labels = [label for label, _ in Scale.holding([energy]).ticks if label]
        assert labels == ["0", "0.01", "0.23", "3"]
    assert "100" in dict(Scale.holding([Estimate(200.0, 1.0)]).ticks)


def test_a_grid_has_a_column_for_each_period_and_control_and_one_scale() -> None:
    grid = Grid.of({"a": audit(), "b": audit(energy={8: Estimate(5.0, 1.0)}, controls={})}, {"b": "said"})
    assert (grid.periods, grid.controls) == ([2, 4, 8], [3, 5])
    assert grid.heads == ["period 2", "period 4", "period 8"]
    assert [row[:2] for row in grid.rows] == [("a", ""), ("b", "said")]
    assert max(grid.scale.mark(Estimate(5.0, 1.0))) <= 100


def test_a_spectrum_is_drawn_to_scale() -> None:
    chart = spectrum_chart({"a": [(0.0, 0.0), (0.25, 1.0), (0.5, 0.01)]}, 4)
    assert chart.lines == [("a", f"{WIDTH / 2},0.0 {WIDTH:.1f},{HEIGHT:.1f}")]
    assert chart.up == [("0.01", HEIGHT), ("0.1", HEIGHT / 2), ("1", 0.0)]
    assert chart.marks == [("1/4", WIDTH / 2), ("2/4", WIDTH)]


def downloads(page: str) -> dict[str, str]:
    urls = dict(re.findall(r'href="(data:[^"]*)" download="([^"]*)"', page))
    return {name: base64.b64decode(url.partition("base64,")[2]).decode() for url, name in urls.items()}


def table(page: str) -> dict[tuple[str, ...], list[tuple[float, str]]]:
    """The numbers of a page and their errors, by subject, measure, layer and period."""
    found: dict[tuple[str, ...], list[tuple[float, str]]] = {}
    for row in csv.DictReader(io.StringIO(downloads(page)["numbers.csv"])):
        key = (row["subject"], row["measure"], row["layer"], row["period"])
        found.setdefault(key, []).append((float(row["value"]), row["standard error"]))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_needs_nothing_else(kind: str) -> None:
    page = pages()[kind]
    assert re.findall(r"(?:src|href)=\"(?!data:)[^\"]*", page) == []
    assert set(re.findall(r"https?://[^\s\"']*", page)) == {"http://www.w3.org/2000/svg"}
    assert len(page.encode()) < 5_000_000
    assert headline(page).endswith(".")
    identities = re.findall(r'\sid="([^"]*)"', page)
    assert len(identities) == len(set(identities))


def test_the_audit_page_holds_every_number() -> None:
    page = pages()["audit"]
    content, rows = downloads(page), table(page)
    assert Audit.from_json(content["audit.json"]) == audit()
    assert Comparison.from_json(content["comparison.json"]) == comparison("plain", "blurpool", "low-pass")
    assert {key[0] for key in rows} == {"audit", "variant plain", "variant blurpool", "variant low-pass"}
    assert rows["audit", "energy", "", "4"] == [(0.19, "0.006")]
    assert sum(
        value for (_, what, layer, _), ((value, _),) in only(rows, "share") if layer == "conv1"
    ) == pytest.approx(0.6)
    assert len(rows["audit", "profile", "", "4"]) == 16
    for said in ("seeds", "2.13", "quiet machine", "lost.png: not a picture", "control"):
        assert said in page


def only(rows: dict[tuple[str, ...], list[tuple[float, str]]], measure: str) -> list[tuple[Any, Any]]:
    return [(key, found) for key, found in rows.items() if key[1] == measure]


def test_the_comparison_page_holds_every_number() -> None:
    rows = table(pages()["compare"])
    assert Comparison.from_json(downloads(pages()["compare"])["comparison.json"]).rows[1].name == "blurpool"
    assert rows["variant blurpool", "difference of energy", "", "4"] == [(-0.1, "0.01")]
    assert rows["variant blurpool", "control", "", "3"] == [(0.0001, "0.0003")]
    assert rows["variant low-pass", "milliseconds", "", ""] == [(12.5, "")]
    assert rows["variant plain", "same class", "", ""] == [(0.98, "0.01")]


def test_the_dream_page_holds_every_number() -> None:
    page, found = pages()["dream"], dreams("fixed position", "jitter 32", "4 octaves")
    rows, content = table(page), json.loads(downloads(page)["dream.json"])
    for one, written in zip(found, content["dreams"], strict=True):
        assert written == json.loads(json.dumps(one.content()))
        value, error = one.picture.energy[4]
        assert rows[one.title, "fine detail: energy", "", "4"] == [(value, str(error))]
        assert rows[one.title, "gradient: control", "", "3"][0][0] == one.gradient.controls[3].value
        assert rows[one.title, "objective", "", ""] == [(one.objective, "")]
    assert "note of jitter 32" in page


def test_the_pages_of_a_pair_hold_every_number() -> None:
    rows, result = table(pages()["discriminator"]), discriminator()
    source = result.sources["generated"]
    assert json.loads(downloads(pages()["discriminator"])["discriminator.json"])["sources"] == json.loads(
        json.dumps(result.content()["sources"])
    )
    assert rows["generated", "energy", "", "4"][0][0] == source.audit.energy[4].value
    assert (
        rows["noise", "energy at the layer's own stride", "0", ""][0][0]
        == result.sources["noise"].resolutions[0].energy.value
    )
    assert rows["generated", "chance", "", "2"][0][0] == source.verdict.chances[2]
    assert rows["free pixels, after", "energy", "", "4"][0][0] == result.neutral.after.high_passed.energy[4].value
    assert rows["agreement, energy", "cosine", "", "2"][0][0] == result.agreements["energy"][2].cosine
    rows, made = table(pages()["generator"]), generator().pictures
    assert rows["trained, high-passed", "energy", "", "8"][0][0] == made["trained"].high_passed.energy[8].value
    assert rows["real", "power at 0.25 cycles per pixel", "", ""][0][0] == dict(made["real"].spectrum)[0.25]


def test_samples_stand_beside_their_gradients_and_real_beside_generated() -> None:
    page, result = pages()["discriminator"], discriminator()
    drawn = re.findall(r'<img src="([^"]*)" alt="(gradient at )?generated (\d)"', page)
    assert len(drawn) == 2 * len(result.examples["generated"][0]) == 16
    assert 'alt="noise' not in page, "where pictures are generated, noise is no side"
    made = np.asarray(Image.open(io.BytesIO(base64.b64decode(drawn[4][0].partition(",")[2]))))
    assert np.array_equal(made, np.rint(result.examples["generated"][0][2].clamp(0, 1).permute(1, 2, 0).numpy() * 255))
    shown = json.loads(re.findall('id="views">(.*?)</script>', page)[0])
    assert [view["name"] for view in shown] == [f"sample {number}" for number in (1, 2, 3, 4)] + ["free pixels"]
    assert [version["label"] for version in shown[0]["versions"]] == ["generated"]
    both = replace(
        result, examples=dict.fromkeys(("real", "generated", "mixed", "noise"), result.examples["generated"])
    )
    both = replace(both, sources={"real": result.sources["noise"], **result.sources})
    page = discriminator_html(both)
    shown = json.loads(re.findall('id="views">(.*?)</script>', page)[0])
    assert [version["label"] for version in shown[0]["versions"]] == ["real", "generated"]
    noise = result.examples["noise"]
    alone = replace(result, sources={"noise": result.sources["noise"]}, examples={"noise": noise}, agreements={})
    assert 'alt="noise 1"' in discriminator_html(alone)


def test_a_gallery_has_room_for_large_samples() -> None:
    large = np.random.default_rng(0).random((256, 256, 3)), np.random.default_rng(1).standard_normal((3, 256, 256))
    (shown,) = gallery({"real": [large] * 8, "generated": []})
    assert 0 < len(shown["cells"]) < 8
    assert sum(map(len, sum(shown["cells"], ()))) < 1_500_000
    assert (shown["width"], shown["height"], shown["narrow"]) == (256, 256, 256)
    assert gallery({"real": []}) == []


def test_the_page_of_a_prediction_holds_every_number() -> None:
    rows, (uniform, learned) = table(pages()["predict"]), predictions()
    content = json.loads(downloads(pages()["predict"])["prediction.json"])
    for name, found in (("architecture alone", uniform), ("its own weights", learned)):
        assert rows[name, "energy", "", "4"] == [(found.energy[4], "")]
        assert rows[name, "injected", "0", "2"] == [(found.layers[0].injected, "")]
        assert content[found.weights]["profile"] == found.profile.tolist()
    assert 'data-stack="3,2,0,1,0+3,2,0,1,0"' in pages()["predict"]


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_names_are_text(kind: str) -> None:
    page = hostile_pages()[kind]
    assert "<img src=x" not in page
    assert page.count("</script>") == page.count("<script") == (1 if kind == "predict" else 2)


def test_a_name_that_is_no_text_is_written_all_the_same(tmp_path: Path) -> None:
    path = write_report(
        tmp_path / "page.html", audit(skipped=("caf\udce9.png: not a picture",)), pictures=[view("caf\udce9.png")]
    )
    assert "caf?.png: not a picture" in path.read_text(encoding="utf-8")


def test_a_comparison_alone_gives_a_page() -> None:
    page = report_html(comparison=comparison("plain", "blurpool"))
    assert "blurpool leaves" in page
    assert command_of(page) == "featvis compare zoo:cifar-k3s2 PICTURES --seed 3 --with blurpool"
    with pytest.raises(FeatvisError, match="neither was given"):
        report_html()


def test_a_network_without_a_stride_gives_a_page() -> None:
    plain = audit(total_stride=1, energy={}, exact_periods={}, signed_comb={}, profile=((1.0,),), culprits=())
    assert "No layer has a stride" in report_html(plain, pictures=[view()])
    rows = tuple(replace(row, audit=plain, difference={}) for row in comparison("a", "b").rows)
    assert "No layer has a stride" in report_html(comparison=Comparison(rows, 1, 12), pictures=[view()])
    network = nn.Sequential(nn.Conv2d(3, 2, 3)).double()
    found = [predict(network, (3, 8, 8), weights) for weights in ("uniform", "learned")]
    assert "No layer has a stride" in prediction_html(*found, {})
    one = replace(dreams("dream")[0], picture=None, gradient=None)
    assert "No energy could be measured" in dreams_html([one])


def test_an_audit_of_signals_gives_a_page() -> None:
    page = report_html(audit(profile=((0.5, 1.5, 0.5, 1.5),)))
    assert "Phase profile of 1 by 4 phases" in page
    assert 'data-dims="1"' in page
    assert 'data-dims="2"' in report_html(audit())
    network = nn.Sequential(nn.Conv1d(2, 2, 3, 2)).double()
    found = [predict(network, (2, 32), weights) for weights in ("uniform", "learned")]
    page = prediction_html(*found, {})
    assert headline(page).startswith("A period-2 checkerboard is expected if weights were independent: E(2) = 0.1111")
    assert "Phase profile of 1 by 2 phases" in page
    assert 'data-dims="1"' in page


def images_of(shown: dict[str, Any]) -> list[np.ndarray]:
    """The picture of a view and its maps."""
    urls = [shown["pictures"][0], *(version["map"] for version in shown["versions"])]
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB")) for url in urls]


def test_maps_are_shown_pixel_by_pixel() -> None:
    one = view()
    picture, before, after = images_of(shown_view(one, 4))
    assert np.array_equal(picture, np.rint(one.versions[0].picture * 255))
    assert before.shape == after.shape == (64, 64, 3)
    signed = one.versions[0].map.sum(0)
    strong = np.abs(signed) > np.abs(signed).mean()
    redder = before[..., 0].astype(int) - before[..., 2]
    assert (redder[strong & (signed > 0)] > 0).all()
    assert (redder[strong & (signed < 0)] < 0).all()


def test_the_spectrum_of_the_energy_shows_the_grid_that_signs_hide() -> None:
    def strongest(of_energy: bool) -> tuple[np.ndarray, np.ndarray]:
        drawn = shown_view(view(size=64), 2, of_energy=of_energy)["versions"]
        images = [Image.open(io.BytesIO(base64.b64decode(one["spectrum"].partition(",")[2]))) for one in drawn]
        return tuple(np.asarray(image) for image in images)

    comb, plain = strongest(True)
    assert comb.shape == (61, 61), "the 60 frequencies of the measured part, half a cycle at both ends"
    assert min(comb[0, 0], comb[0, 30], comb[30, 0], comb[-1, -1]) == comb.max() == 126
    others = np.delete(np.delete(comb, [0, 30, 60], 0), [0, 30, 60], 1)
    assert np.quantile(others, 0.99) < 80
    assert max(plain[0, 0], plain[0, 30], plain[30, 0]) < 110
    signed, _ = strongest(False)
    assert signed[0, 30] < signed.max(), "another sign at every pixel hides it"


def test_of_a_large_picture_the_middle_is_shown_from_a_whole_period() -> None:
    shown = shown_view(view(size=MOST_PIXELS + 90), 4)
    assert (shown["width"], shown["height"], shown["whole"]) == (MOST_PIXELS, MOST_PIXELS, [MOST_PIXELS + 90] * 2)
    assert shown["top"] == shown["left"] == 44


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (np.zeros((3, 8, 8)), "is zero"),
        (np.full((3, 8, 8), np.nan), "not finite"),
        (np.ones((3, 8, 9)), "(C, 8, 8)"),
    ],
)
def test_a_bad_gradient_is_refused(before: np.ndarray, said: str) -> None:
    with pytest.raises(FeatvisError, match=said):
        PictureView.of("photo", np.zeros((8, 8, 3)), {"gradient": before})


def test_a_view_needs_versions_of_one_size() -> None:
    with pytest.raises(FeatvisError, match="at least one"):
        PictureView("photo", ())
    one, other = (Version("a", np.zeros((size, 8, 1)), np.ones((3, size, 8))) for size in (8, 9))
    with pytest.raises(FeatvisError, match="of 8 x 8"):
        PictureView("photo", (one, other))
    with pytest.raises(FeatvisError, match=r"got \(8, 8, 4\)"):
        PictureView.of("photo", np.zeros((8, 8, 4)), {"a": np.ones((3, 8, 8))})


def test_a_picture_that_all_versions_share_is_in_the_page_once() -> None:
    shared = shown_view(view(labels=("a", "b", "c")), 4)
    assert len(shared["pictures"]) == 1
    pictures = [np.full((8, 8), level) for level in (0.0, 0.5, 0.0)]
    versions = [Version(f"{number}", picture, np.ones((1, 8, 8))) for number, picture in enumerate(pictures)]
    shown = shown_view(PictureView("x", tuple(versions)), 2)
    assert [version["picture"] for version in shown["versions"]] == [0, 1, 0]


def test_of_many_versions_as_much_is_shown_as_fits() -> None:
    large = view(size=300, labels=tuple("abcdefgh"))
    (shown,) = shown_views([large, large], 4, 600_000)
    assert 32 < shown["width"] == shown["height"] < 300
    assert shown["top"] % 4 == 0
    assert len(str(shown)) < 600_000
    assert len(shown_views([view(size=32)] * 3, 4, 10_000_000)) == 3
    assert shown_views([view(size=32)], 4, -1) == []


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


def test_the_explorer_starts_from_the_strided_layers() -> None:
    beside = [(2, (3, 3), (2, 2)), (8, (5, 5), (2, 2)), (4, (1, 1), (2, 2)), (4, (3, 3), (2, 2)), (16, (3, 5), (2, 2))]
    assert stack_of(beside) == (Stage(3, 2), Stage(3, 2), Stage(5, 2))
    assert stack_of(()) == COMMON


def test_every_page_starts_from_the_network_s_own_layers() -> None:
    def start(page: str) -> str:
        found = re.search('data-stack="([^"]*)"', page)
        assert found is not None
        assert ("starts from this network" in page) == (found[1] != "3,2,1,1,0+3,2,1,1,0")
        return found[1]

    network = nn.Sequential(nn.Conv2d(3, 2, 5, 3), nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 4, 2))
    rows = resolution_layers(trace(network, torch.zeros(1, 3, 64, 64)))
    assert start(report_html(audit(culprits=()), layers=rows)) == "5,3,0,1,0+4,2,0,1,0"
    assert start(report_html(comparison=comparison("plain", "blurpool"), layers=rows)) == "5,3,0,1,0+4,2,0,1,0"
    dreamt = dreams("dream")[0]
    told = replace(dreamt, dream=replace(dreamt.dream, strided=tuple(rows)))
    assert start(dreams_html([told])) == "5,3,0,1,0+4,2,0,1,0"
    assert start(pages()["generator"]) == "3,4,0,1,0"
    assert start(pages()["discriminator"]) == "3,2,0,1,0+3,2,0,1,0"


def test_sides_are_measured_at_the_pictures_that_are_shown() -> None:
    sides = sides_at([view()], 2, 12)
    # Three times the amplitude on one phase of four: 9 : 1 : 1 : 1.
    assert np.allclose(sides["gradient"].tile, [[3, 1 / 3], [1 / 3, 1 / 3]], atol=0.2)
    assert re.fullmatch(r"E\(2\) = 1\.[23]\d* ± [\d.]+ at 1 picture", sides["gradient"].said)
    assert np.allclose(sides["equalised"].tile, 1, atol=0.1)
    assert sides_at([view()], 2, 1)["gradient"].said == sides["gradient"].said.removesuffix(" at 1 picture")
    assert sides_at([view()], (1, 2), 1)["gradient"].tile.numpy() == pytest.approx(np.array([[5 / 3, 1 / 3]]), abs=0.2)
    assert sides_at([view()], 1, 1) == {}
    assert sides_at([view(), view(size=32)], 2, 2) == {}, "pictures of several sizes have no mean map"


def test_sides_of_variants_name_the_period_of_the_verdict() -> None:
    rows = comparison("plain", "blurpool").rows
    sides = sides_of({row.name: row.audit for row in rows}, rows[0].audit.finding)
    assert [side.said for side in sides.values()] == ["E(4) = 0.19000 ± 0.00020", "E(4) = 0.00380 ± 0.00020"]
    shorter = replace(rows[0].audit.finding, spoken=2)
    profile = np.array(rows[0].audit.profile)
    expected = profile.reshape(2, 2, 2, 2).mean((0, 2))
    assert np.allclose(sides_of({"plain": rows[0].audit}, shorter)["plain"].tile, expected)
    assert sides_of({"plain": rows[0].audit}, replace(shorter, spoken=(1, 3)))["plain"].tile is None


def test_the_grid_is_that_of_the_period_that_the_verdict_names() -> None:
    shorter = audit(exact_periods={2: Estimate(0.05, 0.004), 4: Estimate(0.001, 0.004)}, culprits=())
    for page in (report_html(shorter, pictures=[view()]), report_html(shorter, comparison("a", "b"), [view()])):
        assert headline(page).startswith("Period 2, E(2) = 0.0500")
        assert 'data-period="[2, 2]"' in page
        assert 'grid of period 2</label><input id="grid" type="checkbox" checked>' in page
    even = audit(energy={2: Estimate(0.0, 0.1)}, exact_periods={2: Estimate(0.0, 0.1)}, total_stride=2, culprits=())
    assert '<input id="grid" type="checkbox">' in report_html(even, pictures=[view()])


def test_a_page_begins_where_the_first_map_is_strongest() -> None:
    strong = np.ones((3, 90, 70))
    strong[:, 60:70, 5:15] = 9
    row, column = shown_view(PictureView.of("photo", np.zeros((90, 70)), {"a": strong}), 2)["focus"]
    assert abs(row - 65) <= 7
    assert abs(column - 12) <= 7
    assert shown_view(view(size=10), 2)["focus"] == [5, 5]


def test_views_are_the_gradients_of_the_audit(tmp_path: Path) -> None:
    from featvis.audit.run import audit_pictures
    from featvis.gradients.attributions import PLAIN, SmoothGrad
    from featvis.gradients.compensations import Jitter
    from featvis.gradients.engine import GradientEngine

    paths = save_pictures(tmp_path / "pictures", 6, (40, 40))
    model = Model(strided(), "strided", (3, 32, 32), resize=32)
    for attribution, *labels in (
        (PLAIN, "gradient", "jitter", "equalised"),
        (Jitter(SmoothGrad(2)), "gradient", "smoothgrad:samples=2 + jitter"),
    ):
        gathered = Gathered(model, 3)
        watching = Watching(seen=gathered.add_beside_plain)
        measured = audit_pictures(model, paths, Request("seeds", attribution, seed=5, batch_size=2), watching=watching)
        gathered.equalise(measured)
        views = gathered.views()
        assert [one.name for one in views] == ["0.png", "1.png", "2.png"]
        assert [(row.kernel, row.stride) for row in gathered.layers] == [((3, 3), (2, 2))] * 2
        _, pixels = model.load(paths[1])
        engine, image = GradientEngine(model, "seeds", 5), model.normalise(pixels.unsqueeze(0))
        made = {version.label: version.map for version in views[1].versions}
        assert list(made) == labels
        assert np.allclose(made["gradient"], engine(image, [1])[0].numpy(), atol=1e-6)
        if "jitter" in made:
            assert np.allclose(made["jitter"], Jitter()(engine, image, [1])[0].numpy(), atol=1e-6)
