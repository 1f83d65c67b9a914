"""predict at scale: what it reads, formats, a kill at any moment, other class distributions, several processes."""

import contextlib
import csv
import itertools
import json
import os
import shutil

import numpy as np
import pytest
from scipy.special import softmax

from ltjax import models
from ltjax.classifiers import estimate_prior
from ltjax.commands import predict
from ltjax.commands.adjustment import Adjustment
from ltjax.commands.predict import parts as stored
from ltjax.commands.predict import work
from ltjax.commands.predict.batches import Spans
from ltjax.commands.predict.inputs import Reader, find_images
from ltjax.commands.predict.network import choose
from ltjax.data.storage.packed_names import PackedNames
from ltjax.errors import InputError
from ltjax.inference.preprocessing import check_shape
from ltjax.training import loop, prepare
from ltjax.training.finished_run import open_model
from tests.training import toy

COUNTS = np.array(toy.COUNTS, float)
NUMBER = 21  # images; batches have 8


@pytest.fixture(scope="module", autouse=True)
def toys():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "build", toy.build)
        patch.setitem(models.BACKBONES, "toy", toy.Backbone)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run")
    loop.train(toy.config(epochs=1, optimizer__learning_rate=0.003), str(workdir))
    return workdir


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """21 pictures of 8 x 8 pixels."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    from PIL import Image

    for i in range(NUMBER):
        pixels = rng.integers(0, 64, (8, 8), dtype=np.uint8) + np.uint8(60 * (i % 3))
        Image.fromarray(pixels).save(folder / f"{i:02}.png")
    return folder


@pytest.fixture(scope="module")
def logits(run, photos):
    """Of the pictures and of their mirror images, by the network itself."""
    from PIL import Image

    finished = open_model(str(run), {})
    images = np.stack([np.asarray(Image.open(photos / f"{i:02}.png")) for i in range(NUMBER)])[..., None]
    both = [finished.stage.predict(finished.variables, one) for one in (images, images[:, :, ::-1])]
    return [np.asarray(one, np.float64) for one in both]


def rows(run, photos, tmp_path, *flags):
    out = tmp_path / "out.csv"
    assert predict.main([f"--run={run}", str(photos), f"--out={out}", *flags]) == 0
    return list(csv.DictReader(out.open()))


def shares(row):
    return [float(row[f"probability_{k}"]) for k in (1, 2, 3)]


def agree(found, probabilities):
    assert len(found) == len(probabilities)
    for row, expected in zip(found, probabilities, strict=True):
        assert [int(row[f"class_{k}"]) for k in (1, 2, 3)] == np.argsort(-expected, kind="stable").tolist()
        np.testing.assert_allclose(shares(row), -np.sort(-expected), atol=3e-6)


# ---------------------------------------------------------------------------------------------------- what it computes


def test_temperature_prior_and_mirror_images(run, photos, logits, tmp_path):
    plain, mirrored = logits
    agree(rows(run, photos, tmp_path), softmax(plain, 1))
    agree(rows(run, photos, tmp_path, "--temperature=2"), softmax(plain / 2, 1))
    uniform = softmax(plain / 2 - np.log(COUNTS), 1)
    agree(rows(run, photos, tmp_path, "--temperature=2", "--test-prior=uniform"), uniform)
    agree(rows(run, photos, tmp_path, "--logit-adjustment=1.5"), softmax(plain - 1.5 * np.log(COUNTS), 1))
    agree(rows(run, photos, tmp_path, "--tta=flip"), (softmax(plain, 1) + softmax(mirrored, 1)) / 2)
    (tmp_path / "prior.csv").write_text("class,count\n0,1\n1,0\n2,3\n")
    changed = softmax(plain - np.log(COUNTS) + np.log([1, 1e-30, 3]), 1)
    agree(rows(run, photos, tmp_path, f"--test-prior={tmp_path / 'prior.csv'}"), changed)


@pytest.mark.parametrize("numbers", [work.NUMBERS, 30])  # of all images, and of ten
def test_the_class_distribution_is_estimated_from_the_images(
    run, photos, logits, tmp_path, monkeypatch, capsys, numbers
):
    monkeypatch.setattr(work, "NUMBERS", numbers)
    used = np.linspace(0, NUMBER - 1, 10).astype(int) if numbers == 30 else np.arange(NUMBER)
    prior = estimate_prior(softmax(logits[0], 1)[used], COUNTS)
    expected = softmax(logits[0] + np.log(np.maximum(prior, 1e-30) / COUNTS), 1)
    found = rows(run, photos, tmp_path, "--test-prior=estimate")
    for row, one in zip(found, expected, strict=True):
        np.testing.assert_allclose(shares(row), -np.sort(-one), atol=2e-4)
    capsys.readouterr()
    assert predict.main([f"--run={run}", str(photos), "--test-prior=estimate"]) == 0
    assert [line.split("\t")[1].split()[0] for line in capsys.readouterr().out.splitlines()] == [
        row["class_1"] for row in found
    ]


def test_none_of_them(run, photos, tmp_path, capsys):
    plain = rows(run, photos, tmp_path)
    threshold = sorted(shares(row)[0] for row in plain)[10]
    found = rows(run, photos, tmp_path, f"--threshold={threshold:.6f}")
    expected = [row["class_1"] if shares(row)[0] >= threshold - 1e-6 else "none of them" for row in plain]
    assert sum(a["prediction"] != b for a, b in zip(found, expected, strict=True)) <= 1  # the one at the threshold
    assert 8 <= sum(row["prediction"] == "none of them" for row in found) <= 11
    capsys.readouterr()
    assert predict.main([f"--run={run}", str(photos / "00.png"), "--threshold=1"]) == 0
    assert capsys.readouterr().out.split("\t")[1] == "none of them"


def test_formats_have_the_same_rows(run, photos, tmp_path):
    expected = rows(run, photos, tmp_path, "--threshold=0.5")
    out = tmp_path / "out.jsonl"
    assert predict.main([f"--run={run}", str(photos), f"--out={out}", "--threshold=0.5"]) == 0
    found = [json.loads(line) for line in out.read_text().splitlines()]
    for line, row in zip(found, expected, strict=True):
        assert line["path"] == row["path"]
        assert [one["class"] for one in line["classes"]] == [row[f"class_{k}"] for k in (1, 2, 3)]
        assert [one["probability"] for one in line["classes"]] == shares(row)
        assert (line["prediction"] or "none of them") == row["prediction"]
    parquet = pytest.importorskip("pyarrow.parquet", reason="pip install ltjax[parquet]")
    out = tmp_path / "out.parquet"
    assert predict.main([f"--run={run}", str(photos), f"--out={out}", "--threshold=0.5"]) == 0
    table = parquet.read_table(out).to_pylist()
    assert [row["path"] for row in table] == [row["path"] for row in expected]
    assert [row["prediction"] or "none of them" for row in table] == [row["prediction"] for row in expected]
    np.testing.assert_allclose([row["probability_2"] for row in table], [shares(row)[1] for row in expected], atol=1e-6)


# ------------------------------------------------------------------------------------------------------- what it reads


def test_lists_globs_and_shards_name_the_same_images(photos, tmp_path, monkeypatch):
    names = [f"{i:02}.png" for i in range(NUMBER)]
    lines = [f'"{name}" 3' if i % 2 else f"./{name}\t-1" for i, name in enumerate(names[:-2])]
    (tmp_path / "list.txt").write_text("\ufeff" + "\r\n".join([*lines, "", names[-2], f"{names[-1]} "]))
    listed = find_images([str(tmp_path / "list.txt")], str(photos))
    assert [name.removeprefix("./") for name in listed.names] == names
    globbed = find_images([f"{photos}/*.png"])
    assert [os.path.basename(name) for name in globbed.names] == names
    several = find_images([str(photos / "03.png"), f"{photos}/0[1-2].png", str(tmp_path / "list.txt")], str(photos))
    content = [(photos / name).read_bytes() for name in names]
    assert [several(i) for i in range(len(several))] == [content[3], content[1], content[2], *content]
    from ltjax.commands.prepare import shards

    (tmp_path / "train.txt").write_text("".join(f"{name} {i % 2}\n" for i, name in enumerate(names)))
    command = [f"--list={tmp_path / 'train.txt'}", f"--root={photos}", f"--out={tmp_path / 'shards'}", "--workers=1"]
    assert shards.main(command) == 0
    packed = find_images([str(tmp_path / "shards")])
    assert sorted(zip(packed.names, map(packed, range(NUMBER)), strict=True)) == list(zip(names, content, strict=True))


def test_files_that_are_missing_from_a_list(run, photos, tmp_path, capsys):
    path = tmp_path / "list.txt"
    path.write_text("00.png 0\nno.png 0\n01.png 1\n")
    assert predict.main([f"--run={run}", str(path)]) == 2
    error = capsys.readouterr().err
    assert f"00.png (line 1 of {path}): missing, and so are all checked" in error and "--root" in error
    command = [f"--run={run}", str(path), f"--root={photos}", f"--out={tmp_path / 'out.csv'}"]
    assert predict.main(command) == 2
    assert "error: no.png cannot be read: No such file or directory; --on-error=skip" in capsys.readouterr().err
    assert predict.main([*command, "--on-error=skip"]) == 0
    printed = capsys.readouterr()
    assert "2 images" in printed.out and "left out 1 of 3 images" in printed.err


@pytest.mark.parametrize(
    "flags, says",
    [
        (["--threshold=0"], "--threshold: impossible value 0.0; allowed: a probability above 0, up to 1"),
        (["--threshold=1.1"], "--threshold: impossible value 1.1"),
        (["--threshold=nan"], "--threshold: impossible value nan"),
        (["--workers=-1"], "--workers: impossible value -1; allowed: an integer >= 0"),
        (["--test-prior=uniform", "--logit-adjustment=1"], "give one of them"),
        (["FOLDER/*.tif"], "no image matches; correct the pattern"),
        (["--out=FOLDER"], "is a folder; name a file in it"),
    ],
)
def test_mistakes_are_one_line(run, photos, capsys, flags, says):
    assert predict.main([f"--run={run}", str(photos), *(flag.replace("FOLDER", str(photos)) for flag in flags)]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_a_disk_that_is_full_keeps_the_rows_and_the_next_command_goes_on(run, photos, tmp_path, monkeypatch, capsys):
    rows(run, photos, tmp_path)
    whole, out = (tmp_path / "out.csv").read_bytes(), tmp_path / "again.csv"
    write, written = stored.write_atomically, []

    def full(path, content):
        written.append(path)
        if len(written) == 3:  # about.json, the first block
            raise OSError(28, "No space left on device", str(path))
        write(path, content)

    monkeypatch.setattr(stored, "write_atomically", full)
    command = [f"--run={run}", str(photos), f"--out={out}"]
    assert predict.main(command) == 1
    error = capsys.readouterr().err
    assert "No space left on device" in error and f"the rows of 8 images are kept in {out}.parts" in error
    monkeypatch.setattr(stored, "write_atomically", write)
    assert predict.main([*command, "--top=2"]) == 2
    assert "again.csv.parts: was begun with another --top (3, now 2)" in capsys.readouterr().err
    (tmp_path / "fewer.txt").write_text("00.png")
    assert predict.main([f"--run={run}", str(photos / "00.png"), f"--out={out}"]) == 2
    assert "another number of images (21, now 1)" in capsys.readouterr().err
    assert predict.main(command) == 0
    assert out.read_bytes() == whole and not (tmp_path / "again.csv.parts").exists()


def test_a_folder_that_cannot_be_written_ends_it_before_anything_is_computed(
    run, photos, tmp_path, monkeypatch, capsys
):
    def refused(self, *args, **options):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(stored.pathlib.Path, "mkdir", refused)
    monkeypatch.setattr(work, "write_all", None)
    assert predict.main([f"--run={run}", str(photos), f"--out={tmp_path / 'out.csv'}"]) == 1
    assert "out.csv.parts: Permission denied" in capsys.readouterr().err


# -------------------------------------------------------------------------------------------------- kills and processes


@pytest.mark.parametrize("flags", [[], ["--test-prior=estimate", "--on-error=skip", "--out=OUT.jsonl"]])
def test_it_can_be_killed_at_any_write_and_the_file_is_the_same(run, photos, tmp_path, monkeypatch, capsys, flags):
    """Every write of a file is the last one once; the next command goes on there."""
    suffix = ".jsonl" if flags else ".csv"
    more = [flag for flag in flags if not flag.startswith("--out")]
    images = [str(photos)]
    if flags:
        (tmp_path / "broken.png").write_bytes(b"no picture")
        images.append(str(tmp_path / "broken.png"))
    whole, out = tmp_path / f"whole{suffix}", tmp_path / f"out{suffix}"
    assert predict.main([f"--run={run}", *images, f"--out={whole}", *more]) == 0
    write, kills = stored.write_atomically, 0

    class Killed(BaseException):
        pass

    def killed(path, content):
        write(path, content)
        raise Killed

    for module in (stored, work):
        monkeypatch.setattr(module, "write_atomically", killed)
    monkeypatch.setattr(stored.Parts, "remove_if_empty", lambda self: None)  # a killed process does not tidy up
    while not out.exists():
        with contextlib.suppress(Killed):
            predict.main([f"--run={run}", *images, f"--out={out}", *more])
        kills += 1
        assert kills < 15
    # about.json and three blocks; with the estimate also three of logits, the unreadable image, and the prior
    assert kills == (9 if flags else 4) + 1
    assert out.read_bytes() == whole.read_bytes()


def test_blocks_are_shared_and_cut_into_batches():
    spans = Spans((0, 2), block=5, batch=2, total=13)
    assert [spans[i] for i in range(len(spans))] == [(0, 2), (2, 4), (4, 5), (10, 12), (12, 13), (13, 13)]


def test_packed_names_take_any_iterable():
    assert list(PackedNames.of(str(i) for i in range(3))) == ["0", "1", "2"] and len(PackedNames.of([])) == 0


@pytest.mark.parametrize("workers", [2])
def test_worker_processes_read_the_same(run, photos, tmp_path, workers):
    expected = rows(run, photos, tmp_path)
    assert rows(run, photos, tmp_path, f"--workers={workers}") == expected


def test_the_same_names_in_another_folder_are_other_images(photos, tmp_path, monkeypatch):
    """So that the rows of an interrupted command are not mixed with those of other images."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "00.png").write_bytes((photos / "00.png").read_bytes())
    (tmp_path / "list.txt").write_text("00.png\n")
    command = [str(tmp_path / "list.txt")]
    assert find_images(command, str(tmp_path / "a")).folders == ((0, f"{tmp_path}/a"),)
    assert find_images(command, str(tmp_path / "b")).folders == ((0, f"{tmp_path}/b"),)
    monkeypatch.chdir(tmp_path / "b")
    assert find_images(["00.png", "00.png"]).folders == ((0, f"{tmp_path}/b"),)
    assert find_images([f"{tmp_path}/a/00.png"]).folders == ((0, ""),)
    assert find_images([f"{tmp_path}/a", "00.png"]).folders == ((0, ""), (1, f"{tmp_path}/b"))


