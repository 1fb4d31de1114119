"""SpatialMemory: what it promises to callers, with the shipped checkpoint and a drive it has never seen."""

from __future__ import annotations

import json
import math
import resource
import stat
import threading
import time
from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest
import torch

from kinaema_ros import Estimate, Intrinsics, SpatialMemory, geometry
from kinaema_ros.camera import Mount
from kinaema_ros.comparison import Verdict
from kinaema_ros.errors import KinaemaError
from kinaema_ros.images import decode_compressed, decode_image
from kinaema_ros.memory import EmptyMemoryError
from kinaema_ros.memory_file import FORMAT, VERSION
from kinaema_ros.metrics import pose_errors
from kinaema_ros.model.cell import follow
from kinaema_ros.model.checkpoint import CheckpointError, read_tensors, write_tensors
from kinaema_ros.model.token_memory import TokenMemory
from kinaema_ros.navigation.photo_drive import DriveLimits
from kinaema_ros.paths import default_checkpoint
from kinaema_ros.sim import Camera, Scene, SceneConfig, explore, generate_scene, render, sample_viewpoints
from kinaema_ros.training.drives import without

FRAMES, QUERIES = 40, 10
CAMERA = Camera()


@dataclass
class Drive:
    scene: Scene
    poses: np.ndarray  # (FRAMES, 3) true, here also the odometry
    images: np.ndarray  # (FRAMES, H, W, 3)
    views: np.ndarray  # (QUERIES, 3)
    photos: np.ndarray  # (QUERIES, H, W, 3)

    @property
    def truth(self) -> np.ndarray:
        """(QUERIES, 3) of the photos, in the robot's frame at the end."""
        return geometry.between(self.poses[-1], self.views)


def make_drive(seed: int, camera: Camera = CAMERA) -> Drive:
    rng = np.random.default_rng(seed)
    scene = generate_scene(seed, SceneConfig(size_min=8, size_max=10, texture_seed=4242))
    poses = explore(scene, rng, FRAMES)
    views, _ = sample_viewpoints(scene, rng, poses, QUERIES)
    images = render(scene, np.concatenate([poses, views]), camera)
    return Drive(scene, poses, images[:FRAMES], views, images[FRAMES:])


@pytest.fixture(scope="module")
def drive() -> Drive:
    return make_drive(20261122)


@pytest.fixture(scope="module")
def driven(drive: Drive) -> SpatialMemory:
    """A memory after the drive; tests that change it make their own."""
    memory = new_memory()
    remember(memory, drive)
    return memory


@pytest.fixture(scope="module")
def answers(driven: SpatialMemory, drive: Drive) -> list[Estimate]:
    return [driven.locate(photo) for photo in drive.photos]


@pytest.mark.parametrize("told", [True, False])
def test_a_base_that_nods_is_levelled_by_its_odometry(drive: Drive, told: bool) -> None:
    """Without it the memory finds the tilt by itself, about, and believes the camera where a level base would carry it."""
    mount, memory = Mount(z=1.0), new_memory()
    memory.set_camera(Intrinsics.from_hfov(CAMERA.width, CAMERA.height, CAMERA.hfov), mount)
    wrong, tilts = [], []
    for number, pose in enumerate(drive.poses):
        pitch = (0.0, 0.12, -0.12)[number % 3]
        there = mount.on_tilted_base(0.0, pitch)
        camera = replace(CAMERA, x=there.x, z=there.z, pitch=pitch)
        memory.update(render(drive.scene, pose[None], camera)[0], pose, (0.0, pitch) if told else (0.0, 0.0))
        estimate = memory.localization()
        assert estimate is not None
        wrong.append(float(np.hypot(*(np.array(estimate.pose) - geometry.between(drive.poses[0], pose))[:2])))
        assert isinstance(memory._state, TokenMemory)
        tilts.append(float(memory._state.tilt[:2].abs().max()))
    photos = render(drive.scene, drive.views, replace(CAMERA, z=1.0))
    errors = [
        pose_errors(np.array(memory.locate(photo).pose), true)[0]
        for photo, true in zip(photos, drive.truth, strict=True)
    ]
    if told:
        assert max(wrong) < 0.01
        assert max(tilts) < 0.02
        assert np.median(errors) < 0.05
    else:
        assert max(tilts) > 0.08


