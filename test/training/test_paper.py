"""The paper's own memory: its state, its cost, and that a training step never waits for the device."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluation_support import SMALL_BASELINE, folder_of_drives, small_baseline
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from kinaema_ros.baselines.baseline import Baseline
from kinaema_ros.baselines.config import LearnedConfig, PaperConfig
from kinaema_ros.baselines.paper import Paper, PaperState
from kinaema_ros.errors import InputError
from kinaema_ros.model.se2 import compose
from kinaema_ros.training.drive_folder import DriveFolder, draw
from kinaema_ros.training.train_baselines import BaselineConfig, Stage, learn

VIEW = SMALL_BASELINE.key_dim + 2 * SMALL_BASELINE.content_dim
CONFIG = BaselineConfig(stages=(Stage(12, 4, 4),), chunk=5, questions=3, paper=SMALL_BASELINE.paper)


def paper(**changes: Any) -> Baseline:
    torch.manual_seed(0)
    config = dataclasses.replace(SMALL_BASELINE, paper=dataclasses.replace(SMALL_BASELINE.paper, **changes))
    return Paper(config).eval()


def views(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, VIEW, generator=torch.Generator().manual_seed(seed))


def odometry(*shape: int, seed: int = 0) -> Tensor:
    steps = 0.2 * torch.randn(*shape, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return steps.cumsum(-2)


def driven(baseline: Baseline, frames: int, drives: int = 1) -> PaperState:
    with torch.no_grad():
        state: PaperState = baseline.remember(
            baseline.start(drives, 0), views(drives, frames), odometry(drives, frames)
        )
    return state


def test_the_state_is_embeddings_that_begin_with_what_was_learned_and_have_no_poses() -> None:
    baseline = paper()
    state = baseline.start(3, 0)
    assert state.embeddings.shape == (3, 6, 16)
    assert torch.equal(state.embeddings[0], baseline.cell.initial)
    assert set(vars(state)) == {"embeddings", "first", "odometry", "updates"}
    later = driven(baseline, 5, drives=3)
    assert later.embeddings.shape == (3, 6, 16)
    assert int(later.updates) == 5
    assert (later.embeddings - state.embeddings).abs().amax((1, 2)).min() > 0.01


def test_an_update_leaves_the_state_before_as_it_was_and_drives_do_not_touch_each_other() -> None:
    baseline = paper()
    state = driven(baseline, 4, drives=2)
    before = {name: tensor.clone() for name, tensor in vars(state).items()}
    one, two = views(2, seed=3), views(2, seed=4)
    one[1] = two[1]  # the second drive sees the same
    a, b = (baseline.update(state, seen, odometry(2, 9)[:, 8]) for seen in (one, two))
    for name, tensor in vars(state).items():
        assert torch.equal(tensor, before[name]), name
    assert not torch.allclose(a.embeddings[0], b.embeddings[0])
    torch.testing.assert_close(a.embeddings[1], b.embeddings[1])
    asked = views(2, 3, seed=5)
    together, _ = baseline.estimate(a, asked)
    alone, _ = baseline.estimate(a, asked[:, 1:2])
    torch.testing.assert_close(together.xy[:, 1:2], alone.xy)


def test_an_update_and_a_query_cost_the_same_after_ten_frames_and_after_a_thousand() -> None:
    baseline = paper()

    def costs(state: PaperState) -> tuple[int, int, int]:
        counts = []
        for work in (
            lambda: baseline.update(state, views(1), state.odometry),
            lambda: baseline.estimate(state, views(1, 1)),
        ):
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                work()
            counts.append(counter.get_total_flops())
        return counts[0], counts[1], baseline.num_bytes(state)

    early, late = costs(driven(baseline, 10)), costs(driven(baseline, 1000))
    assert early == late
    assert min(early) > 0


def test_a_long_drive_keeps_the_embeddings_in_bounds() -> None:
    assert driven(paper(), 3000).embeddings.abs().max() < 20.0


@pytest.mark.parametrize("egocentric", [False, True])
def test_the_answer_turns_with_the_robots_frame(egocentric: bool) -> None:
    """In the robot's frame it does not depend on where the odometry began."""
    baseline = paper(egocentric=egocentric)
    way = odometry(1, 6)
    elsewhere = compose(torch.tensor([5.0, 2.0, 1.0], dtype=torch.float64).expand_as(way), way)
    answers = []
    for path in (way, elsewhere):
        state = baseline.remember(baseline.start(1, 0), views(1, 6), path)
        estimate, robot = baseline.estimate(state, views(1, 2, seed=7))
        answers.append((estimate.pose, robot))
    for a, b in zip(*answers, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_an_egocentric_memory_is_not_told_where_the_robot_is() -> None:
    for egocentric, told in ((True, False), (False, True)):
        baseline = paper(egocentric=egocentric)
        # Twice the same last motion, from another place
        way = odometry(1, 3).repeat(2, 1, 1)
        way[1, 1:] = compose(torch.tensor([3.0, 0.0, 0.0], dtype=torch.float64).expand(2, 3), way[0, 1:])
        state = PaperState(baseline.start(2, 0).embeddings, way[:, 0], way[:, 1], torch.ones(()))
        later = baseline.update(state, views(1).expand(2, -1), way[:, 2])
        same = torch.allclose(later.embeddings[0], later.embeddings[1], atol=1e-6)
        assert same != told


def test_a_foretold_key_is_of_unit_length_and_depends_on_the_pose() -> None:
    baseline = paper()
    keys = baseline.imagine(driven(baseline, 5), odometry(1, 4))
    assert keys.shape == (1, 4, SMALL_BASELINE.key_dim)
    torch.testing.assert_close(keys.norm(dim=-1), torch.ones(1, 4))
    assert not torch.allclose(keys[0, 0], keys[0, 1])


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="multiple of heads"):
        PaperConfig(dim=30, heads=4)
    with pytest.raises(InputError, match="embeddings"):
        PaperConfig(embeddings=0)
    with pytest.raises(InputError, match=r"paper\.embedings"):
        LearnedConfig.from_dict({"paper": {"embedings": 3}})