def test_an_interrupted_command_does_not_go_on_with_another_root(run, photos, tmp_path, monkeypatch, capsys):
    (tmp_path / "list.txt").write_text("00.png\n")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "00.png").write_bytes((photos / "00.png").read_bytes())
    command = [f"--run={run}", str(tmp_path / "list.txt"), f"--out={tmp_path / 'out.csv'}"]
    monkeypatch.setattr(stored.Parts, "join", lambda *args: None)  # the folder stays
    assert predict.main([*command, f"--root={photos}"]) == 0
    assert predict.main([*command, f"--root={tmp_path / 'b'}"]) == 2
    assert f"another folder of the images ({photos}, now {tmp_path / 'b'})" in capsys.readouterr().err


def test_the_unreadable_images_of_an_interrupted_block_are_replaced(tmp_path):
    parts = stored.open_parts(str(tmp_path / "out.csv"), {}, total=4, block=2, first=True)
    parts.write_skipped(0, [(0, "a.png", "empty"), (1, "b.png", "empty")])
    parts.write_skipped(1, [(2, "c.png", "empty")])
    parts.write_skipped(0, [(1, "b.png", "empty")])  # a.png and c.png have arrived meanwhile
    parts.write_skipped(1, [])
    assert parts.skipped() == [(1, "b.png", "empty")]


