"""Energies by period as tables list them."""

from helpers.findings import audit

from featvis.measure.by_period import lines_by_period
from featvis.measure.estimates import Estimate
from featvis.measure.maps import Found


def found(*period: int) -> Found:
    return Found((period[0], period[1]), (0.0, 1 / period[1]), Estimate(0.5, 0.01), 1e-9)


def test_strides_and_controls_are_listed_ascending() -> None:
    listed = [(line.period, line.kind) for line in lines_by_period(audit())]
    assert listed == [("2", "period"), ("3", "control"), ("4", "period"), ("5", "control")]


def test_what_was_found_has_a_line_of_its_own_and_takes_the_control_that_it_falls_on() -> None:
    lines = lines_by_period(audit(found=(found(1, 5), found(4, 4))))
    assert [(line.period, line.kind) for line in lines] == [
        ("2", "period"), ("3", "control"), ("4", "period"), ("1 x 5", "found"),
    ]  # fmt: skip
    assert lines[-1].energy == Estimate(0.5, 0.01)
    assert lines[-1].exact is None


def test_a_grid_that_drifts_has_no_energy_to_list() -> None:
    assert len(lines_by_period(audit(found=(Found(None, (0.3, 0.3), None, 1e-9),)))) == 4
