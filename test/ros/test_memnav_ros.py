"""Mem-Nav through the nodes: the same walk, and one drive by simulator, memory and navigator."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest

from kinaema_ros.evaluation.memnav import through_nodes as memnav
from kinaema_ros.evaluation.memnav.episodes import MemnavConfig, plan_building
from kinaema_ros.evaluation.memnav.evaluate import record
from kinaema_ros.paths import default_checkpoint
from kinaema_ros.sim import OdometryNoise, step_robot

CONFIG = MemnavConfig(seed=3, frames=50, goals=1)


@pytest.mark.parametrize("index", range(2))
def test_the_walk_is_driven_as_it_was_planned(index):
    building = plan_building(MemnavConfig(seed=3, frames=150, goals=1), index)
    walk, pose, track = memnav.Walk(building.walk), tuple(building.walk[0]), []
    while not walk.done:
        track.append(pose)
        pose, collided = step_robot(building.scene, pose, *walk.command(pose, 0.05), 0.05)
        assert not collided
        assert len(track) < 4000
    driven = np.array(track)
    gap = np.hypot(*(driven[:, None, :2] - building.walk[None, :, :2]).transpose(2, 0, 1))
    turn = np.abs(
        np.remainder(driven[:, None, 2] - building.walk[None, :, 2] + math.pi, 2 * math.pi) - math.pi
    )
    assert gap.min(axis=0).max() < 0.1
    assert np.where(gap < 0.15, turn, math.inf).min(axis=0).max() < math.radians(20)
    assert walk.command(pose, 0.05) == (0.0, 0.0)


@pytest.mark.parametrize("restart", [False, True])
def test_one_episode_through_the_nodes(tmp_path, restart):
    """Whether the place is reached is up to the network; that the result tells the truth about it is not."""
    before = dict(os.environ)
    results = memnav.drive_through_nodes(
        CONFIG, 1, OdometryNoise(0.02, 0.2), default_checkpoint(), "cpu", tmp_path, restart
    )
    assert dict(os.environ) == before
    (result,) = results
    (episode,) = result.episodes
    building = plan_building(CONFIG, 0)
    if restart:
        assert result.restart is not None
        assert (tmp_path / "00" / "building.safetensors").is_file()
        assert result.restart.metres > 0.3  # it was lost, and drove until it was found
        assert record("kinaema", results, CONFIG.seed, OdometryNoise())["localized"] == 1
    else:
        np.testing.assert_allclose(episode.path[0][:2], building.walk[-1, :2], atol=0.2)
    assert episode.shortest >= 3.9
    assert len(result.unseen) == 1
    assert 0.0 <= result.unseen[0] <= 1.0
    if episode.refused:
        assert episode.length < 0.1
    elif episode.success:
        assert episode.stop_distance < 1.0
        assert episode.length > 3.0
        assert episode.queries >= 2
        assert len(episode.believed_goals) >= 2
    assert record("kinaema", results, CONFIG.seed, OdometryNoise())["episodes"] == 1