def test_others_wait_for_the_first_process_as_long_as_it_is_alive(tmp_path, monkeypatch):
    parts = stored.open_parts(str(tmp_path / "out.csv"), {}, total=1, block=1, first=True)
    clock, path = itertools.count(step=stored.PATIENCE / 2), parts.folder / "prior.json"
    monkeypatch.setattr(stored.time, "monotonic", lambda: float(next(clock)))
    beats = []

    def sleep(seconds):
        beats.append(seconds)
        os.utime(parts.folder / "alive", ns=(0, len(beats)))
        if len(beats) == 9:
            path.write_text("[]")

    monkeypatch.setattr(stored.time, "sleep", sleep)
    (parts.folder / "alive").touch()
    parts.wait_for_file(path)
    assert len(beats) == 9
    path.unlink()
    monkeypatch.setattr(stored.time, "sleep", lambda seconds: None)
    with pytest.raises(InputError, match="the first process has not written it"):
        parts.wait_for_file(path)


def test_a_process_shows_that_it_is_alive(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "BEAT", 0.001)
    parts = stored.open_parts(str(tmp_path / "out.csv"), {}, total=1, block=1, first=True)
    with parts.alive():
        while not (parts.folder / "alive").exists():
            pass
        first = (parts.folder / "alive").stat().st_mtime_ns
        while (parts.folder / "alive").stat().st_mtime_ns == first:
            pass
    assert [path.name for path in parts.folder.iterdir()] == ["about.json"]


