"""A faster form of a network that fails in any way, at any time, gives its place to one that works, and this is said."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from helpers.networks import Function, fingerprint, plain_gradient, strided
from torch import Tensor, nn

from featvis.dream.activations import Activations
from featvis.dream.dreaming import dream
from featvis.errors import FeatvisError
from featvis.gradients.engine import GradientEngine
from featvis.gradients.faithfulness import Faithfulness
from featvis.tracing import prepared
from featvis.tracing.prepared import Prepared


class Tutorial(nn.Module):
    """The network of PyTorch's CIFAR tutorial, which flattens by `view`, with a batch norm to fold."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv1, self.norm, self.pool, self.conv2 = (
            nn.Conv2d(3, 6, 5),
            nn.BatchNorm2d(6),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
        )
        self.fc1, self.fc2 = nn.Linear(16 * 5 * 5, 20), nn.Linear(20, 10)
        nn.init.uniform_(self.norm.running_var, 0.5, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.norm(self.conv1(x))))
        x = self.pool(F.relu(self.conv2(x)))
        return self.fc2(F.relu(self.fc1(x.view(-1, 16 * 5 * 5))))


class Spectral(nn.Module):
    """A product in the frequency domain by complex numbers, which channels last refuses."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Conv2d(3, 4, 4, 4), nn.Conv2d(4, 5, 3, 2, 1)
        self.filter = nn.Parameter(torch.randn(4, 8, 5, 2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = torch.fft.irfft2(torch.fft.rfft2(x) * torch.view_as_complex(self.filter), x.shape[2:])
        return self.last(x).mean((2, 3))


class _Fragile(torch.autograd.Function):
    """Does nothing, and fails in its backward pass."""

    @staticmethod
    def forward(context: object, tensor: Tensor) -> Tensor:
        return tensor.view_as(tensor)

    @staticmethod
    def backward(context: object, gradient: Tensor) -> Tensor:
        raise ValueError("no way back")


class Failing(nn.Module):
    """A layer that fails, in the forward or only in the backward pass, at inputs that a condition names."""

    def __init__(self, layer: nn.Module, when: Callable[[Tensor], bool], backward: bool = False) -> None:
        super().__init__()
        self.layer, self.when, self.backward = layer, when, backward

    def forward(self, x: Tensor) -> Tensor:
        if self.when(x):
            if not self.backward:
                raise ValueError("no way through")
            x = _Fragile.apply(x)
        return self.layer(x)


def images(count: int = 4, size: int = 32) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets the second convolution of `strided` fail, in its faster form only."""
    original = prepared.prepare_network

    def let(when: Callable[[Tensor], bool], backward: bool = False) -> None:
        def prepare(network: nn.Module, *arguments: object) -> nn.Module:
            network = original(network, *arguments)
            network[3] = Failing(network[3], when, backward)
            return network

        monkeypatch.setattr(prepared, "prepare_network", prepare)

    return let


@pytest.mark.parametrize("network", [Tutorial(), Spectral()])
def test_where_only_channels_last_fails_the_folding_stays(network: nn.Module) -> None:
    network = network.double().eval()
    before, batch = fingerprint(network), images()
    engine = GradientEngine(network)
    assert torch.allclose(engine(batch), plain_gradient(network, batch), rtol=1e-9, atol=1e-12)
    assert engine.prepared
    (note,) = engine.notes
    assert note.startswith("memory is not laid out channels last, as the network then fails: ")
    assert fingerprint(network) == before


def test_the_folding_stays_where_channels_last_gives_other_results() -> None:
    def in_memory_order(x: Tensor, first: nn.Module, last: nn.Module) -> Tensor:
        return last(first(x).as_strided((len(x), 400), (400, 1)))

    network = Function(in_memory_order, nn.Conv2d(3, 4, 23), nn.Linear(400, 3)).double().eval()
    batch = images()
    engine = GradientEngine(network)
    assert torch.allclose(engine(batch), plain_gradient(network, batch), rtol=1e-9, atol=1e-12)
    assert engine.prepared
    assert engine.notes == ["memory is not laid out channels last, as the network then gives other results"]