def test_a_tilt_that_no_robot_drives_with_is_refused(drive: Drive) -> None:
    memory = new_memory()
    for tilt in ((1.2, 0.0), (0.0, math.nan)):
        with pytest.raises(ValueError, match="roll and pitch must be at most"):
            memory.update(drive.images[0], drive.poses[0], tilt)
    assert memory.num_updates == 0


@pytest.fixture(scope="module")
def strange_answers(driven: SpatialMemory) -> list[Estimate]:
    """To photos of a scene that the robot was never in."""
    return [driven.locate(photo) for photo in make_drive(7).photos[:6]]


def new_memory(hfov: float | None = None) -> SpatialMemory:
    return SpatialMemory.from_checkpoint(default_checkpoint(), hfov=hfov)


def remember(
    memory: SpatialMemory, drive: Drive, odom_T_world: np.ndarray | None = None, frames: int = FRAMES
) -> None:
    for image, pose in zip(drive.images[:frames], drive.poses[:frames], strict=True):
        memory.update(image, pose if odom_T_world is None else geometry.compose(odom_T_world, pose))


def poses_of(memory: SpatialMemory, photos: np.ndarray) -> np.ndarray:
    return np.array([memory.locate(photo).pose for photo in photos])


def assert_same_poses(a: np.ndarray, b: np.ndarray, tolerance: float) -> None:
    np.testing.assert_allclose(a[:, :2], b[:, :2], atol=tolerance)
    np.testing.assert_allclose(geometry.wrap_angle(a[:, 2] - b[:, 2]), 0.0, atol=tolerance)


def assert_near(answers: list[Estimate], truth: np.ndarray, share: float = 0.8) -> None:
    """Most answers are exact to 15 cm and 3 degrees."""
    position, yaw = pose_errors([answer.pose for answer in answers], truth)
    assert np.mean((position < 0.15) & (yaw < math.radians(3.0))) >= share


def test_places_of_an_unseen_scene_are_found(drive: Drive, answers: list[Estimate]):
    assert_near(answers, drive.truth)
    assert np.median([answer.seen for answer in answers]) > 0.8


def test_a_place_of_another_scene_is_not_taken_for_seen(strange_answers: list[Estimate]):
    assert np.median([answer.seen for answer in strange_answers]) < 0.2
    assert max(answer.confidence for answer in strange_answers) < 0.5


def test_a_view_shows_whether_the_robot_stands_where_a_photo_was_taken(drive: Drive):
    memory = new_memory()
    remember(memory, drive, frames=FRAMES - 1)
    step = np.array([0.15, 0.1, 0.1])
    (beside,) = render(drive.scene, geometry.compose(drive.poses[-1], step)[None], CAMERA)
    view, updates = drive.images[-1], memory.num_updates
    seen = memory.compare(beside, view, drive.poses[-1])
    assert seen.verdict == Verdict.RECOGNISED, seen.why
    np.testing.assert_allclose(seen.pose, step, atol=0.1)
    # Whether it is called another place depends on how well this short drive's memory knows the view.
    assert memory.compare(make_drive(7).photos[0], view, drive.poses[-1]).verdict != Verdict.RECOGNISED
    assert memory.compare(np.zeros_like(view), view, drive.poses[-1]).verdict == Verdict.UNDECIDED
    assert memory.compare(view, np.zeros_like(view), drive.poses[-1]).verdict == Verdict.UNDECIDED
    by_another = memory.compare(beside, view, drive.poses[-1], hfov=CAMERA.hfov)
    assert by_another.verdict == Verdict.RECOGNISED, by_another.why
    assert memory.num_updates == updates
    with pytest.raises(EmptyMemoryError):
        new_memory().compare(beside, view, drive.poses[-1])


def test_a_room_with_the_same_walls_is_not_recognised_and_one_with_a_chair_less_is(drive: Drive):
    memory, here = new_memory(), drive.poses[15]
    remember(memory, drive, frames=15)
    verdicts = []
    for gone in (0.1, 1.0):  # of the furniture
        room = without(drive.scene, np.random.default_rng(1), gone)
        (photo,) = render(room, geometry.compose(here, np.array([0.1, 0.05, 0.05]))[None], CAMERA)
        verdicts.append(memory.compare(photo, drive.images[15], here).verdict)
    assert verdicts[0] == Verdict.RECOGNISED
    assert verdicts[1] != Verdict.RECOGNISED


