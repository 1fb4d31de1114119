"""A photo against what the camera sees from where the robot stands."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from landmark_support import CONFIG, Landmarks, as_pose, circle

from kinaema_ros import geometry
from kinaema_ros.comparison import Comparison, Verdict
from kinaema_ros.model.cell import update
from kinaema_ros.model.config import ComparisonConfig
from kinaema_ros.model.localise import hypotheses
from kinaema_ros.model.sight import sight, verdict
from kinaema_ros.model.token_memory import TokenMemory
from kinaema_ros.model.tokens import Tokens

LIMITS = ComparisonConfig(
    min_tokens=30, min_found=25, min_coverage=0.3, other_found=10, other_shared=20, min_known=20
)
WAY = circle()[:12]
HERE = geometry.compose(WAY[-1], np.array([0.1, 0.0, 0.05]))


@pytest.fixture(scope="module")
def room() -> Landmarks:
    return Landmarks()


@pytest.fixture(scope="module")
def memory(room: Landmarks) -> TokenMemory:
    memory = TokenMemory.empty(CONFIG)
    for pose in WAY:
        memory = update(CONFIG, memory, room.view(pose), as_pose(pose))
    return memory


def compared(memory: TokenMemory, view: Tokens, photo: Tokens, same_camera: bool = True) -> Comparison:
    here = sight(CONFIG, memory, view, as_pose(HERE), 0.0)
    found = hypotheses(CONFIG, here.memory, photo, 0.0)
    best = max(found, key=lambda one: one.evidence.inliers, default=None)
    return verdict(replace(CONFIG, comparison=LIMITS), here, photo, best, same_camera)


def some(tokens: Tokens, number: int) -> Tokens:
    """All but ``number`` of them are gone."""
    gone = torch.arange(len(tokens.quality)) >= number
    return replace(
        tokens,
        quality=tokens.quality.masked_fill(gone, 0.0),
        descriptor=tokens.descriptor.masked_fill(gone[:, None], 0.0),
    )


def mixed_photo(room: Landmarks, number: int) -> Tokens:
    """From HERE, but all but ``number`` of its tokens are another room's."""
    ours, other = room.view(HERE), Landmarks(seed=5).view(HERE)
    mixed = torch.arange(len(ours.quality)) < number
    return Tokens(*(
        torch.where(mixed.view(-1, *[1] * (mine.dim() - 1)), mine, theirs)
        for mine, theirs in zip(vars(ours).values(), vars(other).values(), strict=True)
    ))  # fmt: skip


def test_a_photo_from_nearby_is_recognised_and_its_viewpoint_is_known(memory: TokenMemory, room: Landmarks):
    step = np.array([0.4, -0.2, 0.1])
    photo = room.view(geometry.compose(HERE, step))
    seen = compared(memory, room.view(HERE), photo)
    assert seen.verdict == Verdict.RECOGNISED, seen.why
    np.testing.assert_allclose(seen.pose, step, atol=0.05)
    assert seen.covariance is not None
    assert np.linalg.eigvalsh(seen.covariance).min() > 0
    moved = seen.seen_from(np.array([1.0, 2.0, np.pi / 2]))
    np.testing.assert_allclose(moved.pose, [1.2, 2.4, np.pi / 2 + 0.1], atol=0.05)


def test_a_photo_of_another_room_is_another_place(memory: TokenMemory, room: Landmarks):
    seen = compared(memory, room.view(HERE), Landmarks(seed=5).view(HERE))
    assert seen.verdict == Verdict.OTHER_PLACE, seen.why
    assert seen.pose is None


def test_a_photo_of_what_is_behind_the_robot_is_another_place_than_it_sees(
    memory: TokenMemory, room: Landmarks
):
    behind = room.view(geometry.compose(HERE, np.array([0.0, 0.0, np.pi])))
    assert compared(memory, room.view(HERE), behind).verdict == Verdict.OTHER_PLACE


def test_a_view_of_neither_the_photo_s_place_nor_this_one_tells_nothing(memory: TokenMemory, room: Landmarks):
    """Somebody stands before the camera, or the light is another."""
    seen = compared(memory, Landmarks(seed=6).view(HERE), Landmarks(seed=5).view(HERE))
    assert seen.verdict == Verdict.UNDECIDED
    assert "neither" in seen.why


