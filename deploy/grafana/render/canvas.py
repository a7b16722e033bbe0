"""A picture in pixels from the top left: boxes and texts, which are cut where they do not fit, and say so."""

from __future__ import annotations

import io
from functools import lru_cache

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyBboxPatch
from matplotlib.textpath import text_to_path
from matplotlib.transforms import Affine2D
from PIL import Image

from deploy.grafana.render.board import Box

# Grafana's dark theme, and its names of colours.
COLOURS = {
    "background": "#111217", "panel": "#181b1f", "border": "#2b2f36", "grid": "#2a2d33",
    "text": "#ccccdc", "faint": "#9d9da8", "green": "#73bf69", "yellow": "#fade2a", "red": "#f2495c",
    "blue": "#5794f2", "orange": "#ff9830", "purple": "#b877d9", "transparent": "none",
}  # fmt: skip
LINES = (
    "#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#37872d", "#e0b400",
    "#c4162a", "#1f60c4", "#8f3bb8",
)  # fmt: skip
# What is drawn is a few flat colours over two grounds: a palette of these makes the file a third.
BLENDS = (1.0, 0.7, 0.4, 0.1)


# Widths grow with the size: each text is measured at one.
MEASURED = 12.0


@lru_cache(4096)
def _width(text: str, bold: bool) -> float:
    font = FontProperties(size=MEASURED, weight="bold" if bold else "normal")
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width)


def _palette() -> Image.Image:
    """Each colour, and its blends with a panel's ground, as the edges of letters and lines are."""
    colours = [to_rgb(name) for name in [*COLOURS.values(), *LINES] if name != "none"]
    ground = to_rgb(COLOURS["panel"])
    blends = [
        tuple(round(255 * (share * a + (1 - share) * b)) for a, b in zip(colour, ground, strict=True))
        for colour in colours
        for share in BLENDS
    ]
    image = Image.new("P", (1, 1))
    image.putpalette([value for blend in dict.fromkeys(blends) for value in blend])
    return image


class Canvas:
    """At 72 dots an inch a point is a pixel, of texts too."""

    def __init__(self, width: int, height: int) -> None:
        self._size = width, height
        self._figure = Figure(figsize=(width / 72, height / 72), dpi=72, facecolor=COLOURS["background"])
        self._pixels = Affine2D().scale(1, -1).translate(0, height)
        # Texts that did not fit, since `forget_cuts`.
        self.cuts: list[str] = []

    def box(self, box: Box) -> None:
        """The ground of a panel."""
        self._figure.add_artist(
            FancyBboxPatch(
                (box.left, box.top),
                box.width,
                box.height,
                boxstyle="round,pad=0,rounding_size=2",
                transform=self._pixels,
                facecolor=COLOURS["panel"],
                edgecolor=COLOURS["border"],
                linewidth=1,
                # Below the axes, which are at 0.
                zorder=-1,
            )
        )

    def text(
        self,
        text: str,
        left: float,
        middle: float,
        width: float,
        *,
        size: float = 12,
        colour: str = "text",
        bold: bool = False,
        align: str = "left",
    ) -> None:
        """One line within `width`, around the height `middle`; cut with an ellipsis as Grafana does."""
        fitting = text
        while fitting and self.width_of(fitting, size, bold) > width:
            fitting = fitting.removesuffix("…")[:-1].rstrip() + "…" if len(fitting) > 1 else ""
        if fitting != text:
            self.cuts.append(text)
        at = {"left": left, "center": left + width / 2, "right": left + width}[align]
        self._figure.text(
            at,
            middle,
            fitting,
            transform=self._pixels,
            size=size,
            color=COLOURS.get(colour, colour),
            weight="bold" if bold else "normal",
            ha=align,
            va="center_baseline",
            # A dollar sign is no formula.
            parse_math=False,
        )

    def paragraph(self, text: str, box: Box, *, size: float = 13, colour: str = "faint") -> None:
        """A text in the middle of a box, over as many lines as it takes; cut where there are too many."""
        lines: list[str] = [""]
        for word in text.split():
            longer = f"{lines[-1]} {word}".strip()
            if self.width_of(longer, size) <= box.width:
                lines[-1] = longer
            else:
                lines.append(word)
        height = 1.4 * size
        fit = max(1, int(box.height / height))
        if len(lines) > fit:
            self.cuts.append(text)
        lines = lines[:fit]
        first = box.top + box.height / 2 - (len(lines) - 1) * height / 2
        for number, line in enumerate(lines):
            self.text(
                line, box.left, first + number * height, box.width, size=size, colour=colour, align="center"
            )

    def axes(self, box: Box) -> Axes:
        """A plot in a box, without a ground of its own."""
        width, height = self._size
        place = (
            box.left / width,
            1 - (box.top + box.height) / height,
            box.width / width,
            box.height / height,
        )
        axes = self._figure.add_axes(place)
        axes.set_facecolor("none")
        for side in axes.spines.values():
            side.set_visible(False)
        axes.tick_params(length=0, labelsize=11, labelcolor=COLOURS["faint"], pad=5)
        return axes

    def width_of(self, text: str, size: float, bold: bool = False) -> float:
        """Pixels from the first letter to the last."""
        return size / MEASURED * _width(text, bold)

    def png(self) -> bytes:
        """The picture as a PNG of few colours."""
        drawn, written = io.BytesIO(), io.BytesIO()
        self._figure.savefig(drawn, format="png")
        with Image.open(drawn) as image:
            few = image.convert("RGB").quantize(palette=_palette(), dither=Image.Dither.NONE)
        few.save(written, "PNG", optimize=True)
        return written.getvalue()