def test_a_grey_photo_of_a_memory_in_colour_is_found_and_called_seen(drive: Drive, driven: SpatialMemory):
    luma = [cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY) for photo in drive.photos]
    mono = [driven.locate(decode_image("mono8", *grey.shape, CAMERA.width, False, grey)) for grey in luma]
    assert_near(mono, drive.truth)
    assert min(answer.seen for answer in mono) >= DriveLimits().min_seen
    _, jpeg = cv2.imencode(".jpg", np.repeat(luma[0][..., None], 3, axis=2))
    assert driven.locate(decode_compressed("jpeg", jpeg)).seen >= DriveLimits().min_seen


def test_confidence_is_never_above_seen(answers: list[Estimate], strange_answers: list[Estimate]):
    for answer in answers + strange_answers:
        assert 0.0 <= answer.confidence <= answer.seen <= 1.0
        assert all(0.0 <= other.confidence <= answer.seen for other in answer.alternatives)


def test_alternatives_are_other_places(answers: list[Estimate], strange_answers: list[Estimate]):
    several = [answer for answer in answers + strange_answers if answer.alternatives]
    assert several, "a strange photo looks a little like several places"
    for answer in several:
        poses = [answer.pose, *(other.pose for other in answer.alternatives)]
        assert len(poses) <= 4
        for number, pose in enumerate(poses):
            for better in poses[:number]:
                position, yaw = pose_errors(pose, better)
                assert position > 1.0 or yaw > math.radians(30.0)


def test_every_covariance_is_one(answers: list[Estimate], strange_answers: list[Estimate]):
    for answer in answers + strange_answers:
        for part in (answer, *answer.alternatives):
            assert part.covariance.shape == (3, 3)
            np.testing.assert_allclose(part.covariance, part.covariance.T, atol=1e-4 * part.covariance.max())
            assert np.linalg.eigvalsh(part.covariance).min() > 0


def test_odom_pose_is_the_pose_seen_from_the_odom_frame(drive: Drive, answers: list[Estimate]):
    for answer in answers:
        expected = geometry.compose(drive.poses[-1], answer.pose)
        assert_same_poses(np.array([answer.odom_pose]), expected[None], 1e-6)
        assert answer.num_updates == FRAMES


def test_the_answer_does_not_depend_on_the_odom_frame(drive: Drive):
    near = new_memory()
    remember(near, drive, frames=10)
    expected = poses_of(near, drive.images[3:6])
    for odom_T_world in ([3.0, -7.0, 2.0], [-1e4, 1e4, -3.0]):
        far = new_memory()
        remember(far, drive, np.array(odom_T_world), frames=10)
        assert_same_poses(poses_of(far, drive.images[3:6]), expected, 1e-3)


def test_nothing_is_lost_after_thousands_of_updates_ten_kilometres_away(
    drive: Drive, answers: list[Estimate]
):
    memory = new_memory()
    config = memory._network.config
    state = TokenMemory.empty(config)
    yaw = 0.0007 * np.arange(3_000)
    xy = np.cumsum(0.1 * np.stack([np.cos(yaw), np.sin(yaw)], axis=1), axis=0)
    poses = np.concatenate([xy, geometry.wrap_angle(yaw + 0.0007)[:, None]], axis=1)
    with torch.inference_mode():  # drives on without looking: the recurrence of poses alone
        for pose in torch.from_numpy(poses):
            state = follow(config, state, pose)
    assert int(state.updates) == 3_000
    far = geometry.compose([1e4, -1e4, 0.0], poses[-1])
    memory._state = follow(config, state, torch.from_numpy(far))
    remember(memory, drive, geometry.compose(far, geometry.inverse(drive.poses[0])))
    expected = np.array([answer.pose for answer in answers[:4]])
    # Nearly: what a robot sees on its first steps teaches more of its odometry than what it sees later.
    assert_same_poses(poses_of(memory, drive.photos[:4]), expected, 0.02)


def test_the_state_does_not_grow_with_history(driven: SpatialMemory):
    assert driven.state_bytes == new_memory().state_bytes <= 2_000_000
    assert driven.num_updates == FRAMES


