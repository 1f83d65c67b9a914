"""Folders as people have them that are not folders of class folders, and what to do about each.

An archive of the web unpacks to one folder too many, images lie flat beside a table of labels, splits have names of
their own. Read as class folders these train on one class, or on "train" against "test": they are refused, with the
command that is probably meant.
"""

import os
import re
import shlex
import unicodedata
from collections.abc import Mapping, Sequence

from ltjax.data import image_formats
from ltjax.errors import MAX_QUOTED, InputError, shortened

# split -> names of its folder, in upper or lower case
SPLITS = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "validation": ("val", "valid", "validation"),
}
# what archives, disks and file managers leave behind: no class folders, and no part of one
LEFTOVERS = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found", "__pycache__")
CONTAINERS = {"images", "image", "imgs", "img", "jpg", "jpegimages", "data", "dataset", "datasets"}
ANNOTATIONS = {"masks", "mask", "labels", "label", "annotations", "annotation", "segmentations", "bboxes"}
TABLES = (".csv", ".tsv", ".xlsx", ".json", ".mat")
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".rar", ".7z")
FORMATS = {".parquet": "parquet", ".arrow": "arrow", ".tar": "webdataset"}  # images in larger files
DEPTH = 4  # levels of folders that are searched for class folders
BREADTH = 50  # folders of a level


def is_leftover(name: str) -> bool:
    """Whether a folder is hidden or of no data set: ``.ipynb_checkpoints``, ``__MACOSX``."""
    return name.startswith(".") or name in LEFTOVERS


def split_of(name: str) -> str | None:
    """The split that a folder of this name holds: ``TRAIN`` the training images.

    Example:
      >>> split_of("Valid"), split_of("train_images")
      ('validation', None)
    """
    return next((split for split, names in SPLITS.items() if name.lower() in names), None)


def split_like(name: str) -> str | None:
    """The split that a word of the name says.

    Example:
      >>> split_like("seg_train"), split_like("TestImages"), split_like("strain")
      ('train', 'test', None)
    """
    return next((split for word in _words(name) if (split := split_of(word))), None)


def _words(name: str) -> list[str]:
    return re.split("[^a-z]+", re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower())


def _subject(name: str) -> list[str]:
    """What the name of a split says beside the split; splits of one data set have the same.

    Example:
      >>> _subject("seg_train"), _subject("test_images"), _subject("test_tube")
      (['seg'], [], ['tube'])
    """
    return [word for word in _words(name) if word and not split_of(word) and word not in {*CONTAINERS, "set"}]


def subfolders(folder: str) -> list[str]:
    """The names of the folders inside, sorted, without leftovers; none if it cannot be read."""
    return sorted(name for name, is_folder in _inside(folder) if is_folder and not is_leftover(name))


def _inside(folder: str) -> list[tuple[str, bool]]:
    try:
        with os.scandir(folder) as entries:
            return [(entry.name, entry.is_dir()) for entry in entries]
    except OSError:
        return []


def _files(folder: str, endings: tuple[str, ...]) -> list[str]:
    return sorted(
        name
        for name, is_folder in _inside(folder)
        if not is_folder and not name.startswith(".") and name.lower().endswith(endings)
    )


def _images(folder: str) -> list[str]:
    return _files(folder, image_formats.endings())


def _has_image(folder: str) -> bool:
    """Whether an image lies in the folder itself; looks no further than the first."""
    endings = image_formats.endings()
    try:
        with os.scandir(folder) as entries:
            return any(
                entry.name.lower().endswith(endings) and not entry.name.startswith(".") and not entry.is_dir()
                for entry in entries
            )
    except OSError:
        return False


def _holds_images(folder: str) -> bool:
    """Whether an image lies in the folder or below it."""
    level = [folder]
    for _ in range(DEPTH):
        if any(map(_has_image, level)):
            return True
        level = [path for one in level for path in _paths(one)][:BREADTH]
    return False


def has_class_folders(folder: str) -> bool:
    """Whether at least two of the folders inside have images, and they are not splits."""
    names = [name for name in subfolders(folder) if _has_image(os.path.join(folder, name))]
    return len(names) > 1 and len({split_like(name) for name in names} - {None}) < 2


