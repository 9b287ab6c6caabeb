"""Which exported programs load, and which are refused.

    python experiments/exported_programs.py

Run in the checkout, with timm installed. What torch exports of the zoo, of torchvision's classifiers and of one small model of each of
timm's families must load and give the same logits; every hostile variant of an archive must be refused, and leave no file. Writes
experiments/results/exported_programs.csv.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from shared.tables import RESULTS, write_rows
from torch import nn

from featvis.compat import import_torchvision
from featvis.errors import FeatvisError
from featvis.models.exported import load_exported
from featvis.models.specs import load_model
from featvis.models.zoo import ZOO

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from helpers import hostile

TORCHVISION = (
    "alexnet convnext_tiny densenet121 efficientnet_b0 efficientnet_v2_s googlenet inception_v3 maxvit_t mnasnet0_5 mobilenet_v2 "
    "mobilenet_v3_small regnet_x_400mf regnet_y_400mf resnet18 resnext50_32x4d shufflenet_v2_x0_5 squeezenet1_1 swin_t swin_v2_t "
    "vgg11_bn vit_b_32 wide_resnet50_2"
)
TIMM = (
    "cait_xxs24_224 coat_lite_tiny convnext_atto convnextv2_atto crossvit_tiny_240 cspresnet50 davit_tiny deit_tiny_patch16_224 dla34 "
    "dm_nfnet_f0 edgenext_xx_small efficientformer_l1 efficientnet_lite0 efficientvit_b0 eva02_tiny_patch14_224 fastvit_t8 "
    "focalnet_tiny_srf gernet_s ghostnet_100 gmlp_s16_224 halonet26t hardcorenas_a hgnet_tiny hiera_tiny_224 hrnet_w18_small "
    "inception_next_tiny lambda_resnet26t levit_128s mambaout_femto maxxvit_rmlp_nano_rw_256 mixer_s32_224 mobilenetv4_conv_small "
    "mobileone_s0 mobilevit_xxs nest_tiny nfnet_f0 pit_ti_224 poolformer_s12 rdnet_tiny regnetx_002 repvgg_a0 repvit_m0_9 "
    "res2net50_26w_4s resmlp_12_224 resnest14d resnet18 resnetv2_50 rexnet_100 selecsls42 sequencer2d_s skresnet18 starnet_s1 "
    "swin_tiny_patch4_window7_224 tf_efficientnet_b0 tiny_vit_5m_224 tresnet_m twins_pcpvt_small visformer_tiny vit_tiny_patch16_224 "
    "volo_d1_224 vovnet39a xcit_nano_12_p16_224"
)
COLUMNS = ("what", "name", "result")


def networks() -> Iterator[tuple[str, str, nn.Module, tuple[int, int, int]]]:
    """Source, name, network with random weights, and its input's shape."""
    import_torchvision()
    named = [("zoo", f"zoo:{name}", card.kind) for name, card in ZOO.items() if card.kind != "generator"]
    named += [("torchvision", name, None) for name in TORCHVISION.split()]
    named += [("timm", f"timm:{name}", None) for name in TIMM.split()]
    for source, name, kind in named:
        model = load_model(name, weights="none", device="cpu", kind=kind)
        yield source, name, model.module, model.input_size


def outcome(network: nn.Module, shape: tuple[int, int, int], folder: Path) -> str:
    """Whether the program that torch exports of a network loads and gives its logits."""
    images, path = torch.rand(2, *shape), folder / "network.pt2"
    torch.export.save(torch.export.export(network, (images,)), path)
    try:
        module, _ = load_exported(str(path))
    except FeatvisError as error:
        return str(error)
    with torch.no_grad():
        first, second = module(images), network(images)
    return "the same" if torch.allclose(first, second, rtol=1e-4, atol=1e-5) else "other logits"


def refusals(folder: Path) -> Iterator[tuple[str, str]]:
    """What each hostile variant came to."""
    mark = folder / "canary" / "mark"
    mark.parent.mkdir()
    _, files = hostile.write(folder, mark)
    for name, path in files.items():
        try:
            load_exported(str(path))
            result = "taken"
        except FeatvisError as error:
            result = "refused" if str(error).isprintable() else "refused in odd characters"
        yield name, "left a file" if list(mark.parent.iterdir()) else result


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for source, name, network, shape in networks():
            rows.append({"what": source, "name": name, "result": outcome(network, shape, Path(folder))})
            print(*rows[-1].values())
        tried = dict(refusals(Path(folder)))
    for result in sorted(set(tried.values())):
        count = list(tried.values()).count(result)
        rows.append({"what": "hostile", "name": f"{count} variants", "result": result})
        print(*rows[-1].values())
    write_rows(RESULTS / "exported_programs.csv", COLUMNS, rows)


if __name__ == "__main__":
    main()
