"""Loading a network by a spec: what must stay as it was, and what refuses in one line."""

import json
import sys

import torch

from featvis.models.specs import load_model
from helpers import refusals


def load(spec, **options):
    """A model on the CPU; torch's generator, sys.path and the loaded user modules must be as before, whatever happens."""
    state, path = torch.get_rng_state(), list(sys.path)
    try:
        model = load_model(spec, **{"device": "cpu", **options})
    finally:
        assert torch.equal(torch.get_rng_state(), state)
        assert sys.path == path
        assert not {"blocks", "late"} & sys.modules.keys()
    assert not any(part.training for part in model.module.modules())
    assert json.loads(json.dumps(model.settings()))["model"] == spec
    return model


def refusal(spec, **options):
    return refusals.refusal(load, spec, **options)


def values(model):
    return torch.cat([value.double().flatten() for value in model.module.state_dict().values()])


def equal(first, second):
    return torch.equal(values(first), values(second))
