"""The untrained memory of local tokens on a recording, until `kinaema replay` asks it.

    python benchmarks/local_tokens.py ../shared/data/gazebo_bookstore [--crop-hfov-deg 69] [--exact]
    python benchmarks/local_tokens.py ../shared/data/gazebo_bookstore --queries ../shared/data/phone_bookstore --query-hfov-deg 70

Prints the median error, the shares within (0.25 m, 5 deg), (0.5 m, 10 deg), (1 m, 20 deg), (2 m, 30 deg), the share of
which any hypothesis is within (1 m, 20 deg), and the AUROC of the score between seen and never-seen photos. Descriptors are
projected to the main axes of the drive's own; hypotheses are ranked by a hand-made score.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kinaema_ros import geometry, metrics
from kinaema_ros.camera import Intrinsics, photo_hfov
from kinaema_ros.images import RGB, read_image
from kinaema_ros.keyframes import KeyframeSelector
from kinaema_ros.model import cell
from kinaema_ros.model.camera_pose import tilt_rotation
from kinaema_ros.model.config import KinaemaConfig
from kinaema_ros.model.local_features import Keypoints, LocalFeatures
from kinaema_ros.model.localise import Evidence, distinct, hypotheses
from kinaema_ros.model.token_memory import TokenMemory
from kinaema_ros.model.tokens import Tokens
from kinaema_ros.replay.bag import open_recording
from kinaema_ros.replay.queries import read_queries
from kinaema_ros.training.pretrained import load_pretrained_features

LEVELS = ((0.25, 5.0), (0.5, 10.0), (1.0, 20.0), (2.0, 30.0))
CONFIG = KinaemaConfig()


def crop(rgb: RGB, camera: Intrinsics, hfov_deg: float | None) -> tuple[RGB, Intrinsics]:
    """The middle of an image, ``hfov_deg`` across, of the same aspect."""
    height, width = rgb.shape[:2]
    camera = camera.scaled_to(width, height)
    if hfov_deg is None:
        return rgb, camera
    w = min(width // 2, round(camera.fx * math.tan(math.radians(hfov_deg) / 2)))
    h = round(w * height / width)
    x, y = width // 2 - w, height // 2 - h
    cut = Intrinsics(2 * w, 2 * h, camera.fx, camera.fy, camera.cx - x, camera.cy - y)
    return np.ascontiguousarray(rgb[y : y + 2 * h, x : x + 2 * w]), cut


def tokens(points: Keypoints, camera: Intrinsics, pitch: float, axes: tuple[Tensor, Tensor]) -> Tokens:
    """A view of the memory."""
    sizes = CONFIG.tokens
    mean, directions = axes
    ray = torch.from_numpy(camera.rays(points.pixels.numpy())).float()
    ray = ray @ tilt_rotation(torch.tensor([0.0, pitch])).mT
    missing = sizes.view_tokens - points.count
    empty = Tokens.empty((missing,), sizes.dim)
    return Tokens(
        torch.cat([F.normalize((points.descriptors - mean) @ directions, dim=-1), empty.descriptor]),
        torch.cat([ray, empty.bearing]),
        torch.full((sizes.view_tokens,), sizes.prior_depth),
        torch.full((sizes.view_tokens,), sizes.prior_depth_std),
        torch.cat([0.1 + 0.5 * points.scores.clamp(0, 1), empty.quality]),
    )


def score(evidence: Evidence, other_camera: bool) -> float:
    """How good a hypothesis is; weights by logistic regression on the bookstore."""
    tilt = abs(evidence.roll) if other_camera else math.hypot(evidence.roll, evidence.pitch)
    return (
        0.375 * math.log(evidence.similarity + 0.3)
        + 2.66 * math.log(evidence.share + 0.01)
        + 2.31 * math.log(evidence.best_share + 0.02)
        + 7.29 * evidence.coverage
        - 7.26 * min(tilt, 0.5)
    )


@torch.inference_mode()
def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("drive", type=Path)
    parser.add_argument("--queries", type=Path)
    parser.add_argument("--exact", action="store_true", help="true poses as odometry")
    parser.add_argument("--crop-hfov-deg", type=float)
    parser.add_argument("--crop-query-hfov-deg", type=float)
    parser.add_argument("--query-hfov-deg", type=float, help="of the longer side of photos by another camera")
    parser.add_argument("--pitch-deg", type=float, default=0.0)
    parser.add_argument("--every", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    network = LocalFeatures().eval()
    load_pretrained_features(network)
    sizes, pitch = CONFIG.tokens, math.radians(arguments.pitch_deg)

    def detect(rgb: RGB) -> Keypoints:
        return network.detect(
            torch.from_numpy(np.ascontiguousarray(rgb)), sizes.view_pixels, sizes.view_tokens
        )

    views = []
    with open_recording(
        arguments.drive / "bag", odom_topic="/ground_truth/pose" if arguments.exact else None
    ) as drive:
        assert drive.camera is not None
        assert drive.truth is not None
        selector = KeyframeSelector()
        for frame in drive.frames():
            if selector.reason_to_skip(frame.stamp_ns, frame.odom_pose) is None:
                rgb, camera = crop(frame.rgb(), drive.camera, arguments.crop_hfov_deg)
                views.append((detect(rgb), camera, frame.odom_pose, drive.truth.at(frame.stamp_ns)))
        robot_camera = drive.camera
    sample = torch.cat([points.descriptors[::8] for points, *_ in views])
    axes = (sample.mean(0), torch.linalg.svd(sample - sample.mean(0), full_matrices=False)[2][: sizes.dim].T)

    memory, update_ms = TokenMemory.empty(CONFIG), []
    for points, camera, odometry, _ in views:
        view = tokens(points, camera, pitch, axes)
        start = time.perf_counter()
        memory = cell.update(CONFIG, memory, view, torch.from_numpy(odometry))
        update_ms.append(1e3 * (time.perf_counter() - start))
    end = views[-1][3]

    folder = arguments.queries or arguments.drive
    best, any_right, scores, seen, query_ms = [], [], [], [], []
    for query in read_queries(folder / "queries.csv")[:: arguments.every]:
        rgb = read_image(query.path)
        if arguments.query_hfov_deg:
            height, width = rgb.shape[:2]
            hfov = photo_hfov(width, height, math.radians(arguments.query_hfov_deg))
            camera = Intrinsics.from_hfov(width, height, hfov)
        else:
            rgb, camera = crop(rgb, robot_camera, arguments.crop_query_hfov_deg or arguments.crop_hfov_deg)
        photo = tokens(detect(rgb), camera, 0.0 if arguments.query_hfov_deg else pitch, axes)
        start = time.perf_counter()
        found = hypotheses(CONFIG, memory, photo)
        ranked = [
            replace(hypothesis, score=score(hypothesis.evidence, bool(arguments.query_hfov_deg)))
            for hypothesis in found
        ]
        ranked = distinct(CONFIG.search, sorted(ranked, key=lambda hypothesis: -hypothesis.score))
        query_ms.append(1e3 * (time.perf_counter() - start))
        seen.append(query.seen)
        scores.append(ranked[0].score if ranked else -30.0)
        if not seen[-1]:
            continue
        true = geometry.between(end, query.pose)
        errors = [
            metrics.pose_errors(
                geometry.between(memory.robot.numpy(), hypothesis.memory_T_photo.numpy()), true
            )
            for hypothesis in ranked
        ] or [(np.float64(99.0), np.float64(math.pi))]
        best.append(errors[0])
        any_right.append(any(d < 1.0 and a < math.radians(20.0) for d, a in errors))
    distance, angle = np.array(best).T
    within = [f"{100 * np.mean((distance < m) & (angle < math.radians(d))):.1f}" for m, d in LEVELS]
    print(
        f"{np.median(distance):.3f} m {np.degrees(np.median(angle)):.2f} deg; {' / '.join(within)}; "
        f"any {100 * np.mean(any_right):.1f}; AUROC {metrics.auroc(np.array(scores), np.array(seen)):.3f}; "
        f"update {np.median(update_ms):.0f} ms, query {np.median(query_ms):.0f} ms without features; "
        f"{memory.num_bytes / 1e6:.2f} MB"
    )


if __name__ == "__main__":
    main()
