"""What is compiled runs uncompiled while it is watched, and is compiled again afterwards."""

import torch
from torch import nn

from featvis.tracing.trace import trace


def test_a_compiled_network_is_watched_operation_by_operation():
    compiled = []

    def backend(graph, example):
        compiled.append(graph)
        return graph.forward

    network = nn.Sequential(nn.Conv2d(1, 2, 3, 2, 1), nn.ReLU()).double()
    inputs = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    quick = torch.compile(network, backend=backend)
    assert [one.operator for one in trace(quick, inputs).operations] == ["convolution", "relu"]
    assert compiled == []
    assert torch.equal(quick(inputs), network(inputs))
    assert len(compiled) == 1
