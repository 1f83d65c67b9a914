"""Evaluation: every example once, whatever the batch size; empty groups are null."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.data.dataset import array_source
from ltjax.data.loading.device_batches import Resident, read_all
from ltjax.training.evaluation import RESULT, Evaluator, extract_features, summarize
from ltjax.training.execution import mesh as meshes
from tests.training import toy


def predict(variables, images):
    """Class 0, 1 or 2 by how bright the image is."""
    brightness = jnp.mean(images.astype(jnp.float32), (1, 2, 3))
    return -jnp.abs(brightness[:, None] - variables["centres"])


VARIABLES = {"centres": jnp.array([20.0, 95.0, 150.0])}


@pytest.mark.parametrize("batch_size", [1, 4, 7, 21, 100])
def test_the_counts_do_not_depend_on_the_batch_size(batch_size):
    data = toy.build(None)
    counters = Evaluator(predict, 3, batch_size, meshes.data_mesh())(VARIABLES, data.test)[0]
    images = np.stack([data.test.read(i) for i in range(21)])
    expected = np.argmax(np.asarray(predict(VARIABLES, images)), -1)
    confusion = np.zeros((3, 3), int)
    np.add.at(confusion, (data.test.labels, expected), 1)
    np.testing.assert_array_equal(counters.confusion, confusion)
    np.testing.assert_array_equal(counters.examples, [7, 7, 7])


@pytest.mark.parametrize("resident", [False, True])
def test_views_are_read_beside_the_result_by_one_program(resident):
    data, calls = toy.build(None), []

    def darkest(variables, images):
        return -predict(variables, images)

    def counted(variables, images):
        calls.append(images.shape)
        return darkest(variables, images)

    mesh = meshes.data_mesh()
    both = Evaluator(predict, 3, 8, mesh, views={"darkest": counted})
    place = Resident(*meshes.put_replicated(read_all(data.test), mesh)) if resident else None
    found = both.all_views(VARIABLES, data.test, place)
    assert list(found) == [RESULT, "darkest"] and calls == [(8, 8, 8, 1)]  # one trace, whatever the number of batches
    for name, alone in ((RESULT, predict), ("darkest", darkest)):
        (expected,), (own,) = Evaluator(alone, 3, 8, mesh)(VARIABLES, data.test), found[name]
        np.testing.assert_array_equal(own.confusion, expected.confusion)
    assert not np.array_equal(found[RESULT][0].confusion, found["darkest"][0].confusion)


def test_views_of_a_network_share_its_pass_in_the_compiled_program():
    """Two readings that call the network have as many convolutions as one: the compiler finds them to be the same."""
    network, images = toy.network(), np.zeros((8, 8, 8, 1), np.uint8)
    variables = network.init(jax.random.key(0), images, train=False)

    def logits(variables, images):
        return network.apply(variables, images, train=False).logits

    def twice(variables, images):
        return 2 * logits(variables, images)

    def convolutions(**views):
        one = Evaluator(logits, 3, 8, meshes.data_mesh(), views=views)
        batch = {"image": images, "label": np.zeros(8, np.int32), "mask": np.ones(8, bool)}
        lowered = one.count.lower(one.empty, variables, batch)
        return lowered.as_text().count("stablehlo.convolution"), lowered.compile().as_text().count(" convolution(")

    assert convolutions() == (1, 1) and convolutions(twice=twice) == (2, 1)


def test_a_label_that_no_class_has_is_noticed():
    import dataclasses

    data = toy.build(None)
    broken = dataclasses.replace(data.test, labels=np.full(21, 5, np.int32))
    with pytest.raises(AssertionError, match="saw 0 examples of 21"):
        Evaluator(predict, 3, 8, meshes.data_mesh())(VARIABLES, broken)


def test_an_empty_group_is_null():
    data = toy.build(None)
    (counters,) = Evaluator(predict, 3, 8, meshes.data_mesh())(VARIABLES, data.test)
    summary = summarize(counters, data, "strict", (1, 2))
    assert summary.accuracy["many"] is None and summary.accuracy["few"] is not None
    assert summary.shots["index"]["classes"] == [1, 1, 1]


@pytest.mark.parametrize("read", ["one by one", "many at once"])
def test_features_are_those_of_the_network_in_order(read):
    data, network = toy.build(None), toy.network()
    if read == "many at once":  # as the sets in memory are read
        train = data.train
        images = np.stack([train.read(i) for i in range(len(train))])
        data = dataclasses.replace(data, train=array_source(images, train.labels, train.index))
    variables = network.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1), jnp.uint8), train=False)
    records = np.array([41, 0, 7, 7, 30])
    features = extract_features(network, variables, data.train, records, 2, meshes.data_mesh())
    images = np.stack([data.train.read(int(i)) for i in records])
    np.testing.assert_allclose(features, network.apply(variables, images).features, rtol=1e-5, atol=1e-6)