def test_a_robot_that_turned_on_the_spot_recognises_a_photo_by_the_distances_that_the_memory_knows(
    room: Landmarks,
):
    there_and_back = circle()
    memory = TokenMemory.empty(CONFIG)
    for pose in there_and_back:
        memory = update(CONFIG, memory, room.view(pose), as_pose(pose))
    away = there_and_back[-1] + [0.0, 0.0, np.pi]
    turns = [away - [0.0, 0.0, turn] for turn in np.linspace(0.0, np.pi, 9)]
    for pose in turns[:-1]:
        memory = update(CONFIG, memory, room.view(pose), as_pose(pose))
    here = sight(CONFIG, memory, room.view(turns[-1]), as_pose(turns[-1]), 0.0)
    known = here.view.depth_std[here.view.known] < 0.5 * CONFIG.tokens.prior_depth_std
    assert known.double().mean() > 0.3
    assert here.known > 30


def test_a_dark_view_and_a_bare_photo_tell_nothing(memory: TokenMemory, room: Landmarks):
    whole = room.view(HERE)
    for view, photo, words in ((some(whole, 20), whole, "view"), (whole, some(whole, 20), "photo")):
        seen = compared(memory, view, photo)
        assert seen.verdict == Verdict.UNDECIDED
        assert "too little to see: 20 points" in seen.why
        assert words in seen.why


def test_a_view_whose_distances_nothing_tells_is_not_taken_for_another_place(room: Landmarks):
    """The robot drove here, turned, and stands a little beside where the photo was taken: it sees no parallax."""
    memory = TokenMemory.empty(CONFIG)
    for pose in WAY:
        memory = update(CONFIG, memory, room.view(pose), as_pose(pose))
    view = room.view(HERE)
    here = replace(sight(CONFIG, memory, view, as_pose(HERE), 0.0), view=view)
    config = replace(CONFIG, comparison=LIMITS)
    photo = room.view(geometry.compose(HERE, np.array([0.2, 0.2, 0.1])))
    unseen = verdict(config, here, photo, None, True)
    assert unseen.verdict == Verdict.UNDECIDED
    assert "in any way" in unseen.why
    assert verdict(config, here, Landmarks(seed=5).view(HERE), None, True).verdict == Verdict.OTHER_PLACE


def test_what_is_between_the_two_tells_nothing(memory: TokenMemory, room: Landmarks):
    photo = mixed_photo(room, 15)
    assert compared(memory, room.view(HERE), photo).verdict == Verdict.UNDECIDED


def test_a_photo_by_another_camera_must_share_less_to_be_of_this_place(memory: TokenMemory, room: Landmarks):
    few = mixed_photo(room, 7)
    assert compared(memory, room.view(HERE), few).verdict == Verdict.OTHER_PLACE
    assert compared(memory, room.view(HERE), few, same_camera=False).verdict == Verdict.UNDECIDED


def test_the_memory_stays_as_it_is(memory: TokenMemory, room: Landmarks):
    before = {name: tensor.clone() for name, tensor in memory.tensors().items()}
    sight(CONFIG, memory, room.view(HERE), as_pose(HERE), 0.0)
    assert all(torch.equal(before[name], tensor) for name, tensor in memory.tensors().items())


def test_a_photo_that_fits_at_an_unknown_distance_is_not_recognised(memory: TokenMemory, room: Landmarks):
    """A wall of the same paint seen from the other side fits too, if nothing says how far its points are."""
    here = sight(CONFIG, memory, room.view(HERE), as_pose(HERE), 0.0)
    photo = room.view(HERE)
    best = max(hypotheses(CONFIG, here.memory, photo, 0.0), key=lambda one: one.evidence.inliers)
    config = replace(CONFIG, comparison=LIMITS)
    assert verdict(config, here, photo, best, True).verdict == Verdict.RECOGNISED
    unsure = replace(best, covariance=torch.diag(torch.tensor([0.5**2, 0.1**2, 0.01**2])))
    seen = verdict(config, here, photo, unsure, True)
    assert seen.verdict == Verdict.UNDECIDED
    assert "only to within 0.5 m" in seen.why
