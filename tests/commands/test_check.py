"""The check before a run finds and names everything that is wrong with a data set; the exit status tells errors."""

import json
import shlex
import types

import numpy as np
import pytest
from PIL import Image

from ltjax.commands.check import command as check
from ltjax.commands.check.advice import advice
from ltjax.commands.check.findings import class_findings, duplicate_findings, head_findings
from ltjax.commands.check.inspect_files import evenly_spread, inspect_file, inspect_files
from ltjax.commands.prepare import shards as prepare
from ltjax.data.dataset import Source, array_source
from ltjax.methods.configure import from_command_line
from tests.data.conftest import write_image
from tests.report.synthetic import results_of


def run(capsys, tmp_path, *arguments):
    """(exit status, what was printed, stderr, check.json or None)."""
    status = check.main([f"--out={tmp_path}/out", "--workers=1", *arguments])
    printed, complaints = capsys.readouterr()
    written = tmp_path / "out" / "check.json"
    return status, printed, complaints, json.loads(written.read_text()) if written.exists() else None


def found(report):
    """kind -> (level, items)."""
    return {one["kind"]: (one["level"], one["items"]) for one in report["findings"]}


@pytest.fixture
def roses(tmp_path):
    """A folder with nothing wrong: 5 roses and 3 tulips to train on, 1 and 1 to test on, none alike."""
    shade = iter(range(0, 200, 5))
    for split, counts in {"train": {"rose": 5, "tulip": 3}, "test": {"rose": 1, "tulip": 1}}.items():
        for name, count in counts.items():
            for number in range(count):
                write_image(tmp_path / "data" / split / name / f"{number}.jpg", next(shade), (300, 260))
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def blank(request, monkeypatch):
    """A figure takes a third of a second; one test draws it."""
    if request.function is not test_a_clean_folder_is_counted_drawn_and_left_as_it_is:
        monkeypatch.setattr(check, "_figure", lambda report: b"")


def state(folder):
    return sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*"))


def test_a_clean_folder_is_counted_drawn_and_left_as_it_is(roses, tmp_path, capsys):
    before = state(roses)
    status, printed, _, report = run(capsys, tmp_path, f"--folder={roses}")
    assert status == 0 and report["status"] == 0 and state(roses) == before
    assert report["counts"] == {"train": [5, 3], "test": [1, 1]} and report["class_names"] == ["rose", "tulip"]
    assert report["files"]["looked_at"] == {"train": 8, "test": 2} and report["files"]["modes"] == {"RGB": 10}
    assert report["files"]["short_side"] == [260, 260, 260] and report["files"]["long_side"] == [300, 300, 300]
    assert "8 images, 2 classes, 5 (rose) to 3 (tulip) a class, imbalance 1.7" in printed
    assert "many (by frequency, 5 a class): 1 class, 5 images\n" in printed
    assert "few (by frequency, 3 a class): 1 class, 3 images\n" in printed
    assert (tmp_path / "out" / "class_counts.png").read_bytes().startswith(b"\x89PNG")