def _has_train(folder: str) -> bool:
    """Whether a training split of class folders lies inside."""
    return any(has_class_folders(path) for path in _paths(folder) if split_of(os.path.basename(path)) == "train")


def readable_below(folder: str) -> str | None:
    """The nearest folder, ``folder`` or one below it, with class folders or a training split of class folders."""
    level = [folder]
    for _ in range(DEPTH):
        for one in level:
            if has_class_folders(one) or _has_train(one):
                return one
        level = [path for one in level for path in _paths(one)][:BREADTH]
    return None


def folder_with(name: str, root: str) -> str | None:
    """The folder around ``root``, or the nearest one below it, that has a file of this relative path."""
    level = [os.path.dirname(os.path.abspath(root)), root]
    for _ in range(DEPTH):
        found = next((folder for folder in level if os.path.isfile(os.path.join(folder, name))), None)
        if found is not None:
            return found
        below = level[1:] if root in level else level  # not beside the root
        level = [os.path.join(one, inside) for one in below for inside in subfolders(one)][:BREADTH]
    return None


def use(folder: str) -> str:
    """The setting for another folder, as it is typed."""
    return f"--config.data.dir={_typed(folder)}"


def _move(source: str, target: str) -> str:
    return f"mv {_typed(source)} {_typed(target)}"


def _move_up(folder: str) -> str:
    """The command that moves the folders inside up."""
    return f"mv {_typed(folder)}/* {_typed(os.path.dirname(folder))}/ && rmdir {_typed(folder)}"


def _typed(path: str) -> str:
    return shlex.quote(path) if len(path) <= MAX_QUOTED else shortened(path)


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{shortened(name)}'" for name in names[:3]) + (", ..." if len(names) > 3 else "")


def _list_hint(folder: str, image: str) -> str:
    """How to write a list file; ``image`` is an example of its paths."""
    tables = _files(folder, TABLES)
    of = f" from {_quoted(tables[:1])}, which probably has the labels," if tables else ""
    return (
        f"write a list file{of} with a line such as '{shortened(image)} 0' for each image, and use it with "
        "--config=configs/list_ce.py --config.data.train_list=FILE"
    )


def refuse_unusual_splits(root: str) -> None:
    """Raises InputError where the folders of ``root`` look like splits, but are not ``train/`` of class folders."""
    names = subfolders(root)
    like = {name: os.path.join(root, name) for name in names if split_like(name)}
    others = [os.path.join(root, name) for name in names if name not in like]
    if not like:
        return
    of_images = [name for name, path in like.items() if _has_image(path)]
    flat = list(filter(split_of, of_images))
    if len(set(map(split_of, flat))) < 2 and not any(map(_has_image, others)):
        flat = of_images
    if len({split_like(name) for name in flat}) > 1 and (any(map(split_of, flat)) or _of_one_set(flat, flat)):
        first = next((name for name in flat if split_like(name) == "train"), flat[0])
        image = f"{first}/{_images(os.path.join(root, first))[0]}"
        raise InputError(
            f"{shortened(root)}: {_quoted(flat)} hold images but no class folders; move the images of each class into "
            f"a folder of its own, or {_list_hint(root, image)}"
        )
    places = {name: readable_below(path) for name, path in like.items()}
    deep = {name: place for name, place in places.items() if place is not None}
    train = [name for name in deep if split_like(name) == "train"]
    if not train or len(names) < 2:
        return
    classes = [name for name in of_images if split_like(name) == "train" and not split_of(name)]
    alone = not classes and not any(map(_holds_images, others))
    if alone or _of_one_set(train, [name for name, path in like.items() if _holds_images(path)]):
        _refuse_split_names(root, deep)


def _of_one_set(names: Sequence[str], others: Sequence[str]) -> bool:
    """Whether one of ``names`` and one of ``others`` are named as two splits of one data set."""
    return any(split_like(one) != split_like(two) and _subject(one) == _subject(two) for one in names for two in others)


