"""Counted by wrapping: files are read, engines made and networks traced once, whatever a command is asked to give."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.running import ZOO, printed, save_pictures

from featvis.data.pictures import load_picture
from featvis.gradients.engine import GradientEngine
from featvis.tracing.trace import trace


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    found: Counter[str] = Counter()

    def counted(kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*arguments: Any, **keywords: Any) -> Any:
            found[kind] += 1
            return function(*arguments, **keywords)

        return counting

    monkeypatch.setattr(GradientEngine, "__init__", counted("engines", GradientEngine.__init__))
    for kind, function in (("files", load_picture), ("traces", trace)):
        counting = counted(kind, function)
        # Wherever it was imported; what is imported later takes it from its own module.
        for name, module in list(sys.modules.items()):
            if name.startswith("featvis.") and getattr(module, function.__name__, None) is function:
                monkeypatch.setattr(module, function.__name__, counting)
    return found


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_pictures(tmp_path / "photos", 9, (40, 40))
    return tmp_path


@pytest.mark.usefixtures("place")
def test_an_audit_with_culprits_and_page_reads_once(counts: Counter[str]) -> None:
    printed("audit", ZOO, "photos", "--size", "32", "--culprits", "--html", "page.html", "--json", "audit.json")
    assert counts == {"files": 9, "engines": 1, "traces": 1}


@pytest.mark.usefixtures("place")
def test_a_page_of_another_attribution_reads_once(counts: Counter[str]) -> None:
    printed("audit", ZOO, "photos", "--size", "32", "--method", "smoothgrad:samples=2", "--html", "page.html")
    assert counts == {"files": 9, "engines": 1, "traces": 1}


@pytest.mark.usefixtures("place")
def test_a_comparison_with_page_and_figures_reads_once(counts: Counter[str]) -> None:
    variants = ("--compensate", "low-pass", "--also", f"{ZOO}=none")
    printed("compare", ZOO, "photos", "--size", "32", *variants, "--html", "page.html", "--out", "figures")
    assert counts == {"files": 9, "engines": 3, "traces": 3}


@pytest.mark.usefixtures("place")
def test_a_fix_traces_each_network_once(counts: Counter[str]) -> None:
    printed("fix", ZOO, "--size", "32", "--with", "blurpool", "--pictures", "photos")
    assert counts == {"files": 8, "engines": 2, "traces": 2}
