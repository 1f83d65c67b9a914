"""Pictures of test images: the most confidently wrong, and the rarest classes with what they are taken for."""

import base64
import io

import numpy as np
from PIL import Image

from ltjax import escape
from ltjax.report.page.parts import PATH_WIDTH, name, paragraph
from ltjax.report.run import Gallery, Run, class_labels

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
