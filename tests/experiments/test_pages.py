"""Tables of pages are those of committed results."""

import importlib
import json
import re

import pytest
import zoo_audit
from shared.tables import STUDIES, read_rows, table_in

from featvis.models.zoo.cards import FIGURES

TABLES = {
    "overlap_training": "training",
    "shortcut_culprits": "shortcut-culprits",
    "trained_generators": "trained-generators",
    "resize_modes": "resize-modes",
    "strong_colours": "strong-colours",
    "adversary": "adversary",
    "pooling_frequencies": "pooling",
    "audio": "audio",
    "zoo_spread": "spread",
    "census_timm": "networks",
    "period_culprits": "period-culprits",
}
"""Each study, and the name of its table in its page."""


@pytest.mark.parametrize("module", TABLES)
def test_the_table_of_a_study_is_that_of_its_committed_results(module):
    study = importlib.import_module(module)
    assert table_in(study.PAGE, TABLES[module]) == study.table(read_rows(study.TABLE))


def test_the_tables_of_the_zoo_are_those_of_its_figures():
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    assert table_in(zoo_audit.PAGE, "zoo") == zoo_audit.table(figures)
    assert table_in(zoo_audit.PAGE, "networks") == zoo_audit.list_of_all(figures)


NUMBER = r"[-+]?\d*\.\d+(?: ± \d*\.\d+)?"

CLOSED_FORMS = {"0.75", "0.25", "0.2346"}
"""White noise's high-frequency share, a chance of one in four, and a 3x3 convolution of stride 2."""


def untold(text):
    """Numbers with a decimal point in a page's prose, with their errors, that none of its tables holds."""
    tables = "\n".join(re.findall(r"^\|.*$", text, re.MULTILINE))
    prose = re.sub(r"^(?:\|.*|<.*|.*\]\(.*\.png\))$", "", text, flags=re.MULTILINE)
    told = {form for one in re.findall(NUMBER, tables) for form in (one, one.split(" ")[0])}
    return [one for one in re.findall(NUMBER, " ".join(prose.split())) if one not in told | CLOSED_FORMS]


@pytest.mark.parametrize("page", sorted(STUDIES.glob("*.md")), ids=lambda page: page.stem)
def test_no_number_in_a_study_is_typed_that_its_tables_do_not_hold(page):
    assert untold(page.read_text(encoding="utf-8")) == []


def test_planted_numbers_are_found():
    table = "| a | 0.50 ± 0.01 | 0.3 | +0.9 |"
    assert untold(f"{table}\nHere 0.50 ± 0.01, 0.50,\n0.3 and +0.9, one in four 0.25.") == []
    assert untold(f"{table}\nHere 0.50 ±\n0.02, 0.4 and .3") == ["0.50 ± 0.02", "0.4", ".3"]


def test_a_study_begins_with_its_figure_and_folds_its_tables():
    for page in STUDIES.glob("*.md"):
        title, empty, figure, *rest = page.read_text(encoding="utf-8").splitlines()
        assert title.startswith("# ")
        assert empty == ""
        assert re.fullmatch(rf"!\[.+\]\({page.stem}\.png\)", figure), page.name
        assert (
            rest.count("<details>")
            == rest.count("</details>")
            == sum(line.startswith("<!-- table") for line in rest)
            > 0
        )
