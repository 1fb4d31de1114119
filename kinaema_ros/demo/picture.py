"""The demo on one page: the map with the drive, the answers and the truth, and each photo beside the arrival."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpecFromSubplotSpec
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon

from kinaema_ros.demo.record import CAMERA, DemoRecord, Visit
from kinaema_ros.drawing import BLUE, GREEN, ORANGE, RED, FloorPlan, ellipse
from kinaema_ros.metrics import SUCCESS_DISTANCE
from kinaema_ros.sim import render

Rgb = tuple[float, float, float]
_SCALE, _MARGIN = 100, 0.3  # pixels per metre of the floor plan, metres around it


def write_picture(path: Path, record: DemoRecord) -> None:
    """Writes a PNG."""
    rows = max(1, len(record.visits))
    figure = Figure(figsize=(15.0, max(7.5, 1.75 * rows + 1.2)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(1, 2, width_ratios=(1.7, 1.0))
    _draw_map(figure.add_subplot(grid[0]), record)
    cells = GridSpecFromSubplotSpec(rows, 2, grid[1])
    for row, visit in enumerate(record.visits):
        _draw_visit([figure.add_subplot(cells[row, column]) for column in range(2)], record, row + 1, visit)
    figure.suptitle(
        f"{record.reached} of {record.goals} places found from their photos alone, after "
        f"{record.explored - record.began:.0f} s in building {record.scene.seed}, never seen before",
        fontsize=17,
        fontweight="bold",
    )
    figure.savefig(path, dpi=110)


def _draw_map(axes: Axes, record: DemoRecord) -> None:
    scene = record.scene
    width, height = (round(side * _SCALE) for side in scene.size)
    edge = round(_MARGIN * _SCALE)
    plan = np.full((height + 2 * edge, width + 2 * edge, 3), 255, np.uint8)
    FloorPlan(scene, edge, edge, width, height).draw(plan)
    limits = (-_MARGIN, scene.size[0] + _MARGIN, -_MARGIN, scene.size[1] + _MARGIN)
    axes.imshow(plan, extent=limits, zorder=1)
    explored = record.path(record.began, record.explored)
    axes.plot(explored[:, 0], explored[:, 1], color=_rgb(BLUE), alpha=0.45, linewidth=1.2, zorder=2)
    for number, visit in enumerate(record.visits, 1):
        driven = record.path(visit.started, visit.ended)
        axes.plot(driven[:, 0], driven[:, 1], color=_rgb(ORANGE), linewidth=2.0, alpha=0.8, zorder=3)
        _draw_goal(axes, number, visit)
    axes.set(xlim=limits[:2], ylim=limits[2:], xlabel="x (m)", ylabel="y (m)")
    axes.set_title("The building from above, for you: the memory has no map", fontsize=12)
    legend = [
        Line2D([], [], color=_rgb(BLUE), alpha=0.6, label="exploration: images go in, none is kept"),
        Line2D([], [], color=_rgb(ORANGE), linewidth=2.0, label="drives to the photos"),
        Line2D([], [], color=_rgb(ORANGE), marker="o", linestyle="", label="answer from afar, 95 % ellipse"),
        Line2D([], [], color=_rgb(GREEN), marker="o", markerfacecolor="white", linestyle=""),
    ]
    legend[-1].set_label("where a photo was taken (red: not reached)")
    axes.legend(handles=legend, loc="upper center", bbox_to_anchor=(0.5, -0.06), ncols=2, frameon=False)


def _draw_goal(axes: Axes, number: int, visit: Visit) -> None:
    color = _rgb(GREEN if visit.reached else RED)
    if visit.first_estimate is not None:
        pose = np.array(visit.first_estimate.pose)
        outline = ellipse(pose, visit.first_estimate.covariance)
        axes.add_patch(Polygon(outline, facecolor=_rgb(ORANGE), alpha=0.22, edgecolor="none", zorder=4))
        _arrow(axes, pose, _rgb(ORANGE))
        axes.plot(pose[0], pose[1], "o", color=_rgb(ORANGE), markersize=6, zorder=6)
    _arrow(axes, visit.true, color)
    axes.plot(
        *visit.true[:2], "o", color=color, markerfacecolor="white", markersize=17, markeredgewidth=2, zorder=7
    )
    axes.annotate(
        str(number),
        (visit.true[0], visit.true[1]),
        ha="center",
        va="center",
        fontweight="bold",
        color=color,
        zorder=8,
    )


def _draw_visit(panels: list[Axes], record: DemoRecord, number: int, visit: Visit) -> None:
    arrival = render(record.scene, visit.stopped[None], CAMERA)[0]
    position, yaw = visit.errors
    color = _rgb(GREEN if visit.reached else RED)
    left = f"{number}  photo"
    if visit.first_estimate is not None:
        left += f": answer {position:.2f} m, {math.degrees(yaw):.0f}° off"
    if not visit.arrived:
        right = "refused" if visit.first_estimate is None else "gave up"
    else:
        right = f"arrived {visit.distance:.2f} m away, {visit.seconds:.0f} s"
        if visit.distance > SUCCESS_DISTANCE:
            right += ": too far"
    for axes, picture, title in zip(panels, (visit.photo, arrival), (left, right), strict=True):
        axes.imshow(picture, interpolation="antialiased")
        axes.set(xticks=[], yticks=[])
        axes.set_title(title, fontsize=10, color=color, loc="left")
        for side in axes.spines.values():
            side.set(color=color, linewidth=2)


def _arrow(axes: Axes, pose: np.ndarray, color: Rgb) -> None:
    x, y, yaw = pose
    tip = x + 0.7 * math.cos(yaw), y + 0.7 * math.sin(yaw)
    axes.annotate("", tip, (x, y), arrowprops={"arrowstyle": "-|>", "color": color, "linewidth": 2}, zorder=5)


def _rgb(color: tuple[int, int, int]) -> Rgb:
    red, green, blue = color
    return red / 255.0, green / 255.0, blue / 255.0