def test_the_estimated_distribution_is_shown():
    before, after = np.array([0.7, 0.2, 0.1]), np.array([0.3, 0.25, 0.45])
    adjustment = Adjustment(1.0, np.zeros(len(before)), np.log(after / before), before)
    line = work.shown_estimate(adjustment, ["rose", "tulip", "lily"])
    assert line.endswith("(in brackets): rose 30.0% (70.0%), lily 45.0% (10.0%), tulip 25.0% (20.0%)")


def test_an_estimate_that_has_collapsed_into_one_class_is_doubted():
    # a network that hardly trained: it sees a little of class 2 in every image, and predicts that for none
    logits = np.log(np.random.default_rng(0).dirichlet([5, 5, 0.1], 300) * 0.9 + [0, 0, 0.1])
    base = Adjustment(1.0, np.zeros(3), np.zeros(3), np.array([0.499, 0.499, 0.002]))
    line = work.shown_estimate(base.with_estimate(logits), ["rose", "tulip", "lily"])
    assert (
        "\nwarning: the estimate puts 100.0% of the images in class 2, which the network alone predicts for 0" in line
    )
    calibrated = Adjustment(1.0, np.zeros(3), np.zeros(3), np.full(3, 1 / 3)).with_estimate(8.0 * np.eye(3)[[0] * 300])
    assert "warning" not in work.shown_estimate(calibrated, ["rose", "tulip", "lily"])


