"""The configuration that a checkpoint records: nested, checked, and the same after a round trip through JSON."""

from __future__ import annotations

import json

import pytest

from kinaema_ros.model.config import KinaemaConfig


def test_a_checkpoint_records_every_constant():
    config = KinaemaConfig.from_dict({"cell": {"max_stride": 2.0}, "pose_graph": {"kernel": 1.5}})
    assert KinaemaConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config != KinaemaConfig()


def test_a_change_leaves_the_rest_of_a_group_as_it_is():
    config = KinaemaConfig().changed({"cell": {"max_stride": 2.0}}).changed({"cell": {"count_cap": 3}})
    assert (config.cell.max_stride, config.cell.count_cap) == (2.0, 3.0)
    assert config.loop_closure == KinaemaConfig().loop_closure


@pytest.mark.parametrize(("values", "message"), [
    ({"embeddings": 4}, "unknown configuration fields: embeddings"),
    ({"cell": {"stride": 1.0}}, r"unknown configuration fields: cell\.stride"),
    ({"cell": 3}, "'cell' must be a mapping"),
    ({"cell": {"max_stride": "1"}}, r"cell\.max_stride = '1' must be of type float"),
    ({"num_embeddings": True}, "num_embeddings = True must be of type int"),
    ({"cell": {"write_threshold": 1.5}}, r"write_threshold is 1\.5, must be in \[-1\.0, 1\.0\]"),
    ({"cell": {"address": "colour"}}, "must be one of place, time"),
    ({"pose_graph": {"kernel": 0}}, r"kernel is 0\.0, must be in"),
    ({"loop_closure": {"min_match": 2.0}}, r"min_match is 2\.0"),
    ({"distinctness": {"typical_likeness": 1.0}}, r"typical_likeness is 1\.0"),
    ({"num_hypotheses": 600}, "at most num_embeddings"),
])  # fmt: skip
def test_what_is_wrong_is_named(values, message):
    with pytest.raises(ValueError, match=message):
        KinaemaConfig.from_dict(values)
