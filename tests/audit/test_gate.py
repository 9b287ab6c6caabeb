"""Limits and baselines: what fails, what passes, and what cannot be compared."""

from dataclasses import replace

import pytest
import torch

from featvis.audit.gate import exceeded, grown
from featvis.audit.record import Audit
from featvis.errors import FeatvisError
from featvis.measure.estimates import Estimate
from featvis.measure.maps import Found
from featvis.measure.sums import EnergySums


def audit(value, error, total=4, **settings):
    metric = EnergySums(total)
    metric.update(torch.randn(8, 1, 16, 16, generator=torch.Generator().manual_seed(0)))
    measured = Audit.of(metric.compute(), settings={"score": "top", "mean": [0.5], **settings})
    return replace(measured, energy=dict.fromkeys(measured.energy, Estimate(value, error)))


@pytest.mark.parametrize(
    ("value", "error", "fails"), [(0.06, 0.004, True), (0.06, 0.006, False), (0.049, 0.0, False), (-0.01, 0.001, False)]
)
def test_a_limit_fails_only_beyond_two_errors(value, error, fails):
    assert bool(exceeded(audit(value, error), 0.05)) == fails


def test_a_limit_needs_an_error():
    with pytest.raises(FeatvisError, match="at least 4"):
        exceeded(audit(0.06, None), 0.05)


def test_no_stride_has_no_limit():
    flat = replace(audit(1.0, 0.0, total=1), traced=(1, 1))
    assert exceeded(flat, 0.05) == []


def test_what_cannot_be_told_never_passes():
    unknown = replace(audit(1.0, 0.0, total=1), traced=None)
    with pytest.raises(FeatvisError, match=r"nothing can be judged: No period stands out .* cannot be traced"):
        exceeded(unknown, 0.05)
    with pytest.raises(
        FeatvisError, match="nothing can be judged: Nothing can be told at this size: period 32 does not"
    ):
        exceeded(replace(unknown, traced=(32, 32), not_measurable=((32, 32),)), 0.05)
    drifting = Found(None, (0.497, 0.0), None, 1e-9)
    with pytest.raises(FeatvisError, match="nothing can be judged: A grid drifts"):
        exceeded(replace(unknown, traced=(1, 1), found=(drifting,)), 0.05)


def test_a_period_that_only_the_gradients_show_is_judged_too():
    found = Found((1, 6), (0.0, 1 / 6), Estimate(0.3, 0.01), 1e-9)
    shown = replace(audit(0.01, 0.001), found=(found,))
    assert exceeded(shown, 0.05) == ["E(1 x 6) = 0.300 ± 0.010 is above 0.05 by more than 2 standard errors"]
    assert exceeded(replace(shown, found=(replace(found, energy=Estimate(0.04, 0.01)),)), 0.05) == []


@pytest.mark.parametrize(("now", "fails"), [(0.020, False), (0.0241, False), (0.0245, True), (0.002, False)])
def test_growth_fails_only_beyond_three_combined_errors(now, fails):
    said = grown(audit(now, 0.001), audit(0.02, 0.001))
    assert bool(said) == fails
    assert len(said) == (2 if fails else 0)


def test_a_period_that_the_baseline_does_not_have_counts_as_new():
    assert ["E(8)" in line for line in grown(audit(0.02, 0.001, total=8), audit(0.02, 0.001))] == [True]


def test_tuples_and_lists_are_the_same_setting():
    assert grown(audit(0.02, 0.001, mean=(0.5,)), audit(0.02, 0.001)) == []


def test_other_settings_are_refused():
    with pytest.raises(FeatvisError, match="score 'top', now '3'"):
        grown(audit(0.02, 0.001, score="3"), audit(0.02, 0.001))
