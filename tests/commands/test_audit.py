"""`featvis audit` prints what it measured, writes it as JSON that can be read again, and compensates with its own profile."""

import json
import re

import pytest
import torch
from helpers.running import ZOO, files_below, printed

from featvis.audit.record import Audit, load_profile
from featvis.audit.request import Request
from featvis.audit.run import audit_pictures
from featvis.models.specs import load_model

KEYS = {
    *("schema", "energy", "controls", "exact_periods", "signed_comb", "high_frequency_share"),
    *("mean_gradient_flatness", "pictures", "total_stride", "settings", "profile", "replicates", "skipped", "notes"),
}


def test_json_can_be_read_again(place):
    output = printed("audit", ZOO, "photos", "--json", "a.json", "--weights", "none", "--seed", "3", "--size", "64")
    assert files_below(place) - {f"photos/{number}.png" for number in range(12)} == {"a.json"}
    content = json.loads((place / "a.json").read_text())
    assert content.keys() >= KEYS
    assert content["schema"] == "featvis.audit/1"
    assert (content["pictures"], content["total_stride"], content["replicates"]) == (12, 8, "pictures")
    assert list(content["energy"]) == list(content["exact_periods"]) == ["2", "4", "8"]
    assert list(content["controls"]) == ["3", "5", "7"]
    for name in ("energy", "controls", "exact_periods", "signed_comb"):
        for estimate in content[name].values():
            assert estimate.keys() == {"value", "error"}
            assert isinstance(estimate["value"], float)
    assert content["high_frequency_share"].keys() == {"value", "error"}
    assert isinstance(content["mean_gradient_flatness"], float)

    settings = content["settings"]
    expected = {
        "model": ZOO,
        "weights": "random",
        "seed": 3,
        "input_size": [3, 64, 64],
        "score": "top",
        "batch_size": 8,
    }
    assert {key: settings[key] for key in expected} == expected
    assert {"mean", "std", "resize", "interpolation", "device", "method", "compensation"} <= settings.keys()
    assert {"featvis", "torch", "python"} <= settings["versions"].keys()

    read = Audit.from_json((place / "a.json").read_text())
    assert read.to_json() == (place / "a.json").read_text()
    model = load_model(ZOO, "none", seed=3, size=(64, 64), device="cpu")
    measured = audit_pictures(
        model, sorted((place / "photos").iterdir(), key=lambda path: path.as_posix()), Request(seed=3)
    )
    assert read.energy[8].value == pytest.approx(measured.energy[8].value, rel=1e-6)

    shown = {
        int(period): float(value) for period, value in re.findall(r"^ +(\d+)  .*?(-?\d\.\d+) ±", output, re.MULTILINE)
    }
    assert shown.keys() == {2, 3, 4, 5, 7, 8}
    for period, value in shown.items():
        assert value == pytest.approx({**read.energy, **read.controls}[period].value, abs=1e-4)
    assert output.startswith(read.finding.sentence())
    assert "zoo:cifar-k3s2: 12 pictures, errors from pictures" in output
    assert f"{read.mean_gradient_flatness:.3f}" in output


def test_a_profile_makes_other_pictures_even(place):
    options = ("--weights", "none", "--score", "seeds:down2", "--size", "64")
    printed("audit", ZOO, "photos", *options, "--save-profile", "p.json", "--limit", "8")
    profile, settings = load_profile(place / "p.json")
    assert profile.shape == (4, 4)
    assert float(profile.mean()) == pytest.approx(1)
    assert settings["score"] == "seeds:down2"
    others = [f"photos/{number}.png" for number in range(4, 12)]
    printed("audit", ZOO, *others, *options, "--json", "raw.json")
    printed("audit", ZOO, *others, *options, "--json", "even.json", "--compensate", "equalise", "--profile", "p.json")
    raw, even = (Audit.from_json((place / f"{name}.json").read_text()) for name in ("raw", "even"))
    assert raw.energy[4].value > 10 * abs(even.energy[4].value)
    assert raw.energy[4].value > 5 * raw.energy[4].error
    assert even.settings["compensation"] == "equalise"


def test_seeds_and_limits(place):
    for name, options in (("a", ()), ("b", ()), ("c", ("--seed", "1"))):
        printed(
            "audit",
            ZOO,
            "photos",
            "--json",
            f"{name}.json",
            "--score",
            "seeds",
            "--limit",
            "4",
            "--size",
            "32",
            *options,
        )
    first, again, other = (json.loads((place / f"{name}.json").read_text()) for name in "abc")
    assert first == again
    assert first["energy"] != other["energy"]
    assert first["pictures"] == 4


def test_one_picture_says_that_its_errors_come_from_tiles(place):
    assert "1 picture, errors from tiles" in printed("audit", ZOO, "photos/0.png", "--size", "64")


def test_skipped_pictures_are_counted(place):
    (place / "photos" / "bad.png").write_bytes(b"")
    output = printed("audit", ZOO, "photos", "--skip-bad", "--json", "a.json", "--size", "32")
    assert "skipped 1 pictures that could not be read; the first: the picture 'photos/bad.png' is empty" in output
    content = json.loads((place / "a.json").read_text())
    assert (content["pictures"], len(content["skipped"])) == (12, 1)


def test_a_network_without_strides(place):
    (place / "nets.py").write_text("from torch import nn\ndef net(): return nn.Sequential(nn.Conv2d(3, 2, 3))\n")
    output = printed("audit", "nets.py:net", "photos", "--size", "32")
    assert output.startswith("No layer has a stride")
    assert "note: no preprocessing is known" in output


def test_culprits_are_listed(place):
    options = ("--weights", "none", "--score", "seeds:down2", "--size", "32")
    output = printed("audit", ZOO, "photos", *options, "--culprits", "--json", "a.json")
    assert "the shares add up to" in output
    names = [culprit["layer"] for culprit in json.loads((place / "a.json").read_text())["culprits"]]
    assert sorted(names) == ["down2.0", "stem.0"]


def test_the_network_is_not_changed_by_an_audit(place):
    model = load_model(ZOO, size=(32, 32), device="cpu")
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    audit_pictures(model, [place / "photos" / "0.png"])
    assert all(torch.equal(value, before[name]) for name, value in model.module.state_dict().items())
