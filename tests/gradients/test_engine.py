from __future__ import annotations

import copy
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.utils.prune
from helpers.bestiary import BESTIARY, built
from helpers.networks import Function, TokensAfterNorm, fingerprint, plain_gradient, strided
from helpers.refusals import refusal
from torch import Tensor, nn

from featvis.errors import FeatvisError
from featvis.gradients.attributions import METHODS, InputXGradient, IntegratedGradients, SmoothGrad
from featvis.gradients.compensations import COMPENSATIONS, CycleSpinning, Equalise, Jitter, LowPass
from featvis.gradients.engine import GradientEngine, input_gradient
from featvis.measure.phases import phase_profile
from featvis.measure.sums import checkerboard_energy
from featvis.models.model import Model


def images(count: int = 3, channels: int = 3, size: int = 24, seed: int = 1) -> Tensor:
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Wrapped(nn.Module):
    """A network whose output is wrapped, or that does something more."""

    def __init__(self, wrap: Any) -> None:
        super().__init__()
        self.body, self.wrap = strided(), wrap

    def forward(self, pixels: Tensor) -> Any:
        return self.wrap(self.body(pixels))


def test_images_of_inference_mode() -> None:
    network = strided()
    with torch.inference_mode():
        batch = images()
    assert batch.is_inference()
    assert torch.equal(input_gradient(network, batch), input_gradient(network, images()))
    assert torch.equal(GradientEngine(network)(batch), GradientEngine(network)(images()))


def test_a_network_of_inference_mode() -> None:
    with torch.inference_mode():
        network = strided()
    assert torch.equal(input_gradient(network, images()), input_gradient(strided(), images()))
    assert network[0].weight.is_inference()


