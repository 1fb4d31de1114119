"""What a memory of more embeddings costs, once it is full: bytes, and milliseconds of an update and of a query.

    python benchmarks/memory_size.py [--embeddings 512 1024 2048] [--rounds 40]

An image of 640 x 480 a time, on one thread, its encoding included. The sizes take turns, so that other work of the machine slows
all of them alike.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from kinaema_ros.baselines.methods import NetworkEncoder, NetworkMethod
from kinaema_ros.baselines.network import load_network
from kinaema_ros.evaluation.bench import VIEWS, Drive
from kinaema_ros.evaluation.timing import milliseconds, one_thread
from kinaema_ros.model.token_memory import TokenMemory
from kinaema_ros.paths import default_checkpoint
from kinaema_ros.reporting import progress, table


def full(method: NetworkMethod, drive: Drive) -> TokenMemory:
    """A memory in which no embedding is free."""
    memory = method.start(0)
    while (memory.count == 0).any():
        for t in range(int(memory.updates), int(memory.updates) + VIEWS):
            memory = method.update(memory, drive.observations[t % VIEWS], drive.odometry(t))
    return memory


@one_thread()
@torch.inference_mode()
def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--embeddings", type=int, nargs="+", default=[512, 1024, 2048])
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    networks = {n: load_network(default_checkpoint(), num_embeddings=n)[0] for n in arguments.embeddings}
    methods = {n: NetworkMethod(network, NetworkEncoder(network)) for n, network in networks.items()}
    drive = Drive(methods[arguments.embeddings[0]])
    memories = {n: full(methods[n], drive) for n in progress(methods, desc="driving", unit="memory")}
    times: dict[tuple[int, str], list[float]] = {
        (n, what): [] for n in methods for what in ("update", "query")
    }
    for turn in progress(range(arguments.rounds), desc="timing", unit="round"):
        rgb = drive.rgb[turn % VIEWS]
        for n, method in methods.items():
            seen, encoding = milliseconds(method.encoder, rgb, drive.camera, None)
            odometry = drive.odometry(int(memories[n].updates))
            _, updating = milliseconds(method.update, memories[n], seen, odometry)
            _, asking = milliseconds(method.query, memories[n], seen, True)
            times[n, "update"].append(encoding + updating)
            times[n, "query"].append(encoding + asking)
    rows = [
        (
            str(n),
            f"{memories[n].num_bytes / 1e6:.2f} MB",
            *(f"{np.median(times[n, what]):.0f} ms" for what in ("update", "query")),
        )
        for n in methods
    ]
    print(table(rows, ("embeddings", "state", "update", "query")))


if __name__ == "__main__":
    main()