def test_rows_from_logits_share_one_program(run, photos, tmp_path, monkeypatch, capsys):
    made = []
    monkeypatch.setattr(work, "choose", lambda *args: made.append(args) or choose(*args))
    rows(run, photos, tmp_path, "--test-prior=estimate")
    assert len(made) == 1 and "estimated class distribution" in capsys.readouterr().err


def test_a_run_on_images_that_files_do_not_give_is_one_line(run, photos, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run")
    model = json.loads((run / "model.json").read_text())
    (tmp_path / "run" / "model.json").write_text(json.dumps(model | {"image_shape": (8, 4, 1)}))
    assert predict.main([f"--run={tmp_path}/run", str(photos)]) == 2
    error = capsys.readouterr().err
    assert "images of 4 x 8 pixels and 1 channels" in error and error.count("\n") == 1
    with pytest.raises(InputError, match="images of 8 x 8 pixels and 2 channels"):
        check_shape((8, 8, 2))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_reader_gives_what_a_loaded_model_gets(photos, tmp_path, channels):
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "colour.png")
    read = Reader(find_images([str(tmp_path)]), (8, 8, channels), 12)
    left = pixels[2:10, 4:12]
    expected = left if channels == 3 else np.round(left @ [0.299, 0.587, 0.114])[..., None]
    np.testing.assert_array_equal(read(0), expected)


@pytest.mark.parametrize(
    "line",
    ["{}\ttall lily", "{},rose", "{}, rose", '"{}",rose', "{},tall, lily", "{}\trose, red", "{},3", "{} 3", "{}\t3"],
)
def test_labels_in_lists_are_ignored(photos, tmp_path, line):
    (tmp_path / "a, b").mkdir()
    (tmp_path / "a, b" / "00.JPG").write_bytes(b"x")
    (tmp_path / "list.txt").write_text("\n".join([line.format("a, b/00.JPG"), "a, b/00.JPG"]))
    assert list(find_images([str(tmp_path / "list.txt")]).names) == ["a, b/00.JPG"] * 2