def test_within_inference_mode_there_is_no_gradient() -> None:
    engine = GradientEngine(strided())
    with torch.inference_mode():
        assert "torch.inference_mode()" in refusal(engine, images())
    with torch.no_grad():
        assert torch.allclose(engine(images()), input_gradient(strided(), images()), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(
    ("convert", "said"),
    [
        (lambda x: x.numpy(), "images of type ndarray; expected a tensor, as torch.as_tensor makes"),
        (lambda x: x.tolist(), "images of type list"),
        (lambda x: None, "images of type NoneType"),
        (lambda x: x.to(torch.complex64), "images of torch.complex64"),
        (lambda x: x.to("meta"), "images on the meta device"),
        (lambda x: torch.nested.nested_tensor(list(x)), "images in a nested tensor"),
        (lambda x: x[:0], "images of shape (0, 3, 24, 24)"),
        (lambda x: x[0, 0], "images of shape (24, 24)"),
        (lambda x: x[None], "images of shape (1, 3, 3, 24, 24)"),
    ],
)
def test_what_is_no_picture_is_refused_in_one_line(convert: Callable[[Tensor], Any], said: str) -> None:
    for call in (GradientEngine(strided()), lambda given: input_gradient(strided(), given)):
        assert said in refusal(call, convert(images()))


@pytest.mark.parametrize(
    "convert", [Tensor.to_sparse, Tensor.bool, lambda x: x.to(torch.float8_e4m3fn), lambda x: x.mT]
)
def test_pictures_of_any_kind_of_real_numbers_are_taken(convert: Callable[[Tensor], Tensor]) -> None:
    given = convert(images())
    plain = given.to_dense().double() if given.layout != torch.strided else given.double()
    assert torch.equal(input_gradient(strided(), given), input_gradient(strided(), plain))


@pytest.mark.parametrize("score", ["top", "3:1", "seeds:3"])
@pytest.mark.parametrize("make", [torch.jit.script, lambda network: network.to("meta")])
def test_networks_that_cannot_be_watched_are_refused_in_one_line(make: Callable[[nn.Module], Any], score: str) -> None:
    network = make(strided())
    assert refusal(GradientEngine(network, score), images()).startswith("the network is ")


@pytest.mark.parametrize("prepare", [True, False])
def test_the_gradient_is_autograds(prepare: bool) -> None:
    network, batch = strided(), images()
    engine = GradientEngine(network, prepare=prepare)
    assert torch.allclose(engine(batch), plain_gradient(network, batch), rtol=1e-10, atol=1e-14)
    assert engine.prepared is prepare
    assert engine.total_stride == 4
    assert torch.allclose(
        input_gradient(network, batch, "2"), plain_gradient(network, batch, 2), rtol=1e-10, atol=1e-14
    )


def test_labels_and_indices_name_classes() -> None:
    network, batch = strided(), images()
    model = Model(network, "test", labels=("a", "b", "c", "Tabby cat", "e"))
    assert torch.equal(input_gradient(model, batch, "tabby CAT"), input_gradient(model, batch, "3"))


def test_a_layers_channel_stops_the_forward_pass_there() -> None:
    network, batch = strided(), images()
    pixels = batch.clone().requires_grad_()
    (expected,) = torch.autograd.grad(network[:3](pixels)[:, 4].mean((1, 2)).sum(), pixels)
    network[5].register_forward_hook(lambda *a: pytest.fail("ran past the layer that was asked for"))
    engine = GradientEngine(network, "2:4")
    # The trace runs the whole network once, to find out how often the layer is called.
    network[5]._forward_hooks.clear()
    engine(batch)
    assert torch.allclose(engine(batch), expected, rtol=1e-10, atol=1e-14)
    assert engine.total_stride == 2


def test_a_convolution_that_is_the_score_is_not_folded() -> None:
    network, batch = strided(), images()
    pixels = batch.clone().requires_grad_()
    (expected,) = torch.autograd.grad(network[:4](pixels)[:, 1].mean((1, 2)).sum(), pixels)
    engine = GradientEngine(network, "3:1")
    assert torch.allclose(engine(batch), expected, rtol=1e-10, atol=1e-14)
    assert engine.prepared


def test_a_layer_called_twice_counts_with_its_last_call() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.first, self.second, self.activation = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.ReLU()

        def forward(self, pixels: Tensor) -> Tensor:
            return self.activation(self.second(self.activation(self.first(pixels)))).mean((2, 3))

    network, batch = Twice().double().eval(), images()
    pixels = batch.clone().requires_grad_()
    features = network.activation(network.second(network.activation(network.first(pixels))))
    (expected,) = torch.autograd.grad(features[:, 1].mean((1, 2)).sum(), pixels)
    engine = GradientEngine(network, "activation:1")
    for _ in range(2):
        assert torch.allclose(engine(batch), expected, rtol=1e-10, atol=1e-14)


def test_seeds_are_the_pictures_own_in_any_batch() -> None:
    network, batch = strided(), images(4)
    engine = GradientEngine(network, "seeds:5", seed=3)
    whole = engine(batch)
    again = torch.cat([engine(batch[2:], indices=[2, 3]), engine(batch[:2], indices=[0, 1])])
    assert torch.allclose(whole[2:], again[:2])
    assert torch.allclose(whole[:2], again[2:])
    assert not torch.allclose(GradientEngine(network, "seeds:5", seed=4)(batch), whole)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda logits: {"logits": logits, "aux": logits * 2},
        lambda logits: {"out": logits},
        lambda logits: (logits, logits * 2),
        lambda logits: [logits],
        lambda logits: type("Output", (), {"logits": logits})(),
    ],
)
def test_outputs_that_wrap_the_logits_are_understood(wrap: Any) -> None:
    network, batch = Wrapped(wrap), images()
    assert torch.allclose(input_gradient(network.eval(), batch), plain_gradient(network.body, batch))


def test_an_output_without_a_tensor_is_refused() -> None:
    with pytest.raises(FeatvisError, match="expected a tensor"):
        input_gradient(Wrapped(lambda logits: "no").eval(), images())


def test_maps_and_single_logits_have_a_score() -> None:
    network, batch = nn.Conv2d(3, 2, 3).double(), images()
    pixels = batch.clone().requires_grad_()
    (expected,) = torch.autograd.grad(network(pixels).mean((2, 3))[:, 1].sum(), pixels)
    assert torch.allclose(input_gradient(network, batch, "1"), expected)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(27, 1), nn.Flatten(0)).double()
    assert input_gradient(flat, images(2, size=3)).shape == (2, 3, 3, 3)