class NeverWaits(TorchDispatchMode):
    """Refuses what makes a GPU's caller wait for it: reading a number back, and shapes that depend on numbers."""

    WAITS = (
        "_local_scalar_dense",
        "nonzero",
        "masked_select",
        "unique",
        "is_nonzero",
        "equal",
        "multinomial",
    )

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.__name__.partition(".")[0].lstrip("_")
        assert name not in {word.lstrip("_") for word in self.WAITS}, f"{func} waits for the device"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["paper", "gru", "attention"])
def test_a_training_step_does_not_wait_for_the_device(name: str, tmp_path: Path) -> None:
    baseline = small_baseline(name).train()
    for part in (baseline.trunk, baseline.descriptor, baseline.calibration):
        part.requires_grad_(False)
    learns = [
        p.requires_grad_(True)
        for n, p in baseline.named_parameters()
        if not n.startswith(("trunk", "desc", "cal"))
    ]
    optimiser = torch.optim.AdamW(learns)
    generator = torch.Generator().manual_seed(0)
    folder = DriveFolder(folder_of_drives(tmp_path) / "train", baseline.describe)
    drives = draw(folder, 4, 12, (0.05, 0.5), generator)  # on the CPU, while the device works
    learn(baseline, drives, CONFIG, 12, generator)
    optimiser.step()  # the first step makes the optimiser's state
    with NeverWaits():
        learn(baseline, drives, CONFIG, 12, generator)
    with pytest.raises(AssertionError, match="waits"), NeverWaits():
        float(torch.ones(()))


@pytest.mark.parametrize("name", ["paper", "gru", "attention"])
def test_everything_a_step_makes_is_on_the_models_device(name: str, tmp_path: Path) -> None:
    """On the device "meta", which has no numbers, operations that mix it with the CPU fail as on a GPU."""
    generator = torch.Generator().manual_seed(0)
    folder = DriveFolder(folder_of_drives(tmp_path) / "train", small_baseline(name).describe)
    drives = draw(folder, 4, 12, (0.05, 0.5), generator).to("meta")
    baseline = small_baseline(name).to("meta").requires_grad_(True).train()
    values = learn(baseline, drives, CONFIG, 12, generator)
    assert {value.device.type for value in values.values()} == {"meta"}
    devices = {
        parameter.grad.device.type for parameter in baseline.parameters() if parameter.grad is not None
    }
    assert devices == {"meta"}


def test_the_cell_compiles_into_one_graph(tmp_path: Path) -> None:
    """By tracing alone: a break in the graph is an error, and what is traced gives the same gradients."""
    drives = draw(
        DriveFolder(folder_of_drives(tmp_path) / "train", paper().describe),
        4,
        6,
        (0.05, 0.5),
        torch.Generator(),
    )
    gradients = []
    for compiled in (False, True):
        baseline = paper().requires_grad_(True).train()
        if compiled:
            baseline.cell.compile(fullgraph=True, backend="aot_eager")
        torch.manual_seed(0)
        learn(baseline, drives, CONFIG, 6, torch.Generator().manual_seed(0))
        gradients.append(baseline.cell.gate.weight.grad)
    torch.testing.assert_close(*gradients, rtol=0.05, atol=1e-3)
