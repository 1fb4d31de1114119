"""Tokens: packing, choosing, matching, parallax."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from landmark_support import CONFIG, Landmarks

from kinaema_ros.model.matching import match, parallax, transfer
from kinaema_ros.model.tokens import PackedTokens, Tokens, pack, spread


def random_tokens(places: int = 3, number: int = 50, dim: int = 32) -> Tokens:
    random = torch.Generator().manual_seed(1)
    return Tokens(
        F.normalize(torch.randn(places, number, dim, generator=random), dim=-1),
        F.normalize(torch.randn(places, number, 3, generator=random) + torch.tensor([3.0, 0, 0]), dim=-1),
        torch.rand(places, number, generator=random),
        torch.rand(places, number, generator=random) * 0.1 + 0.01,
        torch.rand(places, number, generator=random).clamp_min(0.01),
    )


def test_packed_tokens_come_back_nearly_the_same():
    tokens = random_tokens()
    packed = pack(tokens)
    back = packed.unpack(torch.arange(3))
    assert (back.descriptor * tokens.descriptor).sum(-1).min() > 0.97
    assert torch.linalg.vector_norm(back.bearing - tokens.bearing, dim=-1).max() < 2e-4
    torch.testing.assert_close(back.inverse_depth, tokens.inverse_depth, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(back.quality, tokens.quality, atol=1 / 255, rtol=0)
    assert sum(t.numel() * t.element_size() for t in vars(packed).values()) == 3 * 50 * (16 + 4 + 2 + 2 + 1)


def test_no_token_stays_no_token():
    empty = PackedTokens.empty(2, 5, 32)
    back = empty.unpack(torch.arange(2))
    assert not back.known.any()
    assert (back.descriptor == 0).all()
    replaced = empty.put(torch.tensor([1]), pack(random_tokens(1, 5))).unpack(torch.arange(2), 3)
    assert replaced.known.tolist() == [[False] * 3, [True] * 3]


def test_kept_tokens_are_spread_over_the_view():
    tokens = random_tokens(1, 60)
    tokens.bearing[0, :50] = F.normalize(torch.tensor([1.0, 0.01, 0.01]), dim=0)  # fifty in one square
    tokens.quality[0, :50] = 0.9
    tokens.quality[0, 50:59] = 0.2
    tokens.quality[0, 59] = 0.0  # none
    kept = spread(tokens, 12, cell=0.1)[0].tolist()
    assert set(range(50, 59)) <= set(kept)
    assert 59 not in kept
    assert len(set(kept)) == 12


def test_matches_are_mutual_and_leave_out_what_is_not_there():
    looks = random_tokens(2, 20).descriptor
    view = torch.cat([looks[0, 5:10], looks[1, :3], torch.zeros(2, 32)])
    places = looks.clone()
    places[0, 7] = 0.0
    matches = match(view, places, 0.9)
    pairs = set(zip(matches.place.tolist(), matches.token.tolist(), matches.view.tolist(), strict=True))
    assert pairs == {(0, 5, 0), (0, 6, 1), (0, 8, 3), (0, 9, 4), (1, 0, 5), (1, 1, 6), (1, 2, 7)}
    assert len(matches[matches.place == 1]) == 3


@pytest.mark.parametrize("rise", [0.0, 0.2])
def test_parallax_tells_the_distance_and_how_well(rise: float):
    points = torch.tensor([[4.0, 1.0, 0.5], [8.0, -2.0, 0.0], [3.0, 0.0, 0.2]])
    pose = torch.tensor([0.3, 0.4, 0.5])
    turn = torch.tensor([[np.cos(0.5), -np.sin(0.5), 0], [np.sin(0.5), np.cos(0.5), 0], [0, 0, 1]]).float()
    bearing = F.normalize(points, dim=-1)
    seen = F.normalize((points - torch.tensor([0.3, 0.4, rise])) @ turn, dim=-1)
    depth, std, missed = parallax(pose.expand(3, 3), torch.full((3,), rise), bearing, seen, 0.005)
    torch.testing.assert_close(depth, 1 / torch.linalg.vector_norm(points, dim=-1), atol=2e-3, rtol=0)
    assert missed.max() < 0.1
    assert std[2] > 0.005 / 0.7
    _, _, missed = parallax(pose.expand(3, 3), torch.full((3,), rise), bearing, seen.roll(1, 0), 0.005)
    assert missed.max() > 10  # of other points


def test_tokens_of_another_place_are_where_that_place_sees_them():
    room = Landmarks()
    here, there = (room.view(np.array(pose)) for pose in ([0.0, 0.0, 0.1], [0.4, 0.1, 0.2]))
    known = here.known
    matches = match(there.descriptor, here.descriptor[None], 0.8)
    points = room.points[
        (here.descriptor[known] @ room.looks.T).argmax(-1)
    ]  # what each token of `here` really shows
    exact = Tokens(
        here.descriptor[known],
        here.bearing[known],
        1 / torch.linalg.vector_norm(points, dim=-1),
        torch.full((int(known.sum()),), 0.01),
        here.quality[known],
    )
    pose = torch.tensor([0.4 * np.cos(0.1) + 0.1 * np.sin(0.1), -0.4 * np.sin(0.1) + 0.1 * np.cos(0.1), 0.1])
    moved, blur = transfer(exact, pose, 0.0)
    assert len(matches) > 20
    off = torch.linalg.vector_norm(moved.bearing[matches.token] - there.bearing[matches.view], dim=-1)
    assert off.median() < 0.006
    assert blur.max() < 0.02
    assert CONFIG.tokens.noise > off.median()
