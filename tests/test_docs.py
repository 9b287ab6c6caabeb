"""The documentation: what it tells people to run runs, what it links to is there, and every public name is in the reference."""

import importlib.util
import re
from pathlib import Path

import pytest

import featvis
from featvis.commands.cli import COMMANDS

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
README = DOCS.parent / "README.md"

WIDEST = 120
"""Characters of a line of prose."""


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


def too_long(text):
    """Lines of prose that are too long; tables, code and where a link leads to do not count."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    lines = [line for line in prose.splitlines() if not line.lstrip().startswith(("|", "<!--"))]
    return [line for line in lines if len(re.sub(r"\]\([^)\s]+\)", "]", line)) > WIDEST]


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda page: page.stem)
def test_lines_of_prose_are_short(page):
    assert too_long(page.read_text(encoding="utf-8")) == []


def test_planted_long_lines_are_found():
    long = "word " * 25
    text = f"{long}\n| {long} |\n```\n{long}\n```\n[a link](https://{'x' * 130})\n- [{long}](x)\n"
    assert too_long(text) == [long, f"- [{long}](x)"]


def script(name):
    """A script of the documentation, as a module."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def undocumented(text):
    """Commands that have no section of their own with what they take, in the page of commands."""
    sections = dict(re.findall(r"^## (\w+)$(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE))
    return [name for name in COMMANDS if f"```{{command}} {name}\n```" not in sections.get(name, "")]


def test_every_command_is_documented():
    assert undocumented((DOCS / "commands.md").read_text(encoding="utf-8")) == []
    assert undocumented("## layers\n\n```{command} grad\n```\n\n## grad\n\n```{command} grad\n```\n") == [
        name for name in COMMANDS if name != "grad"
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_each_of_its_options_has_help(name):
    paragraphs, usage, examples, groups = script("command_pages").described(name)
    assert paragraphs[0].endswith((".", ":"))
    assert usage.startswith(f"featvis {name} [OPTIONS]")
    assert examples.count(f"featvis {name}") >= 2
    for names, said in (record for options in groups.values() for record in options):
        assert names.startswith("-")
        assert said.partition("[")[0].strip(), names


def test_the_readme_is_short_and_quotes_what_its_commands_print():
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 100
    quoted = script("quoted_output")
    assert len(quoted.BLOCK.findall(text)) == 3
    assert quoted.with_output(text) == text, "python docs/quoted_output.py puts the new output into the README"


def test_the_python_of_the_readme_runs(monkeypatch):
    monkeypatch.chdir(DOCS.parent)
    (code,) = re.findall(r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["smooth"].shape == names["images"].shape
    assert names["changes"]
