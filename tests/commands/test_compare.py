"""`featvis compare` makes the variants that its options name, prints one table of them, and refuses what does not fit in one line."""

import json
import sys
from types import ModuleType

import numpy as np
from helpers.running import ZOO, files_below, printed, refused
from PIL import Image

from featvis.audit.comparison import Comparison
from featvis.commands.asked import GeneratorsAsked

NET = ("--weights", "none", "--size", "32")


def read(path):
    return Comparison.from_json(path.read_text())


def test_fixes_methods_and_compensations_are_rows(place):
    output = printed(
        *("compare", ZOO, "photos", *NET, "--json", "a.json", "--calibrate", "2"),
        *("--with", "even-kernel", "--with", "even-kernel+backward-blur", "--with", "backward-blur"),
        *("--method", "input-x-gradient", "--compensate", "low-pass"),
    )
    found = read(place / "a.json")
    names = ["original", "even-kernel", "even-kernel+backward-blur", "backward-blur", "input-x-gradient", "low-pass"]
    assert [row.name for row in found.rows] == names
    assert output.startswith(found.verdict())
    for name in names:
        assert len([line for line in output.splitlines() if line.startswith(f"  {name} ")]) == (
            4 if name == "original" else 5
        )
    assert found.pictures == 10
    assert "note: the first 2 pictures are held out for backward fixes that calibrate" in output
    rows = {row.name: row for row in found.rows}
    assert rows["backward-blur"].drift.rmse == 0
    assert rows["even-kernel"].drift.rmse > 0
    assert rows["even-kernel"].kind == "forward"
    assert rows["low-pass"].audit.settings["compensation"] == "low-pass"
    assert found.settings["score"] == "top"
    assert found.settings["seed"] == 0
    assert files_below(place) - {f"photos/{number}.png" for number in range(12)} == {"a.json"}
    assert json.loads((place / "a.json").read_text())["schema"] == "featvis.compare/1"


def test_a_run_repeats_itself_but_for_times(place):
    for name in "ab":
        printed("compare", ZOO, "photos", *NET, "--limit", "8", "--with", "backward-blur", "--json", f"{name}.json")
    first, again = (json.loads((place / f"{name}.json").read_text()) for name in "ab")
    for entry in (*first["rows"], *again["rows"]):
        del entry["milliseconds"]
    assert first == again
    assert first["pictures"] == 6  # two of eight are held out
    assert "2 pictures are held out" in first["notes"][-1]


def test_another_network_and_its_accuracy(place):
    for number in range(8):
        path = place / "named" / ("cat" if number % 2 else "truck") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path)
    printed("compare", ZOO, "named", "--also", ZOO, "--labels", "names", "--json", "a.json", "--size", "32")
    first, other = read(place / "a.json").rows
    assert other.name == ZOO
    assert other.drift.rmse == 0
    assert all(change == (0.0, 0.0) for change in other.difference.values())
    assert first.accuracy == other.accuracy is not None


def test_figures(place):
    output = printed("compare", ZOO, "photos", *NET, "--with", "backward-blur", "--limit", "8", "--out", "made")
    assert files_below(place / "made") == {"comparison.png", "energies.png"}
    assert output.splitlines()[-2:] == ["made/energies.png", "made/comparison.png"]
    assert Image.open(place / "made" / "comparison.png").width > 1000


def test_files_join_and_others_are_refused(place):
    for name, options in (
        ("a", ("--with", "even-kernel")),
        ("b", ("--compensate", "low-pass")),
        ("c", ("--seed", "1")),
        ("d", ("--limit", "9")),
    ):
        printed("compare", ZOO, "photos", *NET, *options, "--json", f"{name}.json")
    output = printed("compare", "a.json", "b.json", "--json", "ab.json", "--out", "made")
    assert [row.name for row in read(place / "ab.json").rows] == ["original", "even-kernel", "low-pass"]
    assert "joined from several runs" in output
    assert files_below(place / "made") == {"energies.png"}
    assert "weights_hash is " in refused("compare", "a.json", "c.json")
    assert "number of pictures is 12 in one and 9 in the other" in refused("compare", "a.json", "d.json")
    assert "the variant 'even-kernel' is in both" in refused("compare", "a.json", "ab.json")
    assert "are only joined, nothing is measured; leave out '--with'" in refused(
        "compare", "a.json", "b.json", "--with", "blurpool"
    )
    assert "cannot read the comparison 'missing.json'" in refused("compare", "a.json", "missing.json")
    (place / "e.json").write_text("{}")
    assert "'e.json': schema None" in refused("compare", "e.json")


def test_what_does_not_fit_is_refused_before_any_work(place):
    before = files_below(place)
    for wrong in ("blurpol", "blurpool+blurpol", "blurpool+"):
        said = refused("compare", ZOO, "photos", "--with", wrong, *NET)
        assert f"'{wrong.rpartition('+')[2]}' is not one of 'blurpool', " in said
    for more in ((), ("--with", "backward-blur")):
        said = refused("compare", ZOO, "photos", *NET, *more, "--with", "resize-nearest")
        assert "the fix 'resize-nearest' finds nothing to change" in said
    assert "leaves none of 12 pictures" in refused(
        "compare", ZOO, "photos", *NET, "--with", "backward-blur", "--calibrate", "12"
    )
    assert "give a MODEL and PICTURES" in refused("compare", ZOO)
    assert "give a MODEL and PICTURES" in refused("compare")
    assert "equalise needs a measured profile" in refused("compare", ZOO, "photos", *NET, "--compensate", "equalise")
    assert "the class of none of 12 pictures is known" in refused("compare", ZOO, "photos", *NET, "--labels", "names")
    (place / "taken").write_text("")
    assert "cannot write to the folder 'taken'" in refused("compare", ZOO, "photos", *NET, "--out", "taken")
    (place / "taken").unlink()
    assert files_below(place) == before


def test_generators_are_handed_over(place, monkeypatch):
    given = []
    module = ModuleType("featvis.commands.generator_comparison")
    module.run = lambda *arguments: given.append(arguments)
    monkeypatch.setitem(sys.modules, "featvis.commands.generator_comparison", module)
    printed("compare", "--generator", "dcgan", "--upsample", "deconv3,nearest", "--samples", "8", "--seed", "2")
    assert given == [(GeneratorsAsked("dcgan", "deconv3,nearest", 8), 2, None, None, None)]
    assert "leave out 'photos'" in refused("compare", "photos", "--generator", "dcgan")
    for option in (("--with", "blurpool"), ("--compensate", "jitter"), ("--weights", "none")):
        assert f"leave out '{option[0]}'" in refused("compare", "--generator", "dcgan", *option)
    assert "go with --generator" in refused("compare", "--samples", "8")
    assert len(given) == 1
