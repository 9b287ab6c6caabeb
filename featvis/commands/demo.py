"""`featvis demo`: a network that ships with featvis, whose checkerboard training does not remove, at the shipped photograph."""

from __future__ import annotations

import click

from featvis.commands.help import command
from featvis.commands.tables import say


@command(
    short_help="Everything in a minute, with what ships with featvis.",
    examples=(
        "featvis demo",
        "featvis demo --out demo/",
    ),
)
@click.option(
    "--out",
    default="out",
    show_default=True,
    type=click.Path(),
    help="Folder for the page, the picture and the numbers.",
)
def demo(out: str) -> None:
    """Show the checkerboard of a network that ships with featvis, before and after training, and compensated."""
    from featvis.audit.request import Request, Watching
    from featvis.audit.run import audit_pictures
    from featvis.commands.audit import print_audit
    from featvis.commands.grad import view_of
    from featvis.files import make_folder, write_text
    from featvis.gradients.attributions import PLAIN
    from featvis.gradients.compensations import Jitter
    from featvis.gradients.engine import GradientEngine
    from featvis.models.specs import load_model
    from featvis.models.zoo import PHOTOGRAPH
    from featvis.plots import gradient_figure, save_figure
    from featvis.report import Gathered, write_report

    folder = make_folder(out)
    views, pages = [], {}
    for title, weights in (("random", "none"), ("trained", None)):
        model = load_model("zoo:twin-shortcut-1x1", weights, size=(224, 224))
        gathered = Gathered(model)
        watching = Watching(seen=gathered.add_beside_plain)
        result = audit_pictures(model, [PHOTOGRAPH], Request(culprits=True), watching=watching)
        print_audit(result, f"{model.spec}, {title} weights")
        write_text(folder / f"audit-{title}.json", result.to_json())
        gathered.equalise(result)
        pages[title] = write_report(
            folder / f"{title}.html", result, pictures=gathered.views(), command="featvis demo", layers=gathered.layers
        )
        _, pixels = model.load(PHOTOGRAPH)
        engine = GradientEngine(model)
        for addition, attribution in (("", PLAIN), (", jitter", Jitter())):
            gradients = attribution(engine, model.normalise(pixels[None]))
            views.append(view_of(title + addition, gradients, engine))
    shown = pixels.permute(1, 2, 0).numpy()
    caption = "The same architecture before and after training on CIFAR-10: 3x3 and 1x1 stride-2 layers. Jitter: mean of 16 shifts."
    figure = gradient_figure(shown, views, "The gradient of a classifier's top logit at a photograph", caption)
    say(f"the picture that explains itself: {save_figure(figure, folder / 'demo.png').resolve()}")
    for title, page in pages.items():
        say(f"the page, {title} weights: {page.resolve()}")
