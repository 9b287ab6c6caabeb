"""Does training balance the overlap of strided layers, and where?

    python experiments/training_balances.py PICTURES --weights mobilenet_v2.pth

What each strided layer of MobileNetV2 (ImageNet) and of the zoo's classifier (CIFAR-10) injects at its own stride, predicted from its
weights, with random and with trained weights, and the energy measured at the pictures. Writes experiments/results/training_balances.csv
and docs/training_balances.png.
"""

from __future__ import annotations

import torch
from matplotlib.figure import Figure
from shared.command_line import mobilenet_arguments
from shared.figures import BLUE, RED
from shared.tables import DOCS, RESULTS, row_of, write_rows

from featvis.audit.run import audit_pictures
from featvis.data.pictures import find_pictures
from featvis.models.model import Model
from featvis.models.specs import load_model
from featvis.plots import save_figure
from featvis.predict.prediction import predict

TABLE, FIGURE = RESULTS / "training_balances.csv", DOCS / "training_balances.png"
COLUMNS = ("model", "weights", "layer", "injected", "measured", "error")
PICTURES = 48


def strided_layers(model: Model) -> dict[str, float]:
    """What each layer with a stride injects at its own stride, by name, from the pixels to the score."""
    prediction = predict(model.module, model.input_size)
    return {
        layer.name: layer.injected for layer in prediction.layers if max(layer.stride) > 1 and max(layer.remainder) > 0
    }


def main() -> None:
    arguments = mobilenet_arguments(__doc__)
    torch.set_num_threads(2)
    pictures = find_pictures([arguments.pictures])[:PICTURES]
    rows = []
    figure = Figure(figsize=(9, 4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, spec, trained in zip(panels, ("mobilenet_v2", "zoo:cifar-k3s2"), (arguments.weights, None), strict=True):
        for weights, colour, marker in (("none", RED, "s"), (trained, BLUE, "o")):
            mean = [0.5] if spec == "mobilenet_v2" else None
            model = load_model(spec, weights, mean=mean, std=mean, size=(224, 224))
            injected = strided_layers(model)
            measured = audit_pictures(model, pictures)
            whole = measured.energy[measured.total_stride]
            kind = "random" if weights == "none" else "trained"
            for layer, value in injected.items():
                rows.append(row_of(COLUMNS, spec, kind, layer, f"{value:.5f}", "", ""))
            cells = (spec, kind, "all, measured", "", f"{whole.value:.5f}", f"{whole.error:.5f}")
            rows.append(row_of(COLUMNS, *cells))
            print(spec, kind, {layer: round(value, 4) for layer, value in injected.items()}, whole, flush=True)
            label = f"{kind} weights; measured E({measured.total_stride}) = {whole.value:.3f}"
            axes.plot(list(injected), list(injected.values()), marker, color=colour, label=label)
        axes.axhline(0.2346, color="0.7", linewidth=1, zorder=0)
        axes.set_title(spec)
        axes.set_ylim(0, 0.4)
        axes.set_xticks(range(len(injected)), list(injected), rotation=25, ha="right")
        axes.legend(loc="upper center")
    panels[0].set_ylabel("E that the layer injects at its own stride")
    save_figure(figure, FIGURE)
    write_rows(TABLE, COLUMNS, rows)


if __name__ == "__main__":
    main()
