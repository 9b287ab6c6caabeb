"""A network's state holds until something of it changes."""

import pytest
import torch
from helpers.networks import strided
from torch import nn

from featvis.tracing.state import State, plain_attributes


class Kept(nn.Module):
    """Tensors of every kind that a network may hold."""

    def __init__(self):
        super().__init__()
        self.laid_out = nn.Parameter(torch.randn(4, 8, 5, 5).to(memory_format=torch.channels_last))
        self.expanded = nn.Parameter(torch.zeros(1).expand(40))
        self.part = nn.Parameter(torch.randn(100)[3:50:2])
        self.register_buffer("halves", torch.zeros(7, dtype=torch.bfloat16))
        self.register_buffer("flags", torch.zeros(9, dtype=torch.bool))
        self.register_buffer("waves", torch.zeros(9, dtype=torch.complex128))
        self.register_buffer("nan", torch.full((3,), torch.nan))
        self.register_buffer("empty", torch.zeros(0))
        self.register_buffer("nothing", None)
        self.register_buffer("sparse", torch.eye(3).to_sparse())


def test_it_holds_where_nothing_changes():
    for network in (Kept(), strided()):
        state = State(network)
        assert state.holds(network)
        network.train()
        network.zero_grad()
        assert state.holds(network)


@pytest.mark.parametrize("name", ["laid_out", "part", "halves", "flags", "waves", "nan"])
def test_what_is_written_through_data_is_seen(name):
    network = Kept()
    tensor = getattr(network, name)
    for position in range(len(tensor)):
        state = State(network)
        tensor.data[position] = 1
        assert not state.holds(network)


def test_a_long_tensor_that_changes_all_over_is_seen():
    network = nn.Linear(300, 100)
    state = State(network)
    network.weight.data.mul_(1.001)
    assert not state.holds(network)


def test_a_plain_attribute_that_changes_is_seen():
    network = strided()
    state = State(network)
    layer = next(part for part in network.modules() if isinstance(part, nn.Conv2d))
    layer.stride = (1, 1)
    assert not state.holds(network)


def test_what_the_network_counts_by_itself_is_not_looked_at():
    class Counts(nn.Module):
        calls = 0
        last = (0, [0])  # No plain tuple, and not to be compared.

        def forward(self, images):
            self.calls += 1
            return images

    network = Counts()
    network.calls, network.slope = 0, float("nan")
    before = plain_attributes(network)
    network(torch.zeros(1))
    state = State(network, before)
    network(torch.zeros(1))
    assert state.holds(network)
    network.slope = 0.5
    assert not state.holds(network)
