"""The right classes of pictures, from names and from tables; and what names none."""

from pathlib import Path

import pytest

from featvis.data.labels import known_classes
from featvis.errors import FeatvisError

LABELS = ("tench", "American chameleon", "great white shark")


def test_classes_from_names_of_files_and_folders() -> None:
    paths = [
        Path("n01440764_tench.JPEG"),
        Path("n01682714_American_chameleon.JPEG"),
        Path("great_white_shark/3.png"),
        Path("n01484850_great_white_shark/n01484850_17.JPEG"),
        Path("other/picture.png"),
    ]
    assert known_classes(paths, LABELS, "names") == [0, 1, 2, 2, None]
    with pytest.raises(FeatvisError, match="none of 1 pictures is known: no folder or file name"):
        known_classes(paths[-1:], LABELS, "names")
    with pytest.raises(FeatvisError, match="none of 5 pictures"):
        known_classes(paths, None, "names")


def test_classes_from_a_table(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("picture,label\na.png,Tench\nb/a.png,2\n./c.png, american chameleon\n")
    paths = [Path("x/a.png"), Path("b/a.png"), Path("c.png"), Path("d.png")]
    assert known_classes(paths, LABELS, str(table)) == [0, 2, 1, None]
    assert known_classes(paths[1:], LABELS, str(table)) == [2, 1, None]
    with pytest.raises(FeatvisError, match="names none"):
        known_classes(paths[3:], LABELS, str(table))


@pytest.mark.parametrize("line", ["a.png,trench", "a.png,3", "a.png", "a.png,0,1", ",0", "a.png,-1"])
def test_lines_that_name_no_class_are_refused(line: str, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text(f"picture,label\n{line}\n")
    with pytest.raises(FeatvisError, match=r"labels\.csv', line 2") as error:
        known_classes([Path("a.png")], LABELS, str(table))
    if line == "a.png,trench":
        assert "nearest: tench" in str(error.value)


def test_a_missing_table_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FeatvisError, match="cannot read the labels"):
        known_classes([Path("a.png")], LABELS, str(tmp_path / "missing.csv"))
