"""Can the text of a chart be read? Measured in its pixels: WCAG AA wants a ratio of 4.5 between text and ground."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.typing import NDArray

TEXT = 4.5
SHAPE = 3.0
"""Points, lines and bars, against white."""


def contrast(one: Any, other: Any) -> Any:
    """WCAG's ratio of two colours, or of arrays (…, 3) of them."""
    first, second = _luminance(one), _luminance(other)
    return (np.maximum(first, second) + 0.05) / (np.minimum(first, second) + 0.05)


def _luminance(colour: Any) -> NDArray[Any]:
    rgb = np.asarray(to_rgb(colour) if isinstance(colour, str) else colour)[..., :3]
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def unreadable(figure: Figure) -> list[str]:
    """The texts of a figure that cannot be told well from what is drawn behind them, and how well."""
    canvas = FigureCanvasAgg(figure)
    texts = [text for text in figure.findobj(Text) if text.get_text().strip()]
    looks = [(text.get_color(), text.get_alpha()) for text in texts]
    pixels = []
    for look in ({"color": "magenta", "alpha": 1}, {"alpha": 0}):  # a colour that no chart has, and nothing
        for text in texts:
            text.set(**look)
        canvas.draw()
        pixels.append(np.array(canvas.buffer_rgba()) / 255)
    marked, ground = pixels
    found = []
    for text, (colour, alpha) in zip(texts, looks, strict=True):
        text.set(color=colour, alpha=alpha)
        box = _pixels(text, len(ground))
        if (marked[box] == ground[box]).all():
            continue  # hidden, or outside of the picture
        *rgb, opacity = to_rgba(colour, alpha)
        behind = ground[box][..., :3]
        ratio = float(np.median(contrast(opacity * np.array(rgb) + (1 - opacity) * behind, behind)))
        if ratio < TEXT:
            found.append(f"{text.get_text()!r}: {ratio:.2f}")
    return found


def scraper(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """sphinx-gallery's pictures of matplotlib, each of which must be readable."""
    from sphinx_gallery.scrapers import matplotlib_scraper  # which only a build has

    amiss = [text for number in plt.get_fignums() for text in unreadable(plt.figure(number))]
    pictures = str(matplotlib_scraper(block, block_vars, gallery_conf))  # which closes them
    if amiss:
        raise ValueError(f"{block_vars['src_file']}: not enough contrast: {', '.join(amiss)}")
    return pictures


def _pixels(text: Text, height: int) -> tuple[slice, slice]:
    box = text.get_window_extent()
    rows = slice(max(0, height - int(np.ceil(box.y1))), max(0, height - int(box.y0)))
    return rows, slice(max(0, int(box.x0)), max(0, int(np.ceil(box.x1))))
