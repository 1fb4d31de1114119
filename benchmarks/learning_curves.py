#!/usr/bin/env python3
"""How the learned baselines learn: held-out accuracy and the distance's median by sequences seen, of one run or several.

    python benchmarks/learning_curves.py RUN [RUN ...] --out docs/learning-curves.png

RUN is a folder of `kinaema train --method paper,gru,attention --out RUN`. The dotted lines are where the parts of drives become
longer: the questions become harder there, too. Curves of a second run are dashed, and so on; its folder's name is its label.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kinaema_ros.evaluation.rpe_plots import STYLE

PANELS = {"held_accuracy": "held-out views within 1 m and 20° (%)", "held_median_m": "their median (m)"}
LINES = ("-", "--", ":", "-.")


def read(run: Path) -> dict[str, list[dict[str, Any]]]:
    """The entries with held-out figures of each baseline."""
    entries: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in (run / "log.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if "held_accuracy" in entry:
            entries[entry["baseline"]].append(entry)
    return entries


def main() -> None:
    """Draw them all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    runs = {run.resolve().name: read(run) for run in arguments.run}
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (key, label) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        for line, (run, entries) in zip(LINES, runs.items(), strict=False):
            for name, of_name in entries.items():
                color, _ = STYLE[name]
                seen = [entry["step"] / 1000 for entry in of_name]
                text = name if len(runs) == 1 else f"{name}, {run}"
                axes.plot(seen, [entry[key] for entry in of_name], line, color=color, lw=1.2, label=text)
        any_of = next(iter(next(iter(runs.values())).values()))
        for before, after in itertools.pairwise(any_of):
            if after["frames"] != before["frames"]:
                axes.axvline(before["step"] / 1000, color="grey", ls=":", lw=0.8)
                top = axes.get_xaxis_transform()
                axes.text(
                    before["step"] / 1000,
                    1.01,
                    f"{after['frames']}",
                    transform=top,
                    ha="center",
                    size=7,
                )
        axes.set(xlabel="sequences seen (thousands); above: frames of each", ylabel=label)
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(arguments.out, dpi=110)
    print(arguments.out)


if __name__ == "__main__":
    main()