def test_training_mode_dropout_and_batch_norm_are_measured_in_eval_mode() -> None:
    network = nn.Sequential(*strided(), nn.Dropout(0.5))
    expected = plain_gradient(network.eval(), images())
    network.train()
    before = fingerprint(network)
    assert torch.allclose(input_gradient(network, images()), expected)
    assert fingerprint(network) == before


def test_signals_work() -> None:
    network = nn.Sequential(nn.Conv1d(2, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten()).double()
    signals = torch.randn(2, 2, 64, dtype=torch.float64)
    engine = GradientEngine(network)
    assert engine(signals).shape == signals.shape
    assert engine.total_stride == 2
    for attribution in (*METHODS.values(), Jitter(), CycleSpinning(SmoothGrad()), LowPass()):
        assert attribution(engine, signals).shape == signals.shape


@pytest.mark.parametrize("kind", ["untracked", "shuffled", "random"])
def test_networks_that_mix_the_batch_are_refused(kind: str) -> None:
    class Mixing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = strided()
            self.norm = nn.BatchNorm2d(3, track_running_stats=False).double()

        def forward(self, pixels: Tensor) -> Tensor:
            if kind == "untracked":
                return self.body(self.norm(pixels))
            if kind == "shuffled":
                return self.body(pixels) * self.body(pixels).amax(0, keepdim=True)
            return self.body(nn.functional.dropout(pixels, 0.5, training=True))

    with pytest.raises(FeatvisError, match="depends on the other pictures"):
        GradientEngine(Mixing().eval(), "0")(images())
    if kind == "untracked":
        assert GradientEngine(Mixing().eval(), "0")(images(1)).shape == (1, 3, 24, 24)


def test_handed_in_networks_stay_as_they_are_also_after_an_error() -> None:
    network = strided().train()
    network[0].weight.requires_grad_(False)
    network[3].register_forward_hook(lambda *a: None)
    batch = images()
    before, pixels = fingerprint(network), batch.clone()
    for score in ("top", "1", "3:2", "seeds", "seeds:4"):
        Jitter(SmoothGrad())(GradientEngine(network, score), batch)
    for score, given in (("99", batch), ("3:99", batch), ("top", batch[:, :2]), ("top", batch[0, 0])):
        with pytest.raises(FeatvisError):
            GradientEngine(network, score)(given)
    assert fingerprint(network) == before
    assert torch.equal(batch, pixels)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_fingerprint_sees_each_kind_of_change() -> None:
    changes = [
        lambda n: n[0].weight.data.add_(1e-3),
        lambda n: n[1].running_mean.add_(1e-3),
        lambda n: n.train(),
        lambda n: n[3].weight.requires_grad_(False),
        lambda n: n[3].register_forward_hook(lambda *a: None),
    ]
    prints = [fingerprint(strided())]
    for change in changes:
        network = strided()
        change(network)
        prints.append(fingerprint(network))
    assert len(set(prints)) == len(prints)


def test_leftovers_of_other_tools_do_not_matter() -> None:
    network, batch = strided(), images()
    expected = plain_gradient(network, batch)
    kept: dict[str, Tensor] = {}
    network[4].leftover = network[:4](batch.clone().requires_grad_())
    for name, part in network.named_modules():
        part.register_forward_hook(lambda m, a, output, name=name: kept.__setitem__(name, output))
        part.register_full_backward_hook(lambda m, a, output: None)
    assert torch.allclose(input_gradient(network, batch), expected)


def test_lucents_leftovers_do_not_matter() -> None:
    from featvis.compat import import_torchvision

    import_torchvision()
    render = pytest.importorskip("lucent.optvis.render")
    network = strided(dtype=torch.float32)
    batch = images().float()
    expected = plain_gradient(network, batch)
    with torch.enable_grad():
        hook = render.ModelHook(network) if hasattr(render, "ModelHook") else render.hook_model(network, lambda: batch)
        network(batch.clone().requires_grad_())
    assert sum(len(part._forward_hooks) for part in network.modules()) > 0
    assert torch.allclose(input_gradient(network, batch), expected, rtol=1e-4, atol=1e-6)
    del hook


def test_smoothgrad_and_integrated_gradients_are_their_definitions() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.Flatten(), nn.Linear(4 * 11 * 11, 3)).double()
    batch = images()
    linear = plain_gradient(network, batch, 1)
    engine = GradientEngine(network, "1")
    assert torch.allclose(SmoothGrad()(engine, batch), linear)
    assert torch.allclose(InputXGradient()(engine, batch), linear * batch)
    # Completeness: the attributions add up to the change of the score from zero.
    curved = strided()
    with torch.no_grad():
        change = (curved(batch) - curved(torch.zeros_like(batch)))[:, 1]
    total = IntegratedGradients()(GradientEngine(curved, "1"), batch).sum((1, 2, 3))
    assert torch.allclose(total, change, rtol=0.02, atol=0.02)


