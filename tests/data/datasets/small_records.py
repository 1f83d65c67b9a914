"""Small sets of images in Parquet, Arrow and tar files, as Hugging Face datasets and WebDataset write them."""

import io
import json
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
from PIL import Image

NAMES = ("rose", "tulip", "lily")
LABELS = {"train": [0, 1, 0, 2, 1, 0, 0], "test": [2, 0, 1]}
FIRST = {"train": 10, "test": 100, "validation": 200}  # the shade of the first image


def png(shade):
    """An image of one colour, which identifies it."""
    content = io.BytesIO()
    Image.new("RGB", (24, 20), (shade, shade, shade)).save(content, "PNG")
    return content.getvalue()


def images(split, count):
    return [png(FIRST[split] + i) for i in range(count)]


def metadata(names):
    """What Hugging Face datasets keeps in a schema."""
    features = {"image": {"_type": "Image"}, "label": {"names": list(names), "_type": "ClassLabel"}}
    return {b"huggingface": json.dumps({"info": {"features": features}}).encode()}


def table(contents, labels, names=NAMES, label_type=None):
    """A table with the columns image (a struct) and label."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [None if one is None else {"bytes": one, "path": f"{i}.png"} for i, one in enumerate(contents)]
    made = pa.table({"image": pa.array(rows, kind), "label": pa.array(labels, label_type)})
    return made.replace_schema_metadata(metadata(names) if names else None)


def write_parquet(path, *args, row_group_size=3, **named):
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(table(*args, **named), path, row_group_size=row_group_size)
    return path


def write_arrow(folder, files):
    """A split as ``save_to_disk`` leaves it; ``files``: the tables, in order."""
    folder.mkdir(parents=True)
    names = [f"data-{i:05}-of-{len(files):05}.arrow" for i in range(len(files))]
    for name, one in zip(names, files, strict=True):
        with pyarrow.ipc.new_stream(str(folder / name), one.schema) as stream:
            stream.write_table(one, max_chunksize=2)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    return folder


def write_tar(path, members):
    """``members``: (name, bytes) in order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def samples(contents, labels, ending="cls"):
    """The members of a tar file: an image and its label, sample by sample."""
    return [
        member
        for i, (one, label) in enumerate(zip(contents, labels, strict=True))
        for member in ((f"{i:03}.png", one), (f"{i:03}.{ending}", str(label).encode()))
    ]


def shades(source):
    """The shade of each image of a source."""
    return source.images(np.arange(len(source)))[:, 8, 8, 0].tolist()