def test_a_query_reads_a_snapshot_and_never_waits_for_an_update(
    drive: Drive, monkeypatch: pytest.MonkeyPatch
):
    memory = new_memory()
    remember(memory, drive, frames=8)
    expected = memory.locate(drive.images[4])
    entered, release = threading.Event(), threading.Event()
    update = memory._network.update

    def slow_update(*args):
        state = update(*args)
        entered.set()
        assert release.wait(60)
        return state

    monkeypatch.setattr(memory._network, "update", slow_update)
    thread = threading.Thread(target=memory.update, args=(drive.images[8], drive.poses[8]))
    thread.start()
    try:
        assert entered.wait(60)
        during = memory.locate(drive.images[4])  # would never return if it waited
        assert during.pose == expected.pose
        assert during.num_updates == 8
    finally:
        release.set()
        thread.join()
    assert memory.num_updates == 9


def test_questions_and_updates_at_once_disturb_nobody(drive: Drive):
    memory, alone = new_memory(), new_memory()
    remember(memory, drive, frames=8)
    remember(alone, drive, frames=12)
    asked: list[Estimate] = []
    failed: list[BaseException] = []

    def ask() -> None:
        try:
            while memory.num_updates < 12:
                asked.append(memory.locate(drive.images[4]))
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for image, pose in zip(drive.images[8:12], drive.poses[8:12], strict=True):
        memory.update(image, pose)
    for thread in threads:
        thread.join()
    assert not failed
    assert asked
    for answer in asked:
        truth = geometry.between(drive.poses[answer.num_updates - 1], drive.poses[4])
        assert_near([answer], truth[None], share=1.0)
    assert memory.locate(drive.images[2]).pose == alone.locate(drive.images[2]).pose


def test_save_and_load_give_back_the_same_memory(drive: Drive, driven: SpatialMemory, tmp_path):
    driven.save(tmp_path / "state.safetensors")
    other = new_memory()
    other.load(tmp_path / "state.safetensors")
    assert other.num_updates == driven.num_updates
    assert other.locate(drive.photos[0]).pose == driven.locate(drive.photos[0]).pose
    before = other.num_updates
    other.update(drive.images[-1], drive.poses[-1])  # and the drive goes on
    assert other.num_updates == before + 1
    assert_near([other.locate(drive.photos[1])], drive.truth[1:2], share=1.0)


def test_an_empty_memory_is_saved_and_loaded_as_one(drive: Drive, tmp_path):
    new_memory().save(tmp_path / "state.safetensors")
    memory = new_memory()
    remember(memory, drive, frames=2)
    memory.load(tmp_path / "state.safetensors")
    assert memory.num_updates == 0
    with pytest.raises(EmptyMemoryError):
        memory.locate(drive.images[0])
    remember(memory, drive, frames=3)
    assert_near(
        [memory.locate(drive.images[0])], geometry.between(drive.poses[2], drive.poses[:1]), share=1.0
    )


def test_a_saved_memory_is_for_the_user_s_own_eyes(driven: SpatialMemory, tmp_path):
    driven.save(tmp_path / "state.safetensors")
    assert stat.S_IMODE((tmp_path / "state.safetensors").stat().st_mode) == 0o600


def test_a_disk_that_is_full_leaves_the_file_that_was_there(driven: SpatialMemory, tmp_path):
    path = tmp_path / "state.safetensors"
    new_memory().save(path)
    whole, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            driven.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]