@pytest.mark.parametrize("backward", [False, True])
def test_a_form_that_fails_at_once_is_not_used(failing: Callable[..., None], backward: bool) -> None:
    failing(lambda x: True, backward)
    network, batch = strided(), images()
    engine = GradientEngine(network)
    assert torch.allclose(engine(batch), plain_gradient(network, batch))
    assert not engine.prepared
    said = "no way back" if backward else "no way through"
    assert engine.notes == [f"the network could not be prepared (its folded form fails: {said}); used as it is"]


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("later", [images(5), images(3, size=40)])
def test_a_form_that_fails_later_is_given_up_then(failing: Callable[..., None], later: Tensor, backward: bool) -> None:
    failing(lambda x: len(x) > 4 or x.shape[-1] > 16, backward)
    network, batch = strided(), images()
    engine = GradientEngine(network)
    engine(batch)
    assert engine.prepared
    assert engine.notes == []
    seen: list[Tensor] = []
    handle = engine.observe("3", seen.append)
    treated = engine.treat("0", lambda gradient: 2 * gradient)
    for _ in range(2):
        assert torch.allclose(engine(later), 2 * plain_gradient(network, later))
    assert not engine.prepared
    (note,) = engine.notes
    assert "failed on a later input (no way " in note
    # Each batch is seen once, also the one at which the faster form failed half way.
    assert [len(gradient) for gradient in seen] == [len(later)] * 2
    assert torch.equal(*seen)
    handle.remove()
    treated.remove()
    assert torch.allclose(engine(later), plain_gradient(network, later))
    assert len(seen) == 2


def test_where_the_plain_network_fails_too_the_error_is_its_own() -> None:
    network = Function(lambda x, *layers: layers[1](layers[0](x).flatten(1)), nn.Conv2d(3, 2, 3, 2), nn.Linear(450, 3))
    engine = GradientEngine(network.double().eval())
    engine(images())
    with pytest.raises(FeatvisError, match=r"refuses an input of shape \(4, 3, 40, 40\)"):
        engine(images(size=40))
    assert engine.prepared
    assert engine.notes == []


def test_faithfulness_takes_networks_that_flatten_by_view() -> None:
    network, batch = Tutorial().double().eval(), images()
    curves = Faithfulness(network, steps=2)(batch, batch)
    expected = network(batch).softmax(1).amax(1)
    assert torch.allclose(curves.insertion[:, -1], expected)
    assert torch.allclose(curves.deletion[:, 0], expected)


@pytest.mark.parametrize("backward", [False, True])
def test_a_dream_goes_on_where_the_form_fails_at_a_later_size(failing: Callable[..., None], backward: bool) -> None:
    # The preparation looks at one picture in its final size; the smaller octave comes first.
    photograph = images(1)[0].float().sigmoid()
    choices = {"steps": 2, "octaves": 2, "octave_scale": 2.0}
    network = strided(dtype=torch.float32)
    expected = dream(network, lambda t: -t("5").mean(), photograph, prepare=False, **choices)
    failing(lambda x: x.shape[-1] < 16, backward)
    made = dream(network, lambda t: -t("5").mean(), photograph, **choices)
    assert not made.settings["prepared"]
    assert any("failed on a later input" in note for note in made.notes)
    assert torch.allclose(made.picture, expected.picture, atol=1e-5)


def test_a_dream_takes_networks_that_flatten_by_view() -> None:
    network, pixels = Tutorial().double().eval(), images(1)
    # Pictures often come in another layout, here that of channels last.
    pixels = pixels.to(memory_format=torch.channels_last)
    activations = Activations(network, lambda t: -t("labels")[:, 1].mean(), pixels, pixels)
    assert activations.prepared
    assert activations.notes[0].startswith("memory is not laid out channels last")
    expected = -network(pixels.contiguous())[:, 1].mean()
    assert torch.allclose(activations(pixels, pixels), expected, rtol=1e-12)


def test_a_network_that_cannot_be_traced_still_has_activations() -> None:
    def only_untraced(x: Tensor, layer: nn.Module) -> Tensor:
        if torch.utils._python_dispatch._len_torch_dispatch_stack() > 0:
            raise RuntimeError("I am watched")
        return layer(x)

    network, pixels = Function(only_untraced, nn.Conv2d(3, 4, 3).double()), images(1)
    activations = Activations(network, lambda t: t("layers.0").mean(), pixels, pixels)
    assert activations.total_stride is None
    assert not activations.prepared
    assert torch.equal(activations(pixels, pixels), network(pixels).mean())
    with pytest.raises(FeatvisError, match="I am watched"):
        GradientEngine(network, "layers.0:1")(pixels)


def test_layers_are_read_at_their_last_call_and_the_pass_ends_at_the_deepest() -> None:
    ran: list[str] = []

    def twice(x: Tensor, shared: nn.Module, between: nn.Module, after: nn.Module) -> Tensor:
        return after(shared(between(shared(x))).relu_())

    parts = [nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1), nn.Conv2d(3, 2, 1)]
    network = Function(twice, *parts).double().eval()
    for number, part in enumerate(parts):
        part.register_forward_hook(lambda module, arguments, output, number=number: ran.append(str(number)))
    first, between, pixels = parts[0], parts[1], images(1)
    run = Prepared(network, ["layers.0", "layers.1"], pixels)
    ran.clear()
    for _ in range(2):
        held = run.plain(pixels)
        assert torch.equal(held["layers.0"], first(between(first(pixels))))
        assert torch.equal(held["layers.1"], between(first(pixels)))
    assert ran[:3] == ["0", "1", "0"]
    assert "2" not in ran
