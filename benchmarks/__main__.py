"""`python -m benchmarks [--quick] [CASE ...]`: a table of ratios, and the same as JSON."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from . import cases, gpu, scores, text
from .measure import machine
from .rows import Row

CASES: dict[str, Callable[[bool], list[Row]]] = {
    "scoring": scores.scoring,
    "training": cases.training_step,
    "small-training": cases.small_training_step,
    "text-encoders": text.text_encoders,
    "memory": scores.scoring_memory,
    "streaming": scores.streaming,
    "data": cases.data,
    "metrics": cases.metrics,
    "start": cases.start,
    "explorer": cases.explorer,
    "gpu-scoring": gpu.gpu_scoring,
    "gpu-streaming": gpu.gpu_streaming,
    "gpu-training": gpu.gpu_training,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of: {', '.join(CASES)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="small sizes, about two minutes")
    parser.add_argument(
        "--out", type=Path, default=Path("outputs/benchmarks.json"), help="JSON file to write"
    )
    arguments = parser.parse_args()
    unknown = set(arguments.cases) - set(CASES)
    if unknown:
        parser.error(f"there is no case {unknown.pop()!r}; cases: {', '.join(CASES)}")
    about = machine()
    print("{processor}, {threads} threads, load {load:.1f}, torch {torch}\n".format(**about))
    print("| what | ours | ours : floor | loop : ours | goal |\n|---|---|---|---|---|")
    rows = []
    for name in arguments.cases or CASES:
        for row in CASES[name](arguments.quick):
            rows.append(row)
            ratios = f"{_number(row.floor)} | {_number(row.faster_than_loop)}"
            print(f"| {row.what} | {row.ours} | {ratios} | {row.goal} |", flush=True)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    content = {"machine": about, "quick": arguments.quick, "rows": [row._asdict() for row in rows]}
    arguments.out.write_text(json.dumps(content, indent=1) + "\n")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


main()