def test_the_top_class_of_the_clean_picture_stays_the_score() -> None:
    network, batch = strided(), images(4)
    chosen = network(batch).argmax(1)
    for method in METHODS.values():
        for attribution in (method, Jitter(method)):
            whole = attribution(GradientEngine(network), batch)
            for picture in range(4):
                alone = GradientEngine(network, str(int(chosen[picture])))
                one = attribution(alone, batch[picture : picture + 1], [picture])
                assert torch.allclose(whole[picture], one[0], rtol=1e-8, atol=1e-12), attribution


def test_compensations_lower_the_checkerboard_of_a_strided_network() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 16, 3, 2, padding=1), nn.ReLU(), nn.Conv2d(16, 4, 3)).double()
    batch = images(12, size=40)
    engine = GradientEngine(network, "seeds")
    raw = checkerboard_energy(engine(batch), 2).energy[2].value
    profile = phase_profile(engine(images(40, size=40, seed=9)).square().sum((0, 1))[None], 2)[0]
    assert raw > 0.1
    for name, compensation in COMPENSATIONS.items():
        gradients = compensation.with_profile(profile)(engine, batch)
        left = checkerboard_energy(gradients, 2).energy[2].value
        assert left == pytest.approx(raw) if name == "none" else left < raw / 5, name


def test_cycle_spinning_is_the_mean_over_all_shifts() -> None:
    network, batch = strided(), images(2)
    engine = GradientEngine(network, "1")
    expected = torch.zeros_like(batch)
    for row in range(4):
        for column in range(4):
            moved = engine(batch.roll((row, column), (2, 3)))
            expected += moved.roll((-row, -column), (2, 3)) / 16
    assert torch.allclose(CycleSpinning()(engine, batch), expected)


def test_low_pass_leaves_nothing_outside_its_disc() -> None:
    attribution = LowPass()(GradientEngine(strided()), images(2, size=64))
    frequency = torch.fft.fftfreq(64, dtype=torch.float64)
    outside = (frequency[:, None].square() + frequency.square()).sqrt() > LowPass().cutoff
    spectrum = torch.fft.fft2(attribution).abs()
    assert spectrum[..., outside].max() < 1e-12 * spectrum.max()


def test_equalise_divides_by_the_root_of_the_profile() -> None:
    network, batch = strided(), images(size=26)
    profile = torch.tensor([[1.0, 4.0], [0.25, 1.0]], dtype=torch.float64).repeat(2, 2)
    engine = GradientEngine(network)
    assert torch.allclose(
        Equalise(profile=profile)(engine, batch),
        engine(batch) / profile.sqrt().repeat(7, 7)[:26, :26],
    )
    for wrong, said in (
        (None, "--save-profile"),
        (profile[:2, :2], "the profile is 2 x 2, this network and score need 4 x 4"),
        (profile * (profile > 0.5), "without any energy"),
    ):
        with pytest.raises(FeatvisError, match=said):
            Equalise(profile=wrong)(engine, batch)


