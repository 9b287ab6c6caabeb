"""The colours of figures and pages: what they mean stands here alone."""

from __future__ import annotations

SIGNED, SEQUENTIAL = "RdBu_r", "viridis"
"""Colour maps of matplotlib: of signed values, and of those from little to much."""

INK, FAINT, PERIOD, CONTROL = "#222222", "#5f6368", "#0072B2", "#D55E00"
"""Text, its captions, what a stride makes and what none makes; the last two differ for every kind of colour vision."""

RULE, EDGE = "#e3e3e3", "#888888"
"""Lines behind a chart, and those between its parts."""

LINES = (INK, PERIOD, CONTROL, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C564B", "#7F7F7F")
"""Lines that differ for every kind of colour vision (Okabe and Ito 2008, and two more); the first is what others are held against."""

LIGHT = {
    "paper": "#fdfdfc",
    "ink": INK,
    "faint": FAINT,
    "line": "#dcdcd8",
    "soft": "#f3f3f0",
    "period": PERIOD,
    "control": CONTROL,
}
DARK = {
    "paper": "#17191c",
    "ink": "#e7e7e4",
    "faint": "#a7abb0",
    "line": "#383c41",
    "soft": "#212428",
    "period": LINES[6],
    "control": LINES[5],
}
PRINT = {**LIGHT, "paper": "#ffffff", "ink": "#000000", "faint": "#444444", "line": "#bbbbbb", "soft": "#f3f3f3"}


def style_rules() -> str:
    """The page's colours as CSS variables, for the screen, light and dark, and for paper."""

    def rule(colours: dict[str, str]) -> str:
        return ":root { " + " ".join(f"--{name}: {colour};" for name, colour in colours.items()) + " }"

    return "\n".join(
        (
            rule(LIGHT),
            f"@media (prefers-color-scheme: dark) {{ {rule(DARK)} }}",
            f"@media print {{ {rule(PRINT)} }}",
        )
    )
