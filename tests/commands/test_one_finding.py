"""One run names one period and one energy: in the terminal, on the page, in the figure and in JSON."""

import html
import json
import re

import pytest
from helpers.findings import headline
from helpers.running import ZOO, printed, save_pictures
from matplotlib.text import Text

from featvis import plots

NETS = """
import torch
from torch import nn

def discriminator():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 3, 2, 1))

def generator():
    torch.manual_seed(1)
    return nn.Sequential(nn.ConvTranspose2d(5, 6, 8), nn.ReLU(), nn.ConvTranspose2d(6, 3, 3, 4, output_padding=1), nn.Tanh())
"""

COMMANDS = {
    "audit": ("audit", ZOO, "photos", "--weights", "none", "--size", "64", "--culprits", "--json", "out/audit.json"),
    "compare": (
        *("compare", ZOO, "photos", "--weights", "none", "--size", "64", "--compensate", "low-pass"),
        *("--json", "out/compare.json", "--out", "out"),
    ),
    "discriminator": (
        *(
            "discriminator",
            "nets.py:discriminator",
            "--generator",
            "nets.py:generator",
            "--samples",
            "16",
            "--culprits",
        ),
        *("--out", "out"),
    ),
    "generator": ("generator", "nets.py:generator", "--samples", "16", "--out", "out"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_one_run_names_one_period_and_one_energy(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    save_pictures(tmp_path / "photos", 12, (64, 64))
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "out").mkdir()
    titles = []
    save = plots.save_figure

    def spy(figure, path, *rest):
        titles.append(" ".join(text.get_text() for text in figure.findobj(Text)))
        return save(figure, path, *rest)

    monkeypatch.setattr(plots, "save_figure", spy)
    output = printed(*COMMANDS[name], "--html", "page.html")
    finding = json.loads((tmp_path / "out" / f"{name}.json").read_text())["finding"]
    assert finding["checkerboard"]
    said = re.search(rf"E\({finding['period']}\) = [-\d.]+ ± [\d.]+", finding["sentence"])[0]
    assert float(said.split()[2]) == pytest.approx(finding["energy"]["value"], rel=0.01)
    assert finding["sentence"] in output
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert html.unescape(headline(page)) == finding["sentence"]
    assert f'data-period="{[finding["period"]] * 2}"' in page
    beside = json.loads(html.unescape(re.search('data-sides="(.*?)"', page)[1]))["said"]
    assert said in beside.values()
    assert len(titles) == {"audit": 0, "compare": 2}.get(name, 1)
    for title in titles:
        assert said in " ".join(title.split())