def _refuse_split_names(root: str, deep: Mapping[str, str]) -> None:
    """Raises InputError for splits with other names; ``deep``: name -> the folder of its class folders."""
    moves: dict[str, str] = {}  # split -> the command, if one is needed
    more = []
    for name, place in sorted(deep.items(), key=lambda item: not split_of(item[0])):
        split = split_like(name) or ""
        target = os.path.join(root, name if split_of(name) else "val" if split == "validation" else split)
        if split in moves:
            more.append(name)
        elif os.path.dirname(place) == target:
            moves[split] = _move_up(place)
        else:
            moves[split] = "" if place == target else _move(place, target)
    looks = "looks like a split, which is called train, test or val; rename it"
    if len(deep) > 1:
        looks = "look like splits, which are called train, test and val; rename them"
    merge = f" and merge {_quoted(more)} into {'it' if len(moves) == 1 else 'them'}" if more else ""
    commands = " && ".join(sorted(filter(None, moves.values())))
    raise InputError(f"{shortened(root)}: {_quoted(list(deep))} {looks}{merge}: {commands}")


def refuse_misread(root: str, classes: Mapping[str, str], inner: Mapping[str, Sequence[str]], data_dir: str) -> None:
    """Raises InputError where folders of images are probably not classes, or are a single one.

    Args:
      root: the folder that was read.
      classes: its folders with images -> an example of their images, relative to ``root``.
      inner: those of them without an image of their own -> the folders inside, with images.
      data_dir: config.data.dir; ``root``, or its parent if there are splits.
    """
    shown, names = shortened(root), list(classes)
    wrapper = next((name for name in inner if _wraps(name, names, inner)), None)
    if wrapper is not None:
        _refuse_inner_splits(root, classes, inner, data_dir)
        path, kind = os.path.join(root, wrapper), _quoted(inner[wrapper])
        if root != data_dir:
            raise InputError(
                f"{shown}: '{shortened(wrapper)}' holds the class folders ({kind}), one level too deep; move "
                f"them up: {_move_up(path)}"
            )
        alone = "its only folder with images" if len(names) == 1 else "not a class beside the others"
        raise InputError(
            f"{shown}: '{shortened(wrapper)}' is {alone} and holds folders of images itself ({kind}), one level too "
            f"deep; use {use(readable_below(path) or path)}"
        )
    flat, annotations = ({name.lower() for name in names} & kind for kind in (CONTAINERS, ANNOTATIONS))
    if len(names) == 1 or (flat and annotations and len(flat) + len(annotations) == len(names)):
        what = f"only {_quoted(names)} holds images" if len(names) == 1 else f"{_quoted(names)} are no classes"
        example = os.path.relpath(os.path.join(root, next(iter(classes.values()))), data_dir)
        mend = "add a folder for each other class, or set config.data.dir to the folder that has them"
        if flat or split_like(names[0]) or _files(data_dir, TABLES):
            mend = _list_hint(data_dir, example)
        raise InputError(f"{shown}: {what}, but a run needs images of at least two classes in class folders; {mend}")


def _wraps(name: str, names: Sequence[str], inner: Mapping[str, Sequence[str]]) -> bool:
    """Whether a folder without an image of its own holds a data set, not a class."""
    inside = inner[name]
    copies = set(inside) & (set(names) - {name})
    if any(copies & set(inner[other]) for other in inner if other != name):
        copies = set()  # folders that every class has, such as 0, 1 and 2
    alone = len(names) == 1 or (name.lower() in CONTAINERS and len(inside) > 1)
    return alone or _has_splits(inside) or len(copies) > 1


def _has_splits(names: Sequence[str]) -> bool:
    return len({split_of(name) for name in names} - {None}) > 1


def _refuse_inner_splits(
    root: str, classes: Mapping[str, str], inner: Mapping[str, Sequence[str]], data_dir: str
) -> None:
    """Raises InputError for classes that each have splits; not for whole data sets beside each other."""
    names = [name for name, inside in inner.items() if _has_splits(inside)]
    if not names or len(classes) == 1 or any(_has_train(os.path.join(root, name)) for name in names):
        return
    splits = [name for name in inner[names[0]] if split_of(name)]
    example = " and ".join(f"{_typed(os.path.join(data_dir, split, names[0]))}/" for split in splits[:2])
    image = os.path.relpath(os.path.join(root, classes[names[0]]), data_dir)
    raise InputError(
        f"{shortened(root)}: {_quoted(names)} {'has' if len(names) == 1 else 'have'} splits inside "
        f"({_quoted(splits)}); put the splits outside, such as {example}, or {_list_hint(data_dir, image)}"
    )


