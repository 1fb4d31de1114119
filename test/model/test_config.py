"""The configuration that a checkpoint records: nested, checked, and the same after a round trip through JSON."""

from __future__ import annotations

import json

import pytest

from kinaema_ros.model.config import KinaemaConfig, SearchConfig, TokensConfig
from kinaema_ros.model.token_memory import TokenMemory


def test_a_checkpoint_records_every_constant():
    config = KinaemaConfig.from_dict({"tokens": {"noise": 0.01}, "pose_graph": {"kernel": 1.5}})
    assert KinaemaConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config != KinaemaConfig()


def test_a_change_leaves_the_rest_of_a_group_as_it_is():
    config = KinaemaConfig().changed({"tokens": {"tokens": 64}}).changed({"tokens": {"noise": 1}})
    assert (config.tokens.tokens, config.tokens.noise) == (64, 1.0)
    assert config.tokens.view_tokens == TokensConfig().view_tokens
    assert config.search == SearchConfig()


def test_what_is_not_said_keeps_its_default():
    config = KinaemaConfig.from_dict({"pose_graph": {"kernel": 1.5}, "revisit": {"enabled": False}})
    assert config.num_embeddings == KinaemaConfig().num_embeddings
    assert config.revisit.min_age == KinaemaConfig().revisit.min_age
    assert not config.revisit.enabled


def test_the_size_of_a_memory_follows_from_its_configuration():
    config = KinaemaConfig().changed({
        "num_embeddings": 16, "tokens": {"tokens": 10, "view_tokens": 24, "dim": 8}, "window": {"size": 3},
    })  # fmt: skip
    memory = TokenMemory.empty(config)
    assert memory.tokens.descriptor.shape == (16, 10, 4)  # two components a byte
    assert memory.window.descriptor.shape == (3, 24, 4)
    assert memory.graph.tail.shape == ((1 + config.pose_graph.loops_per_embedding) * 16,)


@pytest.mark.parametrize(("values", "message"), [
    ({"embeddings": 4}, "unknown configuration fields: embeddings"),
    ({"tokens": {"number": 1}}, r"unknown configuration fields: tokens\.number"),
    ({"cell": {"max_stride": 1.0}}, "unknown configuration fields: cell"),
    ({"tokens": 3}, "'tokens' must be a mapping"),
    ({"tokens": {"noise": "1"}}, r"tokens\.noise = '1' must be of type float"),
    ({"tokens": {"tokens": 64.0}}, r"tokens\.tokens = 64\.0 must be of type int"),
    ({"num_embeddings": True}, "num_embeddings = True must be of type int"),
    ({"revisit": {"enabled": 1}}, r"revisit\.enabled = 1 must be of type bool"),
    ({"num_embeddings": 1}, r"num_embeddings is 1, must be in \[2, 65536\]"),
    ({"tokens": {"min_similarity": 1.5}}, r"min_similarity is 1\.5, must be in \[-1\.0, 1\.0\]"),
    ({"pose_graph": {"kernel": 0}}, r"kernel is 0\.0, must be in"),
    ({"search": {"min_inliers": 3}}, r"min_inliers is 3, must be in \[4,"),
    ({"fold": {"max_angle": 4.0}}, r"max_angle is 4\.0"),
    ({"window": {"tilt_gain": 0.9}}, r"tilt_gain is 0\.9"),
])  # fmt: skip
def test_what_is_wrong_is_named(values, message):
    with pytest.raises(ValueError, match=message):
        KinaemaConfig.from_dict(values)


def test_a_group_that_is_wrong_is_refused_without_a_network_too():
    with pytest.raises(ValueError, match="view_tokens is 4, must be in"):
        TokensConfig(view_tokens=4)
