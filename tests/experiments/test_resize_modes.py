"""The table of the two ways to resize."""

import resize_modes

from featvis.measure.estimates import Estimate


def test_a_quantity_of_no_generator_has_no_column():
    rows = resize_modes.rows_of("CIFAR-10", {"E(2)": Estimate(0.1, 0.01)})
    rows += resize_modes.rows_of("nearest", {"E(2)": Estimate(0.2, None), "at 0.5": (1, None)})
    lines = resize_modes.table(rows).splitlines()
    assert lines == [
        "| generator | E(2) |",
        "| --- | --- |",
        "| nearest | 0.2 |",
        "| CIFAR-10 | 0.100 ± 0.010 |",
    ]