def splits_beside(root: str) -> list[str]:
    """One line if ``root`` is a training split, and evaluation images in class folders lie beside it."""
    parent, name = os.path.split(os.path.abspath(root))
    if split_of(name) != "train":
        return []
    others = [one for one in subfolders(parent) if split_of(one) in ("test", "validation")]
    beside = [one for one in others if any(map(_has_image, _paths(os.path.join(parent, one))))]
    return [f"{root}: {_quoted(beside)} beside it is not read; for it, use {use(parent)}"] if beside else []


def unread_beside_splits(root: str) -> list[str]:
    """One line if folders of ``root`` that are no splits hold images: classes beside one called train, perhaps."""
    others = [one for one in subfolders(root) if not split_of(one) and _holds_images(os.path.join(root, one))]
    return [f"{root}: {_quoted(others)} beside train/ hold images, which are not read"] if others else []


def _paths(folder: str) -> list[str]:
    return [os.path.join(folder, name) for name in subfolders(folder)]


def refuse_flat(root: str) -> None:
    """Raises InputError for a folder without any class folder."""
    refuse_formats(root)
    shown, images, archives = shortened(root), _images(root), _files(root, ARCHIVES)
    if images:
        parent = os.path.dirname(os.path.abspath(root))
        up = f"use {use(parent)}, or " if has_class_folders(parent) else ""
        raise InputError(
            f"{shown}: holds images but contains no class folders; {up}move the images of each class into a folder of "
            f"its own, or {_list_hint(root, images[0])}"
        )
    if archives:
        raise InputError(f"{shown}: contains no class folders; unpack {_quoted(archives)} first")
    raise InputError(f"{shown}: contains no class folders; it needs folders of images, such as rose/ and tulip/")


def refuse_formats(root: str) -> None:
    """Raises InputError where the folder, or one inside, holds images in larger files; names the word for them."""
    for folder in (root, *_paths(root)):
        for ending, word in FORMATS.items():
            found = _files(folder, (ending,))
            if found:
                mend = f"write the word :format={word} behind the config file (--format={word} of check and prepare)"
                mend = f"unpack it, or for samples of images and labels {mend}" if ending == ".tar" else mend
                raise InputError(f"{shortened(folder)}: contains no class folders, but {_quoted(found)}; {mend}")


def alike(name: str) -> str:
    """The name without what people change by mistake: case, spaces, underscores, composed letters.

    Example:
      >>> alike("Red_Rose ") == alike("red rose")
      True
    """
    return " ".join(re.split(r"[\s_\-]+", unicodedata.normalize("NFC", name).casefold())).strip()


def refuse_unknown_classes(root: str, unknown: Sequence[str], classes: Sequence[str]) -> None:
    """Raises InputError for class folders that the training images do not have, with the names probably meant."""
    known = {alike(name): name for name in classes}
    renamed = [(name, known[alike(name)]) for name in unknown if alike(name) in known]
    count = f"({len(unknown)} such folders)"
    where = shortened(os.path.join(root, unknown[0]))
    if renamed:
        name, meant = renamed[0]
        moves = " && ".join(_move(os.path.join(root, old), os.path.join(root, new)) for old, new in renamed[:3])
        raise InputError(
            f"{shortened(os.path.join(root, name))}: the training images call this class '{shortened(meant)}' {count}; "
            f"rename it: {moves}"
        )
    inside = subfolders(os.path.join(root, unknown[0]))
    if len(unknown) == 1 and set(inside) & set(classes):
        path = os.path.join(root, unknown[0])
        raise InputError(
            f"{where}: holds the class folders ({_quoted(inside)}), one level too deep; move them up: {_move_up(path)}"
        )
    raise InputError(
        f"{where}: the training images have no class folder of this name {count}; add it there, or remove it here"
    )
