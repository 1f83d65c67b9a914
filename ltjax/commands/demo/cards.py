"""Answers as HTML. Every text from outside is escaped, every image is a part of the page."""

import base64
import html
import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ltjax import escape
from ltjax.commands.demo.neighbours import Neighbour
from ltjax.commands.demo.session import Answer, Session
from ltjax.training.workdir.json_files import Record

SHOWN = 224  # pixels of an image's longer side at most; smaller ones are enlarged without blur

STYLE = """
.lt-head h1 {font-size: 1.5rem; margin: 0 0 .25rem}
.lt-head p, .lt-note {margin: 0; color: var(--body-text-color)}
.lt-cards {display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr)); gap: 1rem}
.lt-card {border: 1px solid var(--border-color-primary); border-radius: 10px; padding: 1rem; min-width: 0;
  background: var(--block-background-fill); color: var(--body-text-color)}
.lt-card h2 {font-size: .95rem; margin: .5rem 0; overflow-wrap: anywhere}
.lt-card h3 {font-size: .85rem; margin: 1rem 0 .4rem; color: var(--body-text-color)}
.lt-card img {image-rendering: auto; border-radius: 6px; background: var(--background-fill-secondary)}
.lt-card img.lt-small {image-rendering: pixelated}
.lt-image {display: block; width: 100%; max-width: 14rem; height: auto}
.lt-shares {list-style: none; margin: 0; padding: 0}
.lt-shares li {margin: 0 0 .5rem; padding: 0}
.lt-line {display: flex; justify-content: space-between; gap: .75rem; font-size: .9rem}
.lt-line span:first-child {overflow-wrap: anywhere}
.lt-line .lt-number {font-variant-numeric: tabular-nums; white-space: nowrap}
.lt-bar {height: .5rem; border-radius: 4px; background: var(--background-fill-secondary);
  border: 1px solid var(--border-color-primary); overflow: hidden}
.lt-bar div {height: 100%; background: #2563eb}
.dark .lt-bar div {background: #7aa7ff}
.lt-count {font-size: .78rem; color: var(--body-text-color); opacity: .8}
.lt-near {display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: .5rem; margin: 0; padding: 0;
  list-style: none}
.lt-near li {font-size: .75rem; overflow-wrap: anywhere; margin: 0}
.lt-near img {display: block; width: 100%; height: auto}
.lt-problems {margin: .5rem 0 1rem; padding: .6rem 1rem; border-left: 4px solid #b45309; list-style: none;
  background: var(--block-background-fill); color: var(--body-text-color); overflow-wrap: anywhere}
"""


def head(session: Session) -> str:
    """What the page says of the run."""
    model, results = session.model, session.results
    about = (
        f"{model.method} on {model.dataset}, {len(model.class_names):,} classes, "
        f"{sum(model.class_counts):,} training images{accuracy(results)}"
    )
    lines = [about, calibration(model.temperature), session.about_neighbours]
    paragraphs = "".join(f"<p>{text(line)}</p>" for line in lines if line)
    return f'<header class="lt-head"><h1>{text(session.name)}</h1>{paragraphs}</header>'


def accuracy(results: Record) -> str:
    """The accuracies on the test images, such as ", accuracy 59.4 %, few-shot classes 21.0 %"."""
    found = results.get("accuracy") or {}
    names = {"all": "accuracy", "few": "few-shot classes"}
    return "".join(f", {name} {100 * found[key]:.1f} %" for key, name in names.items() if found.get(key) is not None)


def calibration(temperature: float | None) -> str:
    """Whether probabilities are calibrated.

    Example:
      >>> calibration(1.5)
      'Probabilities are calibrated: the logits are divided by the temperature 1.50.'
    """
    if temperature is None:
        advice = "ltjax evaluate --fit-temperature calibrates them"
        return f"Probabilities are not calibrated, and networks are usually too sure; {advice}."
    return f"Probabilities are calibrated: the logits are divided by the temperature {temperature:.2f}."


def cards(session: Session, answers: Sequence[Answer], problems: Sequence[str]) -> str:
    """A card for each answer, after a list of the problems."""
    listed = "".join(f"<li>{text(line)}</li>" for line in problems)
    shown = f'<ul class="lt-problems" role="alert">{listed}</ul>' if problems else ""
    return shown + f'<div class="lt-cards">{"".join(card(session, one, n) for n, one in enumerate(answers, 1))}</div>'


def card(session: Session, answer: Answer, number: int) -> str:
    model = session.model
    shares = "".join(
        f'<li><div class="lt-line"><span>{text(model.class_names[label])}</span>'
        f'<span class="lt-number">{100 * share:.1f} %</span></div>'
        f'<div class="lt-bar"><div style="width: {100 * share:.2f}%"></div></div>'
        f'<div class="lt-count">{training_images(model.class_counts[label])}</div></li>'
        for label, share in answer.shares
    )
    near = "".join(nearest(model.class_names[one.label], one) for one in answer.neighbours)
    near = f'<h3>Nearest training images (cosine of the features)</h3><ul class="lt-near">{near}</ul>' if near else ""
    shown = img(answer.image, answer.upload.name, "lt-image") + f"<h2>{number}. {text(answer.upload.name)}</h2>"
    return f'<article class="lt-card">{shown}<ol class="lt-shares">{shares}</ol>{near}</article>'


def nearest(name: str, one: Neighbour) -> str:
    shown = "" if one.image is None else img(one.image, f"training image of {name}")
    return f"<li>{shown}{text(name)}<br>{one.similarity:.2f}</li>"


def training_images(count: int) -> str:
    """Example:
    >>> training_images(1), training_images(1200)
    ('1 training image', '1,200 training images')
    """
    return f"{count:,} training image" + ("" if count == 1 else "s")


def img(image: npt.NDArray[np.uint8], description: str, kind: str = "") -> str:
    """An <img> with the pixels in it."""
    from PIL import Image

    buffer = io.BytesIO()
    drawn = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    drawn.thumbnail((SHOWN, SHOWN))
    small = max(drawn.size) < 100
    drawn.save(buffer, "PNG" if small else "JPEG", quality=85)
    encoded = base64.b64encode(buffer.getvalue()).decode()
    classes = " ".join(word for word in (kind, "lt-small" if small else "") if word)
    size = f'width="{drawn.width}" height="{drawn.height}"'
    source = f"data:image/{'png' if small else 'jpeg'};base64,{encoded}"
    return f'<img class="{classes}" {size} alt="{text(description)}" src="{source}">'


def text(words: str) -> str:
    """Text as HTML shows it: escaped, with control characters made visible.

    Example:
      >>> text("<b>&")
      '&lt;b&gt;&amp;'
    """
    return html.escape(escape.terminal(words))
