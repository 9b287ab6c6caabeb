"""The documentation: what it tells people to run runs, what it links to is there, and every public name is in the reference."""

import re
from pathlib import Path

import pytest

import featvis

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))


def blocks(page):
    """The Python blocks of a page, each with the heading that it stands under."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found = []
    for match in re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        heading = re.findall(r"^#+ (.*)$", text[: match.start()], re.MULTILINE)[-1]
        found.append(pytest.param(match[1], id=f"{heading}, block {len(found) + 1}"))
    return found


@pytest.mark.parametrize("code", blocks("recipes.md"))
def test_a_recipe_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "recipe"}
    exec(compile(code, "recipes.md", "exec"), names)
    for name, value in list(names.items()):
        if name.startswith("test_"):
            value()


def anchor(heading):
    """The anchor that forges and Sphinx make of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def missing_links(page, text):
    """Links of a page, relative ones, that lead nowhere."""
    missing = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("http"):
            continue
        path, _, fragment = target.partition("#")
        file = (page.parent / path) if path else page
        if not file.is_file():
            missing.append(target)
        elif fragment:
            source = text if file == page else file.read_text(encoding="utf-8")
            if fragment not in map(anchor, re.findall(r"^#+ (.*)$", source, re.MULTILINE)):
                missing.append(target)
    return missing


@pytest.mark.parametrize(
    "page", [*PAGES, DOCS.parent / "README.md"], ids=lambda page: f"{page.parent.name}/{page.name}"
)
def test_links_lead_to_files_and_headings(page):
    assert missing_links(page, page.read_text(encoding="utf-8")) == []


def test_planted_dead_links_are_found():
    text = "# A heading\n[one](nowhere.md) [two](ci.md#nowhere) [three](ci.md#in-pytest) [four](#a-heading) [five](#b)"
    assert missing_links(DOCS / "index.md", text) == ["nowhere.md", "ci.md#nowhere", "#b"]


def test_every_page_is_in_the_contents():
    text = "\n".join(page.read_text(encoding="utf-8") for page in DOCS.glob("*.md"))
    listed = [line for block in re.findall(r"```\{toctree\}\n(.*?)```", text, re.DOTALL) for line in block.split()]
    pages = {page.relative_to(DOCS).with_suffix("").as_posix() for page in PAGES}
    assert pages - {"index"} <= set(listed)


def test_every_public_name_is_in_the_reference():
    text = "\n".join(page.read_text(encoding="utf-8") for page in (DOCS / "reference").glob("*.rst"))
    documented = set(re.findall(r":: featvis\.(\w+)$", text, re.MULTILINE))
    assert set(featvis.__all__) - {"__version__"} <= documented
