"""Pictures of a replay: the drive on its map, the errors, the seen/unseen decision, and the calibration."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Affine2D

from kinaema_ros import geometry, metrics
from kinaema_ros.geometry import Array
from kinaema_ros.replay.bag import Recording
from kinaema_ros.replay.maps import Map
from kinaema_ros.replay.replay import Outcome

TRUE, ODOMETRY, GOOD, BAD, UNSEEN = "#2a6f97", "#e09f3e", "#2d9d4f", "#c1121f", "#8d6a9f"
GOOD_LEVEL = metrics.ACCURACY_LEVELS["acc_1m_20deg"]


def write_plots(
    folder: Path, recording: Recording, outcome: Outcome, result: dict[str, Any], grid: Map | None
) -> list[Path]:
    """Write the pictures that the result allows as PNG into an existing folder; returns their paths.

    map.png always; errors.png and calibration.png where there is truth; seen.png where the queries are both
    of seen and of unseen places. `result` is what `replay.evaluate` returns.
    """
    written = [_save(_map_figure(recording, outcome, result["queries"], grid), folder / "map.png")]
    located = [query for query in result["queries"] if query["error_m"] is not None]
    if located:
        written.append(_save(_error_figure(located, result["summary"]), folder / "errors.png"))
        written.append(_save(_calibration_figure(located, result), folder / "calibration.png"))
    if result["summary"]["seen_auroc"] is not None:
        written.append(_save(_seen_figure(result["queries"], result["summary"]), folder / "seen.png"))
    return written


def draw_map(axes: Axes, grid: Map) -> None:
    """Draw an occupancy map in its frame's coordinates under what else the axes show."""
    height, width = (size * grid.resolution for size in grid.image.shape)
    x, y, yaw = grid.origin
    axes.imshow(
        grid.image,
        cmap="gray",
        vmin=-350,  # light, so that paths stand out from walls
        vmax=255,
        extent=(0.0, width, 0.0, height),
        transform=Affine2D().rotate(yaw).translate(x, y) + axes.transData,
        interpolation="nearest",
        zorder=0,
    )


def _map_figure(
    recording: Recording, outcome: Outcome, queries: list[dict[str, Any]], grid: Map | None
) -> Figure:
    map_T_robot = recording.truth.at(outcome.last_stamp_ns) if recording.truth is not None else None
    world_T_robot = outcome.last_odom_pose if map_T_robot is None else map_T_robot
    figure, (axes,) = _figure(1, (10.0, 9.0))
    axes.set_aspect("equal")
    odometry = geometry.compose(world_T_robot, geometry.between(outcome.last_odom_pose, recording.odom.poses))
    legend = [_path(axes, odometry, ODOMETRY, "odometry, aligned at the end")]
    if map_T_robot is not None and recording.truth is not None:
        if recording.truth_topic != recording.odom_topic:
            legend.append(_path(axes, recording.truth.poses, TRUE, "true path"))
        if grid is not None:  # its frame is the truth's, not the odometry's
            draw_map(axes, grid)
            height, width = (size * grid.resolution for size in grid.image.shape)
            axes.dataLim.update_from_data_xy(
                [grid.origin[:2], (grid.origin[0] + width, grid.origin[1] + height)]
            )
    located = [query for query in queries if query["error_m"] is not None]
    if located:
        legend += _draw_errors(axes, world_T_robot, located)
    elif seen := [query for query in queries if query["true_seen"]]:
        legend.append(
            _arrows(axes, geometry.compose(world_T_robot, _predicted(seen)), GOOD, "predicted view")
        )
    x, y, yaw = world_T_robot
    axes.plot(x, y, marker=(3, 0, math.degrees(yaw) - 90.0), markersize=14, color="black", zorder=6)
    legend.append(Line2D([], [], marker="^", linestyle="", color="black", label="robot when asked"))
    frame = (
        recording.odom.frame_id
        if map_T_robot is None or recording.truth is None
        else recording.truth.frame_id
    )
    axes.set(xlabel=f"x in {frame} (m)", ylabel="y (m)", title=f"{recording.path}: {len(queries)} queries")
    axes.autoscale_view()
    axes.legend(handles=legend, loc="upper center", bbox_to_anchor=(0.5, -0.07), ncols=3, frameon=False)
    return figure


def _draw_errors(axes: Axes, world_T_robot: Array, queries: list[dict[str, Any]]) -> list[Line2D]:
    true = geometry.compose(world_T_robot, _true(queries))
    predicted = geometry.compose(world_T_robot, _predicted(queries))
    position, yaw = metrics.pose_errors(predicted, true)
    good = (position <= GOOD_LEVEL[0]) & (yaw <= GOOD_LEVEL[1])
    colors = np.where(good, GOOD, BAD).tolist()
    lines = np.stack([true[:, :2], predicted[:, :2]], axis=1)
    axes.add_collection(LineCollection(list(lines), colors=colors, linewidths=0.8, zorder=3))
    return [
        _arrows(axes, true, "black", "true view"),
        _arrows(axes, predicted[good], GOOD, f"predicted within 1 m and 20° ({good.sum()})"),
        _arrows(axes, predicted[~good], BAD, f"predicted further off ({(~good).sum()})"),
    ]


