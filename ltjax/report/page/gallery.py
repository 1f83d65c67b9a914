"""Pictures of test images: the most confidently wrong, and the rarest classes with what they are taken for.

Of images with several labels: those with a class that is predicted wrongly, and those with one that is missed.
"""

import base64
import io

import numpy as np
from PIL import Image

from ltjax import escape
from ltjax.report.page.parts import PATH_WIDTH, name, paragraph
from ltjax.report.run import Gallery, LabelGallery, Run, class_labels

MOST_OWN = 4  # classes of an image that are named under its picture
SMALL = 64  # pixels of the longer side: smaller pictures are enlarged without blurring, and stored exactly


def section(run: Run) -> str:
    """Both lists."""
    gallery = run.gallery
    if gallery is None:
        return paragraph("No pictures: the workdir has no gallery.npz.", "missing")
    first = f" of seed {run.results['seeds'][0]}" if len(run.results["seeds"]) > 1 else ""
    kinds = (
        (gallery.wrong, f"Most confidently wrong{first}"),
        (gallery.rarest, f"Rarest classes{first}, mistakes first"),
    )
    text = "".join(
        f'<h3>{title}</h3><div class="cards">{"".join(_card(run, gallery, int(i)) for i in places)}</div>'
        for places, title in kinds
        if len(places)
    )
    text = text or paragraph("No test image is wrong.", "note")
    place = ((run.config or {}).get("data") or {}).get("dir")
    where = f" Paths are those inside {place}." if place and any(gallery.path) else ""
    heat = (
        " Beside each picture: where the predicted class sees its evidence (Grad-CAM, Selvaraju et al., 2017)."
        if run.heat is not None
        else " python -m ltjax.report --run=DIR --grad-cam adds where the network looks."
    )
    return paragraph(f"The pictures are what the network got, scaled down.{where}{heat}", "note") + text


def _card(run: Run, gallery: Gallery, i: int) -> str:
    labels, counts = class_labels(run.results), run.results["class_counts"]
    label, taken = int(gallery.label[i]), int(gallery.prediction[i])
    true, predicted = labels[label], labels[taken] if taken >= 0 else "nothing"
    right = label == taken
    verdict = "right" if right else f"taken for {predicted}"
    alt = escape.html(escape.shortened(escape.terminal(f"Test image of {true}, {verdict}"), 160))
    pictures = f'<img src="{data_uri(gallery.pictures[i])}" alt="{alt}"{_kind(gallery.pictures[i])}>'
    if run.heat is not None:
        pictures += f'<img src="{data_uri(run.heat[i])}" alt="Grad-CAM of the same image"{_kind(run.heat[i])}>'
    path = gallery.path[i] or f"image {gallery.index[i]}"
    said = f"right, {100 * gallery.probability[i]:.0f} %"
    if not right:
        said = f"taken for {name(predicted, 28)}, {100 * gallery.probability[i]:.0f} %"
    lines = [
        f"<b>{name(true, 28)}</b>",
        f"<small>{counts[label]:,} training images</small>",
        f'<span class="{"hit" if right else "miss"}">{said}</span>',
        *([] if right else [f"<small>its own class {100 * gallery.label_probability[i]:.1f} %</small>"]),
        f"<small>{escape.html(escape.shortened(escape.terminal(str(path)), PATH_WIDTH))}</small>",
    ]
    return f'<figure class="card">{pictures}<figcaption>{"<br>".join(lines)}</figcaption></figure>'


def of_several(run: Run) -> str:
    """The most confident mistakes of a run whose images have several labels: each is one class of one image."""
    gallery = run.labels
    if gallery is None:
        return paragraph("No pictures: the workdir has no gallery.npz with several labels.", "missing")
    first = f" of seed {run.results['seeds'][0]}" if len(run.results["seeds"]) > 1 else ""
    wrong = zip(gallery.false_image, gallery.false_class, gallery.false_probability, strict=True)
    missed = zip(gallery.missed_image, gallery.missed_class, gallery.missed_probability, strict=True)
    text = ""
    for mistakes, title, word in (
        (wrong, "Wrong labels", "predicted"),
        (missed, "Missed labels", "missed"),
    ):
        cards = [_mistake(run, gallery, int(i), int(label), float(share), word) for i, label, share in mistakes]
        if cards:
            text += f'<h3>{title}{first}, the most confident first</h3><div class="cards">{"".join(cards)}</div>'
    text = text or paragraph("No test image has a wrong or a missed label.", "note")
    place = ((run.config or {}).get("data") or {}).get("dir")
    where = f" Paths are those inside {place}." if place and any(gallery.path) else ""
    about = (
        "A class is predicted from its threshold on. At most three pictures of a class in each list. The "
        f"pictures are what the network got, scaled down.{where}"
    )
    return paragraph(about, "note") + text


def _mistake(run: Run, gallery: LabelGallery, i: int, label: int, share: float, word: str) -> str:
    labels, counts = class_labels(run.results), run.results["class_counts"]
    own = [labels[c] for c in np.flatnonzero(gallery.targets[i])]
    listed = ", ".join(own[:MOST_OWN]) + (f" and {len(own) - MOST_OWN} more" if len(own) > MOST_OWN else "")
    alt = f"Test image of {listed or 'none of the classes'}, {word}: {labels[label]}"
    picture = gallery.pictures[i]
    shown = escape.html(escape.shortened(escape.terminal(alt), 160))
    path = gallery.path[i] or f"image {gallery.index[i]}"
    lines = [
        f'<span class="miss">{word}</span> <b>{name(labels[label], 28)}</b>',
        f"<small>{100 * share:.3g} %, threshold {100 * gallery.thresholds[label]:.3g} %</small>",
        f"<small>{counts[label]:,} training images</small>",
        f"<small>its classes: {name(listed, 60)}</small>" if own else "<small>none of the classes</small>",
        f"<small>{escape.html(escape.shortened(escape.terminal(str(path)), PATH_WIDTH))}</small>",
    ]
    caption = "<br>".join(lines)
    return (
        f'<figure class="card"><img src="{data_uri(picture)}" alt="{shown}"{_kind(picture)}>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _kind(picture: np.ndarray) -> str:
    return ' class="pixels"' if max(picture.shape[:2]) < SMALL else ""


def data_uri(picture: np.ndarray) -> str:
    """uint8 [H, W, 1 or 3] -> a data: address of a JPEG, or of a PNG of a small picture."""
    small = max(picture.shape[:2]) < SMALL
    image, buffer = Image.fromarray(picture.squeeze(-1) if picture.shape[-1] == 1 else picture), io.BytesIO()
    if small:
        image.save(buffer, "PNG", optimize=True)
    else:
        image.save(buffer, "JPEG", quality=82)
    return f"data:image/{'png' if small else 'jpeg'};base64,{base64.b64encode(buffer.getvalue()).decode()}"
