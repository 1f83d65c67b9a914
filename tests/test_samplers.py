"""The public face of the samplers: the records of a run, in any order, under other projects' loaders."""

import pickle

import numpy as np
import pytest

from ltjax import class_counts, samplers
from ltjax.data.sampling.counter_rng import name_id

COUNTS = (60, 30, 9, 1)
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(4), COUNTS))


def made(name):
    return samplers.Records(samplers.SAMPLERS[name](epochs=10, batch_size=16), LABELS, seed=5)


@pytest.mark.parametrize("name", samplers.SAMPLERS)
def test_records_are_those_of_a_run_with_this_seed(name):
    sampler = samplers.SAMPLERS[name](epochs=10, batch_size=16)
    expected = sampler.draw(sampler.tables(LABELS, 4), 5, name_id("image"), 7, np.arange(100))
    got = made(name)(np.arange(100), epoch=7)
    assert got.dtype == np.int32
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name", samplers.SAMPLERS)
def test_a_record_depends_on_its_position_alone(name):
    records = made(name)
    together = records(np.arange(100), epoch=3)
    shuffled = np.random.default_rng(1).permutation(100).reshape(10, 10)
    np.testing.assert_array_equal(records(shuffled, epoch=3), together[shuffled])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(records))(np.arange(100), epoch=3), together)
    assert (records(np.arange(100), epoch=4) != together).any()


def test_another_seed_or_stream_draws_other_records():
    def drawn(**options):
        return samplers.Records(samplers.class_balanced(), LABELS, **options)(range(100)).tolist()

    assert drawn() == drawn(seed=0, stream="image", num_classes=4)
    assert len({tuple(drawn(**options)) for options in ({}, {"seed": 1}, {"stream": "second"})}) == 3


def test_batches_are_the_epoch_in_order_and_any_of_them_at_once():
    records = made("instance_balanced")
    whole = records(range(100), epoch=2)
    batches = records.batches(32, epoch=2)
    assert len(batches) == 3 and [len(batch) for batch in batches] == [32] * 3
    np.testing.assert_array_equal(np.concatenate(batches), whole[:96])
    kept = records.batches(32, epoch=2, drop_last=False)
    assert len(kept) == 4 and len(kept[-1]) == 4
    assert sorted(np.concatenate(kept).tolist()) == list(range(100))
    np.testing.assert_array_equal(np.stack(batches[1:]), np.stack([batches[1], batches[2]]))
    np.testing.assert_array_equal(list(batches)[1], batches[1])  # a second pass over them is the first again
    with pytest.raises(IndexError):
        batches[3]


STRATEGIES = {
    "instance_balanced": "instance",
    "class_balanced": "class",
    "square_root": "square_root",
    "progressive": "progressive",
    "progressive_paper": "progressive",
    "reversed": "reversed",
}


@pytest.mark.parametrize(("name", "strategy"), STRATEGIES.items())
def test_classes_come_with_the_probabilities_of_class_counts(name, strategy):
    labels = LABELS[made(name)(np.arange(40_000) if name != "instance_balanced" else np.arange(100), epoch=5)]
    expected = class_counts.sampling_probabilities(COUNTS, strategy, progress=5 / (10 if "paper" in name else 9))
    np.testing.assert_allclose(np.bincount(labels) / len(labels), expected, atol=0.01)


def test_hosts_that_take_every_other_position_share_the_epoch():
    records, positions = made("instance_balanced"), np.arange(100)
    shares = [records(positions[host::4], epoch=1) for host in range(4)]
    assert sorted(np.concatenate(shares).tolist()) == list(range(100))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: samplers.Records(samplers.class_balanced(), [[0, 1]]), r"labels: expected integers \[N\]"),
        (lambda: samplers.Records(samplers.class_balanced(), [0.5]), "labels: expected integers"),
        (lambda: samplers.Records(samplers.class_balanced(), []), "labels: expected integers"),
        (lambda: samplers.Records(samplers.class_balanced(), [-1, 0, 1]), "labels: -1 is negative; classes are"),
        (lambda: samplers.Records(samplers.class_balanced(), [0, 2**31]), r"labels: must be in 0\.\.2147483647 .*"),
        (lambda: samplers.Records(samplers.class_balanced(), [0], num_classes=0), r"num_classes is 0\)"),
        (lambda: samplers.Records(samplers.class_balanced(), [0, 3], num_classes=3), r"must be in 0\.\.2"),
        (lambda: made("reversed").batches(0), "batch_size: must be at least 1"),
        (lambda: made("reversed")(0.5), "positions: must be integers, not float64"),
        (lambda: made("reversed")([3, -1]), r"positions: must be in 0\.\.2\^32-1, not -1\.\.3"),
        (lambda: made("reversed")([3], epoch=-1), r"epoch: must be in 0\.\.2\^32-1, not -1"),
        (lambda: samplers.Records(samplers.class_balanced(), [0], seed=2**32), "seed: must be in"),
        (lambda: samplers.Records(samplers.class_balanced(), [0], stream=3), "stream: must be a name, such as 'image'"),
    ],
)
def test_bad_arguments_are_named_in_one_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", samplers.SAMPLERS)
def test_the_sampler_itself_refuses_labels_beyond_the_classes_and_names_of_streams(name):
    sampler = samplers.SAMPLERS[name](epochs=10, batch_size=16)
    with pytest.raises(ValueError, match=r"^labels: must be in 0\.\.4 \(num_classes is 5\), not 0\.\.9$"):
        sampler.tables(np.arange(10), 5)
    with pytest.raises(TypeError, match=r"^stream: .* give name_id\('image'\)$"):
        sampler.draw(sampler.tables(LABELS, 4), 0, "image", 0, np.arange(8))
    assert samplers.name_id is name_id


def test_grain_maps_positions_to_records():
    grain = pytest.importorskip("grain")
    records = made("class_cycle")
    dataset = grain.MapDataset.range(100).map(lambda position: records(position, epoch=2)).batch(20)
    np.testing.assert_array_equal(np.stack(list(dataset)), records(range(100), epoch=2).reshape(5, 20))


def test_torch_takes_the_batches_as_batch_sampler_and_the_records_as_sampler():
    torch_data = pytest.importorskip("torch.utils.data")
    records = made("class_balanced")

    class EpochSampler(torch_data.Sampler):
        def __init__(self, records):
            self.records, self.epoch = records, 0

        def __iter__(self):
            return iter(self.records(range(len(self)), epoch=self.epoch).tolist())

        def __len__(self):
            return len(self.records)

    data = np.arange(100)
    loader = torch_data.DataLoader(data, batch_sampler=records.batches(25, epoch=1))
    for _ in range(2):  # epochs of the loader
        np.testing.assert_array_equal(np.concatenate([b.numpy() for b in loader]), records(range(100), epoch=1))
    sampler = EpochSampler(records)
    sampler.epoch = 1
    one_by_one = torch_data.DataLoader(data, batch_size=25, sampler=sampler)
    np.testing.assert_array_equal(np.concatenate([b.numpy() for b in one_by_one]), records(range(100), epoch=1))


def test_tf_data_reads_the_batches_from_a_generator():
    tf = pytest.importorskip("tensorflow")
    batches = made("square_root").batches(20, epoch=1)
    signature = tf.TensorSpec(shape=(20,), dtype=tf.int32)
    dataset = tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=signature)
    np.testing.assert_array_equal(np.stack(list(dataset.as_numpy_iterator())), np.stack(batches))
