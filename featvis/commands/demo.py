"""`featvis demo`: the shipped network at the shipped photograph."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--out", default="out", show_default=True, type=click.Path(), help="Folder for the pictures and arrays.")
def demo(out: str) -> None:
    """Show the checkerboard of the network that ships with featvis, at the photograph that ships with it; no download."""
    from featvis.audit import audit_pictures
    from featvis.commands.audit import print_audit
    from featvis.commands.grad import draw_gradients
    from featvis.files import make_folder, write_text
    from featvis.models import load_model
    from featvis.zoo import PHOTOGRAPH

    folder = make_folder(out)
    model = load_model("zoo:cifar-k3s2", size=(224, 224))
    result = audit_pictures(model, [PHOTOGRAPH])
    print_audit(result, model.spec)
    json_path = write_text(folder / "audit.json", result.to_json())
    figures = draw_gradients(model, [PHOTOGRAPH], folder, None, "top", "vanilla", "jitter", 0, False)
    click.echo(f"the picture that explains itself: {Path(figures[0]).resolve()}")
    click.echo(f"the numbers: {json_path.resolve()}")