@pytest.mark.parametrize(
    ("score", "said"),
    [
        ("nonsense", "no label 'nonsense'"),
        ("9.weight:3", "no layer '9.weight'"),
        ("3:x", "ends in 'x'"),
        ("seeds:11", "no layer '11'"),
        ("99", "give 0 to 4"),
        ("-9", "give 0 to 4"),
        ("3:8", "channel 8 of 3"),
    ],
)
def test_unknown_scores_are_named(score: str, said: str) -> None:
    with pytest.raises(FeatvisError, match=said):
        input_gradient(strided(), images(), score)


def test_a_layer_off_the_path_and_a_score_without_gradient_are_refused() -> None:
    network = strided()
    network.unused = nn.Conv2d(3, 3, 1).double()
    network.forward = lambda pixels: nn.Sequential.forward(network[:9], pixels)
    with pytest.raises(FeatvisError, match="did not run"):
        input_gradient(network, images(), "unused:0")
    with pytest.raises(FeatvisError, match="depend on the pixels"):
        input_gradient(Wrapped(lambda logits: logits.argmax(1, keepdim=True).double()).eval(), images())


class WrongAlone(nn.Module):
    """Its backward pass is wrong where a picture is alone, as torch's batch norm is for some layouts of its gradient."""

    class Faulty(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, features: Tensor) -> Tensor:
            return features.clone()

        @staticmethod
        def backward(context: Any, gradient: Tensor) -> Tensor:
            return gradient * torch.arange(gradient.shape[-1]) if len(gradient) == 1 else gradient

    def __init__(self) -> None:
        super().__init__()
        self.body = strided()

    def forward(self, pixels: Tensor) -> Tensor:
        return self.body(self.Faulty.apply(pixels))