def test_every_bad_file_is_named(roses, tmp_path, capsys):
    rose = roses / "train" / "rose"
    whole = (rose / "0.jpg").read_bytes()
    (rose / "empty.jpg").write_bytes(b"")
    (rose / "short.jpg").write_bytes(whole[: len(whole) // 2])
    (rose / "text.jpg").write_bytes(b"<html>not found</html>")
    (rose / ".DS_Store").write_bytes(b"x")
    write_image(rose / "really_png.jpg", 211, (300, 260), "PNG")
    status, printed, _, report = run(capsys, tmp_path, f"--folder={roses}", "--files=all")
    assert status == 1
    level, items = found(report)["unreadable"]
    assert level == "error" and [item.partition(": ")[0] for item in items] == [
        str(rose / name) for name in ("empty.jpg", "short.jpg", "text.jpg")
    ]
    assert "(0 bytes)" in items[0] and "truncated" in items[1] and "not an image" in items[2]
    assert all(f"\n  {item}\n" in printed for item in items)
    assert found(report)["ending"] == ("note", [f"{rose}/really_png.jpg: PNG"])
    assert any("1 x .DS_Store" in note for note in report["notes"])


def test_modes_and_odd_sizes_are_reported_and_no_errors(roses, tmp_path, capsys):
    tulip = roses / "train" / "tulip"
    Image.new("L", (300, 300), 7).save(tulip / "grey.png")
    Image.new("CMYK", (300, 300)).save(tulip / "cmyk.jpg")
    Image.new("RGBA", (300, 300), (9, 9, 9, 9)).save(tulip / "rgba.png")
    Image.new("P", (300, 300), 3).save(tulip / "palette.png")
    Image.fromarray(np.full((300, 300), 40000, np.uint16)).save(tulip / "deep.png")
    Image.new("RGB", (1, 1), "red").save(tulip / "dot.png")
    Image.new("RGB", (30000, 300), "red").save(tulip / "long.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (400, 300), "blue").save(tulip / "turned.jpg", exif=exif)
    status, _, _, report = run(capsys, tmp_path, f"--folder={roses}")
    assert status == 0  # all of them can be trained on
    assert report["files"]["modes"] == {"CMYK": 1, "I;16": 1, "L": 1, "P": 1, "RGB": 13, "RGBA": 1}
    assert report["files"]["formats"] == {"JPEG": 12, "PNG": 6} and report["files"]["rotated"] == 1
    kinds = found(report)
    assert [item.partition(": ")[0] for item in kinds["small"][1]] == [str(tulip / "dot.png")]
    assert kinds["long"] == ("note", [f"{tulip}/long.png: 30000 x 300"])


def test_images_that_occur_twice_are_found(roses, tmp_path, capsys):
    train, test = roses / "train", roses / "test"
    (test / "rose" / "leak.jpg").write_bytes((train / "rose" / "1.jpg").read_bytes())
    (train / "tulip" / "both.jpg").write_bytes((train / "rose" / "2.jpg").read_bytes())
    (train / "rose" / "again.jpg").write_bytes((train / "rose" / "3.jpg").read_bytes())
    status, _, _, report = run(capsys, tmp_path, f"--folder={roses}")
    kinds = found(report)
    assert status == 1
    assert kinds["leak"] == ("error", [f"{test}/rose/leak.jpg (rose) is {train}/rose/1.jpg (rose)"])
    assert kinds["two_labels"] == ("error", [f"{train}/tulip/both.jpg (tulip) is {train}/rose/2.jpg (rose)"])
    assert kinds["repeat"] == ("note", [f"{train}/rose/again.jpg (rose) is {train}/rose/3.jpg (rose)"])
    assert run(capsys, tmp_path, f"--folder={roses}", "--allow=leak,two_labels")[0] == 0


def test_all_impossible_classes_of_a_folder_are_reported(roses, tmp_path, capsys):
    (roses / "train" / "aster").mkdir()
    write_image(roses / "test" / "weed" / "0.jpg", 230)
    status, printed, _, report = run(capsys, tmp_path, f"--folder={roses}")
    kinds = found(report)
    assert status == 1 and report["counts"]["train"] == [0, 5, 3]
    assert "aster: a class folder without an image" in printed and kinds["refused"][0] == "error"
    assert kinds["no_image"] == ("error", ["aster (class 0)"])
    assert kinds["label"][1] == [f"{roses}/test/weed/0.jpg: label 3"]


def test_all_impossible_labels_of_lists_are_reported(roses, tmp_path, capsys):
    (tmp_path / "train.txt").write_text("train/rose/0.jpg 0\ntrain/rose/1.jpg -1\ntrain/tulip/0.jpg 2\ngone.jpg 2\n")
    (tmp_path / "test.txt").write_text("test/rose/0.jpg 0\r\ntest/tulip/0.jpg 1\r\ntest/tulip/0.jpg 7\r\n")
    lists = [f"--list={tmp_path}/train.txt", f"--test-list={tmp_path}/test.txt", f"--root={roses}"]
    status, printed, _, report = run(capsys, tmp_path, *lists)
    assert status == 1 and "has label 7 here and 1 in line 2" in printed and "counts" not in report
    (tmp_path / "test.txt").write_text("test/rose/0.jpg 0\r\ntest/tulip/0.jpg 1\r\ntrain/tulip/1.jpg 7\r\n")
    status, _, _, report = run(capsys, tmp_path, *lists)
    kinds = found(report)
    assert status == 1 and report["counts"] == {"train": [1, 0, 2], "test": [1, 1, 0]}
    assert kinds["label"][1] == [
        f"{roses}/train/rose/1.jpg (line 2 of {tmp_path}/train.txt): label -1",
        f"{roses}/train/tulip/1.jpg (line 3 of {tmp_path}/test.txt): label 7",
    ]
    assert kinds["no_image"][1] == ["1 (class 1)"]
    assert kinds["unseen"][1] == [f"{roses}/test/tulip/0.jpg (line 2 of {tmp_path}/test.txt): label 1"]
    assert [item.partition(": ")[0] for item in kinds["absent"][1]] == [
        f"{roses}/gone.jpg (line 4 of {tmp_path}/train.txt)"
    ]


def test_the_folder_above_the_class_folders_is_noticed(roses, tmp_path, capsys):
    (roses / "test").rename(tmp_path / "test")
    status, printed, _, _ = run(capsys, tmp_path, f"--folder={roses}")
    assert status == 0  # train/ alone is the training folder
    (roses / "train").rename(roses / "flowers")
    status, printed, _, report = run(capsys, tmp_path, f"--folder={roses}")
    assert status == 1 and "one_class" in found(report) and "of one class, flowers" in printed


def test_many_items_are_shortened_on_the_screen_and_complete_in_the_file(roses, tmp_path, capsys):
    for number in range(14):
        (roses / "train" / "rose" / f"bad{number:02}.jpg").write_bytes(b"bad")
    _, printed, _, report = run(capsys, tmp_path, f"--folder={roses}")
    assert "... and 4 more" in printed and "bad10.jpg" not in printed and len(found(report)["unreadable"][1]) == 14


def test_images_in_memory_are_counted_and_compared(tmp_path, capsys):
    status, printed, _, report = run(capsys, tmp_path, "--config=configs/mnist5k_auxiliary.py")
    assert status == 0 and report["counts"]["train"] == [400, 265, 176, 116, 77, 51, 34, 22, 15, 10]
    assert "many (> 100): 4 classes, 957 images" in printed and "files" not in report


def test_bad_input_is_one_line_that_names_it(roses, tmp_path, capsys):
    for arguments, said in (
        ([f"--folder={tmp_path}/nowhere"], "cannot be read"),
        ([f"--list={tmp_path}/none.txt", f"--root={roses}"], "none.txt: no such file"),
        ([f"--list={tmp_path}/none.txt"], "--list needs --root"),
        ([f"--folder={roses}", "--files=some"], "--files"),
        ([f"--folder={roses}", "--fles=all"], "--fles"),
        ([f"--folder={roses}", "--allow=leaks"], "did you mean 'leak'?"),
        ([f"--folder={roses}", f"--out={roses}/out"], "is inside the data"),
        ([f"--folder={roses}", "--config.data.resize=9"], "config.data.resize"),
        ([f"--folder={roses}", f"--run={tmp_path}/none"], "results.json: no such file"),
        ([], "--config=FILE, --folder=DIR and --list=FILE"),
    ):
        status, _, complaints, report = run(capsys, tmp_path, *arguments)
        assert (status, report) == (2, None) and said in complaints and complaints.count("\n") == 1


def test_a_finished_run_with_another_head_is_an_error(roses, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "results.json").write_text(json.dumps(results_of([9, 5, 3])))
    status, printed, _, _ = run(capsys, tmp_path, f"--folder={roses}", f"--run={tmp_path}/run")
    assert status == 1 and f"error: {tmp_path}/run: its head has 3 classes, the data has 2 [head]" in printed


def test_file_names_that_are_not_utf8_are_printed_with_escapes(roses, tmp_path, capsys):
    (roses / "train" / "rose").rename(roses / "train" / "$a$ro\udcffse")
    (roses / "test" / "rose").rename(roses / "test" / "$a$ro\udcffse")
    (roses / "train" / "tulip" / "\udcfe.jpg").write_bytes(b"")
    status, printed, _, report = run(capsys, tmp_path, f"--folder={roses}")
    assert status == 1 and "tulip/\\xfe.jpg: the file is empty" in printed and report["counts"]["train"] == [5, 4]


def test_prepared_shards_are_checked_and_left_as_they_are(roses, tmp_path, capsys):
    short = roses / "train" / "rose" / "0.jpg"
    short.write_bytes(short.read_bytes()[:900])
    assert prepare.main([f"--folder={roses}", f"--out={tmp_path}/shards", "--workers=1", "--shards=1"]) == 0
    before = state(tmp_path / "shards")
    shards = ["--config=configs/folder_ce.py", "--config.data.name=shards", f"--config.data.dir={tmp_path}/shards"]
    status, _, _, report = run(capsys, tmp_path, *shards)
    assert (
        status == 1 and report["counts"] == {"train": [5, 3], "test": [1, 1]} and state(tmp_path / "shards") == before
    )
    (item,) = found(report)["unreadable"][1]
    assert "train-00000-of-00001.array_record, record 0 of the shard: truncated or corrupt JPEG" in item


def test_public_lists_are_counted_without_their_images(tmp_path, capsys):
    data = tmp_path / "places"
    data.mkdir()
    for split in ("train", "test"):
        (data / f"Places_LT_{split}.txt").write_text("".join(f"{split}/{k}/1.jpg {k}\n" for k in range(365)))
    status, printed, _, report = run(capsys, tmp_path, "--config=configs/places_ce.py", f"--config.data.dir={data}")
    assert status == 1 and report["counts"]["train"] == [1] * 365 and len(found(report)["absent"][1]) == 730
    assert "error: 730 files are missing" in printed


def test_a_head_is_compared_by_classes_names_and_images():
    data = types.SimpleNamespace(num_classes=2, class_names=("rose", "tulip"), fingerprint="ab")
    same = {"class_counts": [5, 3], "class_names": ["rose", "tulip"], "train_index_sha256": "ab"}
    assert head_findings(data, same, "RUN") == []
    kinds = [one.kind for one in head_findings(data, same | {"class_names": ["rose", "aster"]}, "RUN")]
    assert kinds == ["head_names"]
    (one,) = head_findings(data, same | {"class_counts": [1, 1, 1], "class_names": None}, "RUN")
    assert one.kind == "head" and "3 classes" in one.message and "2" in one.message
    assert [one.kind for one in head_findings(data, same | {"train_index_sha256": "cd"}, "RUN")] == ["other_data"]


def test_classes_smaller_than_a_draw_are_noted():
    data = types.SimpleNamespace(
        train=array_source(np.zeros((5, 1, 1, 1), np.uint8), [0, 0, 0, 0, 2], range(5)),
        class_counts=np.array([4, 0, 1]), class_names=None, num_classes=3,
        test=array_source(np.zeros((1, 1, 1, 1), np.uint8), [0], [0]), validation=None, split="test",
    )  # fmt: skip
    kinds = {one.kind: one for one in class_findings(data, images_per_class=4)}
    assert set(kinds) == {"no_image", "small_class"} and kinds["small_class"].level == "note"
    assert kinds["small_class"].items == ("2 (class 2): 1 image",)
    assert [one.kind for one in class_findings(data, images_per_class=None)] == ["no_image"]


def test_duplicates_are_told_apart_by_split_and_label():
    source = Source(np.array([0, 0, 1, 1], np.int32), np.arange(4), lambda i: None)
    splits = {"train": source, "test": source}
    hashes = {"train": {0: b"a", 1: b"a", 2: b"a", 3: b"b"}, "test": {0: b"b", 1: b"b", 2: b"c"}}
    kinds = {one.kind: one.items for one in duplicate_findings(splits, hashes, str)}
    assert len(kinds["leak"]) == 2 and len(kinds["two_labels"]) == 1 and len(kinds["repeat"]) == 1


def test_a_sample_is_evenly_spread_with_both_ends():
    assert evenly_spread(5, 10).tolist() == [0, 1, 2, 3, 4]
    chosen = evenly_spread(1000, 10)
    assert len(set(chosen.tolist())) == 10 and chosen[0] == 0 and chosen[-1] == 999
    assert evenly_spread(0, 10).tolist() == []


def test_worker_processes_see_what_one_process_sees(roses):
    from ltjax.data.storage.image_files import ImageFiles
    from ltjax.data.storage.packed_names import PackedNames

    names = PackedNames.of([f"train/rose/{i}.jpg" for i in range(6)])  # the last is not there
    files = {"train": ImageFiles(str(roses), names)}
    records = {"train": np.arange(6)}
    one, two = (inspect_files(files, records, workers, files_per_job=2) for workers in (1, 2))
    assert one == two and one["train"][5].fault == "No such file or directory" and one["train"][0].width == 300


def test_whatever_a_reader_raises_is_a_fault():
    def broken(record):
        raise RuntimeError("no\nluck")

    assert inspect_file(broken, 0).fault == "RuntimeError: no"


# ------------------------------------------------------------------------------------------------- which method to use


def configs_of(lines):
    return [word.removeprefix("--config=") for line in lines for word in shlex.split(line) if "--config=" in word]


@pytest.mark.parametrize(
    ("counts", "side", "expected", "says"),
    [
        ([640, 100, 26], 208, ["baselines.py:balanced_softmax", "ce.py", "decoupling.py:crt,cached",
                               "features.py"], "pretrained"),
        ([640, 100, 26], 100, ["baselines.py:balanced_softmax,image_size=128", "ce.py:image_size=128",
                               "decoupling.py:crt,cached,image_size=128", "features.py"], "pretrained"),
        ([9, 8, 8], None, ["ce.py", "features.py"], "nearly balanced"),
        ([640, 100, 2], None, ["baselines.py:balanced_softmax", "ce.py", "decoupling.py:crt,cached",
                               "features.py"], "merge classes"),
        ([60000, 100, 26], 500, ["baselines.py:balanced_softmax", "ce.py", "decoupling.py:crt,cached"], "resnet50"),
        ([640, 100, 26], 32, ["baselines.py:balanced_softmax,image_size=32,backbone=resnet32",
                              "ce.py:image_size=32,backbone=resnet32",
                              "decoupling.py:crt,cached,image_size=32,backbone=resnet32"], "balanced softmax first"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("recipe", ["folder", "list"])
def test_the_advice_follows_what_was_found_and_its_commands_are_runs(counts, side, expected, says, recipe):
    flags = ["--config.data.dir=my photos", "--config.data.train_list=train.txt"]
    lines = advice(counts, side, "python -m ltjax.main", recipe, flags)
    assert configs_of(lines) == [f"configs/{recipe}_{name}" for name in expected]
    assert len(lines) <= 10 and any(says in line for line in lines)
    for line in lines:
        if "ltjax.main" in line:
            settings, workdir = from_command_line(shlex.split(line)[3:])
            assert settings.data.dir.endswith("my photos") and workdir.startswith("runs/")
            assert workdir != settings.features.dir


def test_the_advice_is_printed_and_kept_for_the_user_s_images_only(roses, tmp_path, capsys):
    _, printed, _, report = run(capsys, tmp_path, f"--folder={roses}", "--config.data.test_fraction", "0.3")
    assert report["advice"][0].startswith(
        "which method? 2 classes, imbalance 1.7, rarest class 3 images, 8 images in all"
    )
    assert f"--config.data.dir={roses} --config.data.test_fraction=0.3" in report["advice"][2]
    assert printed.endswith("\n".join(report["advice"]) + "\n")
    _, printed, _, report = run(capsys, tmp_path, "--config=configs/mnist5k_ce.py")
    assert report["advice"] == [] and "which method" not in printed
