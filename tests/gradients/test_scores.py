"""What a text asks for, and the number that it is at an output."""

import pytest
import torch
from torch import nn

from featvis.errors import FeatvisError
from featvis.gradients.draws import Draws
from featvis.gradients.scores import Score

LABELS = ("cat", "Great Dane")


def test_underscores_name_layers_as_in_lucent() -> None:
    network = nn.ModuleDict({"layer1": nn.ModuleDict({"conv_a": nn.Conv2d(3, 2, 3)})})
    assert Score.parse("layer1_conv_a:1", network).layer == "layer1.conv_a"
    assert Score.parse("layer1.conv_a:1", network) == Score("layer1.conv_a:1", "channel", "layer1.conv_a", 1)


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("top", Score("top", "top")),
        ("seeds", Score("seeds", "seeds")),
        ("seeds:1", Score("seeds:1", "seeds", "1")),
        ("-1", Score("-1", "class", index=-1)),
        ("great dane", Score("great dane", "class", index=1)),
        ("0:7", Score("0:7", "channel", "0", 7)),
    ],
)
def test_texts_and_what_they_ask_for(text: str, score: Score) -> None:
    assert Score.parse(text, nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), LABELS) == score


@pytest.mark.parametrize(("text", "said"), [("dog", "no label 'dog'"), ("0:x", "ends in 'x'"), ("9:0", "no layer .9.")])
def test_what_asks_for_nothing_is_refused(text: str, said: str) -> None:
    with pytest.raises(FeatvisError, match=said):
        Score.parse(text, nn.Sequential(nn.Conv2d(3, 8, 3)), LABELS)


def test_values_are_what_indexing_gives() -> None:
    maps, draws = torch.randn(2, 4, 3, 5, dtype=torch.float64), Draws(0, [0, 1])
    logits = maps.mean((2, 3))
    values, chosen = Score("top", "top").values(maps, None, draws)
    assert torch.allclose(values, logits.max(1).values)
    assert chosen is not None
    assert torch.equal(chosen[:, 0], logits.max(1).indices)
    assert torch.allclose(Score("top", "top").values(maps, 3 - chosen, draws)[0], logits[[0, 1], 3 - chosen[:, 0]])
    assert torch.allclose(Score("-1", "class", index=-1).values(maps, None, draws)[0], logits[:, 3])
    seeds, _ = Score("seeds", "seeds").values(maps, None, draws)
    assert torch.allclose(seeds, torch.einsum("bchw,bchw->b", maps, draws.signs(maps)))


def test_a_class_that_is_not_there_is_refused() -> None:
    with pytest.raises(FeatvisError, match="class 4, but there are 4; give 0 to 3"):
        Score("4", "class", index=4).values(torch.zeros(2, 4), None, Draws(0, [0, 1]))
    with pytest.raises(FeatvisError, match="has no channels"):
        Score("a:0", "channel", "a").values(torch.zeros(2), None, Draws(0, [0, 1]))
