"""Pictures of an evaluation: accuracy by length, by age of the memory and by distance, and calibration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kinaema_ros import metrics
from kinaema_ros.evaluation.rpe_answers import LabelledEstimates, groups

STYLE = {
    "kinaema": ("#c1121f", "o"),
    "retrieval_pair": ("#2a6f97", "s"),
    "retrieval": ("#61a5c2", "D"),
    "attention": ("#e09f3e", "^"),
    "gru": ("#2d9d4f", "v"),
    "paper": ("#7b2cbf", "P"),
    "own_pose": ("grey", "x"),
}
LEVEL = "acc_1m_20deg"


def write_plots(
    folder: Path, answers: dict[str, list[LabelledEstimates]], lengths: Sequence[int]
) -> list[Path]:
    """Write accuracy.png, age.png, distance.png and calibration.png; returns their paths."""
    entries = [entry for name in answers for entry in groups(name, answers[name], lengths)]
    longest = [entry for entry in entries if entry["length"] == lengths[-1]]
    title = f"within 1 m and 20°, {lengths[-1]} frames"
    return [
        _save(_by_length(answers, lengths), folder / "accuracy.png"),
        _save(_by_group(longest, "age", f"{title}: when the place was last near"), folder / "age.png"),
        _save(_by_group(longest, "distance", f"{title}: how far the place is"), folder / "distance.png"),
        _save(_calibration(answers, lengths), folder / "calibration.png"),
    ]


def _by_length(answers: dict[str, list[LabelledEstimates]], lengths: Sequence[int]) -> Figure:
    figure, panels = _figure(len(metrics.ACCURACY_LEVELS))
    for axes, (key, (metres, radians)) in zip(panels, metrics.ACCURACY_LEVELS.items(), strict=True):
        for name, of_lengths in answers.items():
            errors = [metrics.pose_errors(answer.located, answer.truth) for answer in of_lengths]
            values = [metrics.accuracy_summary(*error)[key] for error in errors]
            color, marker = STYLE[name]
            axes.plot(lengths, 100 * np.array(values, float), color=color, marker=marker, label=name)
        axes.set(
            title=f"within {metres:g} m and {np.degrees(radians):.0f}°", xlabel="frames driven", xscale="log"
        )
        axes.set_xticks(list(lengths), [str(length) for length in lengths])
        axes.minorticks_off()
        axes.set_ylim(0, 102)
    panels[0].set_ylabel("seen places located (%)")
    panels[0].legend(frameon=False)
    return figure


def _by_group(entries: list[dict[str, Any]], kind: str, title: str) -> Figure:
    figure, (axes,) = _figure(1)
    entries = [entry for entry in entries if entry["by"] == kind]
    names = list(dict.fromkeys(entry["method"] for entry in entries))
    kinds = list(dict.fromkeys(entry["group"] for entry in entries))
    for offset, name in enumerate(names):
        mine = [entry for entry in entries if entry["method"] == name]
        heights = [100 * entry[LEVEL] if entry[LEVEL] is not None else 0.0 for entry in mine]
        x = np.arange(len(kinds)) + 0.8 * (offset + 0.5) / len(names) - 0.4
        axes.bar(x, heights, 0.75 / len(names), color=STYLE[name][0], label=name)
    counts = [next(e["queries"] for e in entries if e["group"] == group) for group in kinds]
    axes.set_xticks(range(len(kinds)), [f"{g}\n({n} queries)" for g, n in zip(kinds, counts, strict=True)])
    axes.set(ylim=(0, 102), ylabel="seen places located (%)", title=title)
    axes.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.16))
    return figure


def _calibration(answers: dict[str, list[LabelledEstimates]], lengths: Sequence[int]) -> Figure:
    figure, (ellipses, roc) = _figure(2)
    nominal = np.linspace(0.0, 1.0, 101)
    for name, of_lengths in answers.items():
        answer, (color, _) = of_lengths[-1], STYLE[name]
        levels = answer.levels()
        if levels is not None:
            ellipses.plot(nominal, metrics.coverage(levels, nominal), color=color, label=name)
        false_positive, true_positive, _ = metrics.roc_curve(answer.seen, answer.is_seen)
        auroc = metrics.auroc(answer.seen, answer.is_seen)
        roc.plot(false_positive, true_positive, color=color, label=f"{name}, AUROC {auroc:.3f}")
    ellipses.set(xlabel="confidence level of the ellipse", ylabel="share of true positions inside")
    ellipses.set_title(f"covariance of position, {lengths[-1]} frames")
    roc.set(xlabel="unseen places taken for seen", ylabel="seen places recognised")
    roc.set_title(f"seen or unseen, {lengths[-1]} frames")
    for axes in (ellipses, roc):
        axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle=":")
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        axes.legend(frameon=False)
    return figure


def _figure(panels: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(4.2 * panels if panels > 1 else 8.0, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(np.ravel(figure.subplots(1, panels)))


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=130)
    return path