@pytest.mark.parametrize("prepare", [True, False])
@pytest.mark.parametrize("functional", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tokens_after_a_batch_norm_have_the_gradient_of_a_batch(
    prepare: bool, functional: bool, dtype: torch.dtype
) -> None:
    network, batch = TokensAfterNorm(functional).eval().to(dtype), images().to(dtype)
    expected = plain_gradient(network, batch)
    network.requires_grad_(False)
    engine = GradientEngine(network, prepare=prepare)
    for given in (batch[:1], batch, batch[:1]):
        assert torch.allclose(engine(given), expected[: len(given)], rtol=1e-4, atol=1e-7)
    assert engine.notes == []
    assert engine.prepared is prepare


@pytest.mark.parametrize("prepare", [True, False])
@pytest.mark.parametrize("score", ["top", "1", "seeds"])
def test_a_picture_alone_has_the_gradient_it_has_in_a_batch(prepare: bool, score: str) -> None:
    network, batch = WrongAlone().eval(), images()
    expected = GradientEngine(network.body, score, prepare=False)(batch)
    engine = GradientEngine(network, score, prepare=prepare)
    for given in (batch[:1], batch, batch[:1]):
        assert torch.allclose(engine(given), expected[: len(given)], rtol=1e-10, atol=1e-14)
    assert engine.notes == []


def _trained(network: nn.Module) -> None:
    optimiser = torch.optim.SGD(network.parameters(), 0.1)
    network.train()(images()).sum().backward()
    optimiser.step()
    optimiser.zero_grad()
    network.eval()


def _written(network: nn.Module) -> None:
    with torch.no_grad():
        network[0].weight.mul_(-0.5)


CHANGES: dict[str, Callable[[nn.Module], object]] = {
    "trained": _trained,
    "written": _written,
    "replaced": lambda n: setattr(n[0], "weight", nn.Parameter(torch.randn_like(n[0].weight))),
    "data": lambda n: n[0].weight.data.mul_(-0.5),
    "data replaced": lambda n: setattr(n[0].weight, "data", torch.randn_like(n[0].weight)),
    "one channel of a buffer": lambda n: n[1].running_mean.data[2].add_(5),
    "running statistics": lambda n: (n.train()(images()), n.eval()),
    "loaded": lambda n: n.load_state_dict(strided(seed=3).state_dict()),
    "assigned": lambda n: n.load_state_dict(strided(seed=3).state_dict(), assign=True),
    "a layer": lambda n: n.__setitem__(5, nn.GELU()),
    "a hook": lambda n: n[3].register_forward_hook(lambda module, arguments, output: output * output),
    "a hook before": lambda n: n[3].register_forward_pre_hook(lambda module, arguments: (arguments[0].sin(),)),
    "a parametrization": lambda n: nn.utils.parametrize.register_parametrization(n[3], "weight", nn.Tanh()),
    "pruned": lambda n: nn.utils.prune.l1_unstructured(n[3], "weight", 0.7),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_network_that_has_changed_is_prepared_anew(name: str) -> None:
    network, batch = strided(), images()
    engine = GradientEngine(network)
    before = engine(batch)
    CHANGES[name](network)
    expected = plain_gradient(network, batch)
    assert not torch.allclose(expected, before)
    assert torch.allclose(engine(batch), expected, rtol=1e-10, atol=1e-14)
    # And once: the network is what it was then.
    record = engine.record
    engine(batch)
    assert engine.record is record


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    "normed",
    [
        nn.utils.weight_norm,
        nn.utils.spectral_norm,
        nn.utils.parametrizations.weight_norm,
        nn.utils.parametrizations.spectral_norm,
        nn.utils.parametrizations.orthogonal,
    ],
)
def test_preparing_anew_keeps_what_users_hang_on_a_network(normed: Callable[[nn.Module], nn.Module]) -> None:
    network, batch, seen = strided(), images(), []
    normed(network[3])
    network.double()(batch)
    network[0].register_forward_pre_hook(lambda module, arguments: (2 * arguments[0],))
    network[2].register_forward_hook(lambda module, arguments, output: output.sin())
    network[6].register_full_backward_hook(lambda module, inputs, outputs: seen.append(1))
    engine = GradientEngine(network)
    for _ in range(3):
        before = fingerprint(network)
        gradient = engine(batch)
        assert fingerprint(network) == before
        assert torch.allclose(gradient, plain_gradient(network, batch), rtol=1e-10, atol=1e-14)
        for parameter in network[3].parameters():
            parameter.data.add_(torch.randn_like(parameter))
    # By the plain gradients alone.
    assert len(seen) == 3


def test_what_is_observed_or_treated_stays_so_where_the_network_changes() -> None:
    network, batch, seen = strided(), images(), []
    engine = GradientEngine(network)
    engine(batch)
    observed, treated = engine.observe("3", seen.append), engine.treat("0", lambda gradient: 2 * gradient)
    for count in (1, 2, 3):
        assert torch.allclose(engine(batch), 2 * plain_gradient(network, batch), rtol=1e-10, atol=1e-14)
        assert len(seen) == count
        network[0].weight.data.mul_(1.1)
    observed.remove()
    treated.remove()
    for _ in range(2):
        assert torch.allclose(engine(batch), plain_gradient(network, batch), rtol=1e-10, atol=1e-14)
        network[0].weight.data.mul_(1.1)
    assert len(seen) == 3


def _patched(network: nn.Module, way: str) -> nn.Module:
    """A network whose forward pass was replaced by a function that runs the network's own."""
    before = network.forward
    if way == "method":
        network.forward = lambda pixels: 2 * before(pixels)
    elif way == "module":
        network[1].forward = lambda features: nn.BatchNorm2d.forward(network[1], features)
    else:
        network.forward = types.MethodType(lambda self, pixels: 2 * nn.Sequential.forward(self, pixels), network)
    return network


@pytest.mark.parametrize("way", ["method", "module", "bound"])
def test_a_function_that_runs_the_network_itself_is_refused_in_training_mode(way: str) -> None:
    network, batch = _patched(strided(), way), images()
    expected = plain_gradient(network, batch)
    assert torch.allclose(input_gradient(network, batch), expected)
    network.train()
    before = fingerprint(network)
    if way == "bound":
        assert torch.allclose(input_gradient(network, batch), expected)
    else:
        assert "in training mode by itself" in refusal(input_gradient, network, batch)
    assert fingerprint(network) == before


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_network_in_a_coarse_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    network, batch = strided().to(dtype), images()
    with torch.no_grad():
        network[-1].weight.mul_(1e-3)
    expected = plain_gradient(copy.deepcopy(network).float(), batch.float())
    engine = GradientEngine(network)
    assert torch.allclose(engine(batch), expected, rtol=1e-4, atol=1e-10)
    assert engine.notes == []
    assert network[0].weight.dtype == dtype


def _under_autocast(pixels: Tensor, body: nn.Module, dtype: torch.dtype) -> Tensor:
    with torch.autocast("cpu", dtype=dtype):
        return body(pixels).float()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("weights", ["float32", "its own"])
@pytest.mark.parametrize("way", ["autocast", "cast"])
def test_a_network_that_goes_over_to_a_coarse_precision_is_used_as_it_is(
    dtype: torch.dtype, weights: str, way: str
) -> None:
    body, batch = strided(dtype=torch.float32).requires_grad_(False), images().float()
    if way == "autocast":
        network: nn.Module = Function(lambda x, body: _under_autocast(x, body, dtype), body)
    else:
        network = Function(lambda x, first, rest: rest(first(x).to(dtype)).float(), body[:3], body[3:])
        network.layers[1].to(dtype)
    if weights == "its own":
        network.to(dtype)
        network.function = lambda x, *layers: torch.nn.Sequential(*layers)(x.to(dtype)).float()
    expected = plain_gradient(network, batch, 1)
    engine = GradientEngine(network, "1")
    assert torch.allclose(engine(batch), expected, rtol=1e-3)
    assert not engine.prepared
    (note,) = engine.notes
    assert f"computes in {str(dtype)[6:]} inside" in note
    assert ("small ones are lost" in note) is (dtype == torch.float16)


def test_complex_numbers_are_refused_in_one_line() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(27, 2, dtype=torch.complex64))
    with pytest.raises(FeatvisError, match="is complex; wrap the network"):
        input_gradient(network, images(2, size=3))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_complex_weights_within_a_real_network_keep_their_imaginary_parts(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    waves = nn.Conv2d(3, 4, 3, 2, dtype=torch.complex128 if dtype == torch.float64 else torch.complex64)
    head = nn.Linear(4, 2, dtype=dtype)
    network = Function(
        lambda x, waves, head: head(waves(x.to(waves.weight.dtype)).abs().mean((2, 3)).to(head.weight.dtype)),
        waves,
        head,
    )
    plain = copy.deepcopy(network)
    plain.layers[1].float() if dtype == torch.float16 else None
    batch = images().to(plain.layers[1].weight.dtype)
    engine = GradientEngine(network)
    assert torch.allclose(engine(batch), plain_gradient(plain, batch), rtol=1e-4, atol=1e-8)
    assert engine.prepared


@pytest.mark.parametrize("first", [torch.arange(3), torch.tensor([True, False]), torch.zeros(2, dtype=torch.complex64)])
def test_a_networks_precision_is_that_of_its_real_parameters(first: Tensor) -> None:
    network, batch = Function(lambda x, body: body(x), strided()), images()
    network._parameters = {"first": nn.Parameter(first, requires_grad=False)}
    assert torch.allclose(input_gradient(network, batch), plain_gradient(network, batch))


def test_whole_numbers_as_pixels_are_taken_as_real_ones() -> None:
    network, batch = Function(lambda x: x.square().mean((2, 3))), images().mul(50).byte()
    assert torch.allclose(input_gradient(network, batch, "1"), plain_gradient(network, batch.float(), 1))


class Layouts(nn.Module):
    """The same features with channels first, with channels last, and as tokens, of as many rows as channels."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.last, self.tokens, self.head = nn.Conv2d(3, 5, 3, 2), nn.GELU(), nn.GELU(), nn.Linear(5, 2)

    def forward(self, pixels: Tensor) -> Tensor:
        features = self.last(self.body(pixels).permute(0, 2, 3, 1))
        return self.head(self.tokens(features.flatten(1, 2)).mean(1))


@pytest.mark.parametrize("score", ["last:3", "tokens:3", "last:3@1,2", "body:3@-1,0"])
def test_a_channel_is_a_channel_in_every_layout(score: str) -> None:
    network, batch = Layouts().double().eval(), images(2, size=11)
    pixels = batch.clone().requires_grad_()
    first = network.body(pixels)
    last = nn.functional.gelu(first)[:, 3]
    wanted = {
        "last:3": last.mean((1, 2)),
        "tokens:3": nn.functional.gelu(last).mean((1, 2)),
        "last:3@1,2": last[:, 1, 2],
        "body:3@-1,0": first[:, 3, -1, 0],
    }[score]
    (expected,) = torch.autograd.grad(wanted.sum(), pixels)
    assert torch.allclose(input_gradient(network, batch, score), expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(
    ("score", "said"), [("last:3@9,0", "5 rows and 5 columns"), ("tokens:3@0,0", "no rows of pixels")]
)
def test_a_position_that_is_not_there_is_refused(score: str, said: str) -> None:
    with pytest.raises(FeatvisError, match=said):
        input_gradient(Layouts().double(), images(2, size=11), score)


STEPS = 1e-4, 1e-5
"""Along a direction of norm 1. A rectifier that flips spoils the longer, rounding the shorter; neither makes a wrong gradient right."""


def noise(name: str, network: nn.Module) -> Tensor:
    """Two pictures of half the size, which is quicker, or of the whole where the network takes no other."""
    channels, *sizes = BESTIARY[name].shape
    draws = torch.Generator().manual_seed(1)
    half = torch.randn(2, channels, *(size // 2 for size in sizes), generator=draws, dtype=torch.float64)
    try:
        network(half)
    except RuntimeError:
        return torch.randn(2, channels, *sizes, generator=draws, dtype=torch.float64)
    return half


def distance(network: nn.Module, pictures: Tensor, gradient: Tensor) -> float:
    """How far the score's differences along a random direction are from what the gradient says, relative to what is usual for its norm.

    The largest over the pictures of the smallest over the steps.
    """
    direction = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    direction /= direction.flatten(1).norm(dim=1).view(-1, *(1 for _ in pictures.shape[1:]))

    def score(at: Tensor) -> Tensor:
        output = network(at)[:, 1]
        return output if output.ndim == 1 else output.flatten(1).mean(1)

    said = (gradient * direction).flatten(1).sum(1)
    usual = gradient.flatten(1).norm(dim=1) / pictures[0].numel() ** 0.5
    with torch.no_grad():
        found = [
            (score(pictures + step * direction) - score(pictures - step * direction)) / (2 * step) for step in STEPS
        ]
    return float(torch.stack([(one - said).abs() / usual for one in found]).amin(0).amax())


@pytest.mark.parametrize("name", BESTIARY)
def test_gradients_are_finite_differences_alone_and_in_a_batch(name: str) -> None:
    network = built(BESTIARY[name], dtype=torch.float64)
    pictures = noise(name, network)
    engine = GradientEngine(network, "1")
    assert distance(network, pictures, engine(pictures)) < 1e-6
    assert distance(network, pictures[:1], engine(pictures[:1])) < 1e-6


@pytest.mark.parametrize("name", ["conv k3 s2", "attention", "signal k3 s2"])
def test_a_slightly_wrong_gradient_is_found(name: str) -> None:
    network = built(BESTIARY[name], dtype=torch.float64)
    pictures = noise(name, network)
    gradient = GradientEngine(network, "1")(pictures)
    gradient[..., ::2] *= 1 + 1e-4
    assert distance(network, pictures, gradient) > 1e-6


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_scores_that_are_no_numbers_are_refused(value: float) -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Conv2d(3, 4, 3, 2)

        def forward(self, x: Tensor) -> Tensor:
            logits = self.body(x).mean((2, 3))
            return torch.where(torch.arange(len(x))[:, None] == 1, logits + value, logits)

    with pytest.raises(FeatvisError, match="the score 'top' is NaN or infinite at picture 1"):
        GradientEngine(Broken())(torch.randn(3, 3, 16, 16))