def _error_figure(located: list[dict[str, Any]], summary: dict[str, Any]) -> Figure:
    figure, panels = _figure(4, (10.0, 7.0))
    for row, (key, name, unit, limits) in enumerate(
        [
            ("error_m", "position error", " m", (0.5, 1.0, 2.0)),
            ("error_deg", "yaw error", "°", (10.0, 20.0, 30.0)),
        ]
    ):
        errors = np.array([query[key] for query in located])
        end = 2.0 * limits[-1]
        histogram, cumulative = panels[2 * row], panels[2 * row + 1]
        histogram.hist(np.minimum(errors, end), bins=np.linspace(0, end, 33).tolist(), color=TRUE)
        median = float(np.median(errors))
        histogram.axvline(min(median, end), color=BAD, label=f"median {median:.2f}{unit}")
        histogram.set(
            xlabel=f"{name} ({unit.strip()}; the last bar holds all beyond)", ylabel="queries", xlim=(0, end)
        )
        histogram.legend(frameon=False)
        cumulative.step(
            np.sort(errors), np.arange(1, len(errors) + 1) / len(errors), where="post", color=TRUE
        )
        for limit in limits:
            share = float(np.mean(errors <= limit))
            cumulative.axvline(limit, color="grey", linewidth=0.8, linestyle=":")
            cumulative.annotate(f"{share:.0%}", (limit, share), xytext=(3, -11), textcoords="offset points")
        cumulative.set(
            xlabel=f"{name} ({unit.strip()})", ylabel="share of queries below", xlim=(0, end), ylim=(0, 1)
        )
    figure.suptitle(
        f"{len(located)} seen queries: {summary['acc_0.5m_10deg']:.0%} within 0.5 m and 10°, "
        f"{summary['acc_1m_20deg']:.0%} within 1 m and 20°, {summary['acc_2m_30deg']:.0%} within 2 m and 30°"
    )
    return figure


def _seen_figure(queries: list[dict[str, Any]], summary: dict[str, Any]) -> Figure:
    figure, (roc, histogram) = _figure(2, (10.0, 4.5))
    probability = np.array([query["seen"] for query in queries])
    seen = np.array([query["true_seen"] for query in queries])
    false_positive, true_positive, _ = metrics.roc_curve(probability, seen)
    roc.plot(false_positive, true_positive, color=TRUE, drawstyle="default")
    roc.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle=":")
    roc.set_aspect("equal")
    roc.set(
        xlabel="unseen places taken for seen",
        ylabel="seen places recognised",
        xlim=(-0.01, 1),
        ylim=(0, 1.01),
    )
    roc.set_title(f"seen or unseen: AUROC {summary['seen_auroc']:.3f}")
    bins = np.linspace(0, 1, 21).tolist()
    histogram.hist(
        [probability[seen], probability[~seen]],
        bins=bins,
        color=[GOOD, UNSEEN],
        label=[f"seen ({seen.sum()})", f"unseen ({(~seen).sum()})"],
    )
    histogram.set(xlabel="predicted probability of having seen the place", ylabel="queries", xlim=(0, 1))
    histogram.legend(frameon=False)
    return figure


def _calibration_figure(located: list[dict[str, Any]], result: dict[str, Any]) -> Figure:
    figure, (ellipses, probabilities) = _figure(2, (10.0, 4.8))
    covariances = np.array([query["covariance"] for query in located])
    nominal = np.linspace(0.0, 1.0, 101)
    levels = metrics.ellipse_levels(_predicted(located), _true(located), covariances)
    ellipses.plot(nominal, metrics.coverage(levels, nominal), color=TRUE)
    ellipses.set(xlabel="confidence level of the ellipse", ylabel="share of true positions inside")
    ellipses.set_title(f"position covariance: calibration error {result['summary']['ece']:.3f}")
    probability = np.array([query["seen"] for query in result["queries"]])
    seen = np.array([query["true_seen"] for query in result["queries"]])
    which = np.minimum((probability * 10).astype(int), 9)
    for index in np.unique(which):
        inside = which == index
        mean, share, size = probability[inside].mean(), seen[inside].mean(), inside.sum()
        probabilities.plot(
            mean, share, "o", color=TRUE, markersize=3 + 2 * math.log2(1 + size), clip_on=False
        )
        probabilities.annotate(
            str(size), (mean, share), xytext=(6, -12), textcoords="offset points", fontsize=8
        )
    probabilities.set(xlabel="predicted probability of having seen the place", ylabel="share that was seen")
    probabilities.set_title(f"seen: calibration error {result['summary']['seen_ece']:.3f} (numbers: queries)")
    for axes in (ellipses, probabilities):
        axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle=":")
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    return figure


def _predicted(queries: list[dict[str, Any]]) -> Array:
    return np.array([[query["x"], query["y"], query["yaw"]] for query in queries])


def _true(queries: list[dict[str, Any]]) -> Array:
    return np.array([[query["true_x"], query["true_y"], query["true_yaw"]] for query in queries])


def _path(axes: Axes, poses: Array, color: str, label: str) -> Line2D:
    (line,) = axes.plot(
        poses[:, 0], poses[:, 1], color=color, linewidth=1.0, alpha=0.8, zorder=2, label=label
    )
    return line


def _arrows(axes: Axes, poses: Array, color: str, label: str) -> Line2D:
    """Views as dots with a 0.35 m line of sight; returns what stands for them in the legend."""
    sight = 0.35 * np.stack([np.cos(poses[:, 2]), np.sin(poses[:, 2])], axis=1)
    lines = np.stack([poses[:, :2], poses[:, :2] + sight], axis=1)
    axes.add_collection(LineCollection(list(lines), colors=color, linewidths=1.2, zorder=4))
    axes.plot(poses[:, 0], poses[:, 1], "o", color=color, markersize=3, zorder=4)
    return Line2D([], [], color=color, marker="o", markersize=4, label=label)


def _figure(panels: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """A figure without pyplot, whose global state a library should not touch."""
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    grid = {1: (1, 1), 2: (1, 2), 4: (2, 2)}[panels]
    return figure, list(np.ravel(figure.subplots(*grid)))


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=130)
    return path