def test_a_damaged_memory_file_is_refused_and_the_present_memory_stays(
    drive: Drive, driven: SpatialMemory, tmp_path
):
    path = tmp_path / "state.safetensors"
    driven.save(path)
    whole = path.read_bytes()
    before = driven._state
    for damaged in (whole[: len(whole) // 2], whole[:-4] + b"\0\1\2\3", b"", b"hello"):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"state\.safetensors"):
            driven.load(path)
    with pytest.raises(CheckpointError, match="no such file"):
        driven.load(tmp_path / "absent.safetensors")
    with pytest.raises(CheckpointError, match="not a kinaema-memory"):
        driven.load(default_checkpoint())
    assert driven._state is before


def crafted(path, change) -> None:
    """The memory file with other content, and a hash that fits."""
    tensors, metadata = read_tensors(path, FORMAT, VERSION)
    change(tensors, metadata)
    del metadata["sha256"]
    write_tensors(path, tensors, metadata)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda t, m: t.update(extra=torch.zeros(3)), "'extra' is unknown"),
        (lambda t, m: t.pop("tilt"), "'tilt' is missing"),
        (lambda t, m: t.update(pose=t["pose"][:-1]), "'pose' has another shape or type"),
        (lambda t, m: t.update(pose=t["pose"].float()), "'pose' has another shape or type"),
        (lambda t, m: t["robot"].fill_(math.nan), "'robot' holds values outside"),
        (lambda t, m: t["tokens.inverse_depth"].fill_(math.inf), "'tokens.inverse_depth' holds"),
        (lambda t, m: t["updates"].fill_(-1), "holds values outside of 0"),
        (lambda t, m: t["written"].fill_(10**6), "'written' holds values outside of 0"),
        (lambda t, m: t["window_slot"].fill_(512), "'window_slot' holds values outside of -1 to 511"),
        (lambda t, m: t["graph.head"].fill_(-1), "'graph.head' holds values outside of 0 to 511"),
        (lambda t, m: t["graph.information"].fill_(-1.0), "'graph.information' holds values outside of 0"),
        (lambda t, m: m.update(version=99), "format version 99"),
        (lambda t, m: m.update(network="another"), "saved with another network"),
    ],
)
def test_a_crafted_memory_file_is_refused_and_the_present_memory_stays(
    driven: SpatialMemory, tmp_path, change, complaint: str
):
    path = tmp_path / "state.safetensors"
    driven.save(path)
    before = driven._state
    crafted(path, change)
    with pytest.raises(CheckpointError, match=rf"state\.safetensors.*{complaint}"):
        driven.load(path)
    assert driven._state is before


def test_metadata_that_was_changed_does_not_fit_its_hash(driven: SpatialMemory, tmp_path):
    path = tmp_path / "state.safetensors"
    driven.save(path)
    whole = path.read_bytes()
    other = "0" * len(driven._hash)
    assert driven._hash.encode() in whole
    path.write_bytes(whole.replace(driven._hash.encode(), other.encode()))
    with pytest.raises(CheckpointError, match="does not match its hash"):
        SpatialMemory(driven._network, checkpoint_hash=other).load(path)


