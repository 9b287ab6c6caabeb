"""`featvis demo` works without a network and without anything but what ships."""

import json
import urllib.request

from helpers.running import files_below, printed
from PIL import Image

from featvis.models import specs as models


def test_the_demonstration(tmp_path, monkeypatch):
    """At a smaller size than the real one, so that it is quick."""

    def refuse(*arguments, **keywords):
        raise AssertionError("the demonstration reached for the network")

    load = models.load_model
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(
        models, "load_model", lambda *arguments, **options: load(*arguments, **{**options, "size": (64, 64)})
    )
    output = printed("demo", "--out", tmp_path / "made")
    written = files_below(tmp_path / "made")
    pictures = {name for name in written if name.endswith(".png")}
    assert len(pictures) == 1
    name = pictures.pop()
    assert str((tmp_path / "made" / name).resolve()) in output
    assert Image.open(tmp_path / "made" / name).width > 300
    numbers = {name for name in written if name.endswith(".json")}
    assert numbers
    for name in numbers:
        assert json.loads((tmp_path / "made" / name).read_text())["schema"] == "featvis.audit/1"
    pages = sorted(name for name in written if name.endswith(".html"))
    assert pages == ["random.html", "trained.html"]
    for name in pages:
        assert str((tmp_path / "made" / name).resolve()) in output
        assert "stem.shortcut.0" in (tmp_path / "made" / name).read_text()
    assert "random weights" in output
    assert "trained" in output