@pytest.mark.parametrize(
    ("metadata", "what"), [({"format": "pt"}, "pt"), ({}, "something else"), ({"format": "[" * 9999}, r"\[+")]
)
def test_a_foreign_safetensors_file_is_called_foreign(
    driven: SpatialMemory, tmp_path, metadata: dict[str, str], what: str
):
    path = tmp_path / "foreign.safetensors"
    header = json.dumps({"__metadata__": metadata}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(CheckpointError, match=rf"foreign\.safetensors: holds {what}, not a kinaema-memory"):
        driven.load(path)


def test_a_large_file_of_another_kind_is_refused_without_reading_it(driven: SpatialMemory, tmp_path):
    path = tmp_path / "language_model.safetensors"
    size = 8 * 2**30
    header = json.dumps(
        {"weight": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}
    ).encode()
    with open(path, "wb") as stream:
        stream.write(len(header).to_bytes(8, "little") + header)
        stream.truncate(8 + len(header) + size)  # sparse: takes no room
    started = time.monotonic()
    with pytest.raises(CheckpointError, match="holds something else, not a kinaema-memory"):
        driven.load(path)
    assert time.monotonic() - started < 5


def test_a_memory_of_another_network_is_refused(driven: SpatialMemory, tmp_path):
    driven.save(tmp_path / "state.safetensors")
    other = SpatialMemory(driven._network, checkpoint_hash="another")
    with pytest.raises(CheckpointError, match="saved with another network"):
        other.load(tmp_path / "state.safetensors")


def test_reset_forgets(drive: Drive):
    memory = new_memory()
    remember(memory, drive, frames=2)
    memory.reset()
    assert memory.num_updates == 0
    with pytest.raises(EmptyMemoryError, match="drive the robot"):
        memory.locate(drive.photos[0])


IMAGE = np.zeros((120, 160, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("image", "pose", "complaint"),
    [
        (np.zeros((120, 160), np.uint8), (0, 0, 0), "must be \\(H, W, 3\\)"),
        (np.zeros((120, 160, 3), np.float32), (0, 0, 0), "uint8"),
        (np.zeros((0, 160, 3), np.uint8), (0, 0, 0), "at least 32"),
        (np.zeros((31, 160, 3), np.uint8), (0, 0, 0), "at least 32"),
        (IMAGE, (0, 0), "must be \\(x, y, yaw\\)"),
        (IMAGE, (math.nan, 0, 0), "not finite"),
        (IMAGE, (0, math.inf, 0), "not finite"),
        (IMAGE, (1e9, 0, 0), "beyond"),
    ],
)
def test_bad_input_is_refused_and_changes_nothing(driven: SpatialMemory, image, pose, complaint: str):
    before = driven._state
    with pytest.raises(ValueError, match=complaint):
        driven.update(image, pose)
    assert driven._state is before


def test_a_bad_photo_is_refused(driven: SpatialMemory):
    with pytest.raises(ValueError, match="uint8"):
        driven.locate(IMAGE.astype(np.float32))
    with pytest.raises(ValueError, match="at least 32"):
        driven.locate(IMAGE[:20], hfov=1.0)
    with pytest.raises(ValueError, match="field of view"):
        driven.locate(IMAGE, hfov=3.0)
    upright = Intrinsics.from_hfov(IMAGE.shape[0], IMAGE.shape[1], 1.0)
    with pytest.raises(ValueError, match="another aspect than its camera's"):
        driven.locate(IMAGE, camera=upright)
    with pytest.raises(ValueError, match="not both"):
        driven.add_place("desk", IMAGE, odom_pose=(0.0, 0.0, 0.0))


def test_a_blank_photo_is_not_seen(driven: SpatialMemory):
    answer = driven.locate(np.full((240, 320, 3), 127, np.uint8))
    assert answer.confidence < 0.1
    assert np.isfinite(answer.pose).all()


def test_a_photo_by_another_camera_is_answered_with_the_ground_pose_from_where_it_was_taken(
    drive: Drive, driven: SpatialMemory
):
    """A phone, held higher than the robot's camera, tilted, and with a narrower lens."""
    phone = Camera(width=400, height=300, hfov=math.radians(65), z=1.2, pitch=0.2)
    photos = render(drive.scene, drive.views[2:8], phone)
    by_hfov = [driven.locate(photo, hfov=phone.hfov) for photo in photos]
    assert_near(by_hfov, drive.truth[2:8])
    # The same camera by its intrinsics, which are those of another resolution.
    intrinsics = Intrinsics.from_hfov(1600, 1200, phone.hfov)
    by_camera = driven.locate(photos[0], camera=intrinsics)
    assert_same_poses(np.array([by_camera.pose]), np.array([by_hfov[0].pose]), 1e-4)


def test_an_offset_tilted_camera_gives_the_answers_of_a_level_one_in_the_middle(drive: Drive):
    eye = Camera(x=0.2, y=-0.15, z=0.7, yaw=0.4, pitch=0.12)
    memory = new_memory()
    mount = Mount(eye.x, eye.y, eye.z, eye.yaw, eye.pitch)
    memory.set_camera(Intrinsics.from_hfov(eye.width, eye.height, eye.hfov), mount)
    mounted = replace(drive, images=render(drive.scene, drive.poses, eye))
    remember(memory, mounted)
    photos = render(drive.scene, drive.views[2:8], eye)
    own = [memory.locate(photo) for photo in photos]
    assert_near(own, drive.truth[2:8])  # where the base must be, not where the camera was
    for answer in own:
        expected = geometry.compose(drive.poses[-1], answer.pose)
        assert_same_poses(np.array([answer.odom_pose]), expected[None], 1e-6)
    phone = Camera(hfov=math.radians(65), z=1.2, pitch=0.2)
    photos = render(drive.scene, drive.views[2:8], phone)
    assert_near([memory.locate(photo, hfov=phone.hfov) for photo in photos], drive.truth[2:8])


def distorted(image: np.ndarray, pinhole: Intrinsics, lens: Intrinsics) -> np.ndarray:
    """What ``lens`` sees of the view of which ``image`` is that of a wider ``pinhole`` without distortion."""
    rows, columns = np.mgrid[: lens.height, : lens.width]
    ray = lens.rays(np.stack([columns, rows], axis=-1).reshape(-1, 2).astype(float))
    x = pinhole.fx * -ray[:, 1] / ray[:, 0] + pinhole.cx
    y = pinhole.fy * -ray[:, 2] / ray[:, 0] + pinhole.cy
    x, y = (v.reshape(lens.height, lens.width).astype(np.float32) for v in (x, y))
    return cv2.remap(image, x, y, cv2.INTER_LINEAR)


def test_a_distorted_photo_is_placed_by_its_lens(drive: Drive, driven: SpatialMemory):
    wide = Camera(width=640, height=480, hfov=math.radians(115))
    lens = Intrinsics(400, 300, 230.0, 230.0, 199.5, 149.5, "plumb_bob", (-0.25, 0.05, 0.0, 0.0))
    pinhole = Intrinsics.from_hfov(wide.width, wide.height, wide.hfov)
    photos = [distorted(image, pinhole, lens) for image in render(drive.scene, drive.views[2:8], wide)]
    with_lens = [driven.locate(photo, camera=lens) for photo in photos]
    assert_near(with_lens, drive.truth[2:8])
    straight = replace(lens, distortion_model="none", distortion=())
    without = [driven.locate(photo, camera=straight) for photo in photos]
    errors = [pose_errors([a.pose for a in said], drive.truth[2:8])[0] for said in (with_lens, without)]
    assert np.median(errors[0]) < 0.5 * np.median(errors[1])


def test_camera_info_and_field_of_view_agree(drive: Drive):
    by_fov = new_memory(hfov=math.radians(90))
    by_info = new_memory(hfov=math.radians(60))
    by_info.set_camera(Intrinsics(640, 480, 320.0, 320.0, 319.5, 239.5))  # calibrated at another resolution
    for memory in (by_fov, by_info):
        remember(memory, drive, frames=6)
    assert_same_poses(poses_of(by_fov, drive.images[2:4]), poses_of(by_info, drive.images[2:4]), 1e-5)


def test_an_image_of_another_aspect_than_the_camera_is_refused_with_both_sizes_and_the_remedy(drive: Drive):
    memory = new_memory()
    memory.set_camera(Intrinsics(640, 480, 320.0, 320.0, 319.5, 239.5))
    wide = np.zeros((360, 640, 3), dtype=np.uint8)
    with pytest.raises(KinaemaError, match=r"640 x 360 pixels.* 640 x 480 .*call set_camera") as refused:
        memory.update(wide, (0, 0, 0))
    assert isinstance(refused.value, ValueError)
    assert memory.num_updates == 0
    remember(memory, drive, frames=1)
    with pytest.raises(
        KinaemaError, match=r"640 x 360 pixels.* 640 x 480 .*pass its hfov or camera to locate"
    ):
        memory.locate(wide)
    memory.locate(wide, hfov=math.pi / 2)
    memory.locate(drive.photos[0])
    memory.set_camera(Intrinsics(640, 360, 320.0, 320.0, 319.5, 179.5))
    memory.update(wide, (0, 0, 0))
    assert memory.num_updates == 2


def test_an_impossible_camera_is_refused():
    with pytest.raises(ValueError, match="field of view"):
        new_memory(hfov=4.0)
    with pytest.raises(ValueError, match="must be positive"):
        Intrinsics(640, 480, 0.0, 0.0, 320.0, 240.0)
    with pytest.raises(ValueError, match="thin_prism"):
        Intrinsics(640, 480, 500.0, 500.0, 320.0, 240.0, "thin_prism", (0.1, 0.0, 0.0, 0.0))


def test_a_wrong_checkpoint_is_refused(tmp_path):
    whole = default_checkpoint().read_bytes()
    path = tmp_path / "net.safetensors"
    for damaged in (whole[: len(whole) // 2], whole[:-1] + bytes([whole[-1] ^ 1]), b"\x80\x04pickle"):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"net\.safetensors"):
            SpatialMemory.from_checkpoint(path)
    with pytest.raises(CheckpointError, match="no such file"):
        SpatialMemory.from_checkpoint(tmp_path / "absent.safetensors")
