"""`python -m benchmarks [--quick] [CASE ...]`: a table of ratios, and the same as JSON.

No ratio is given where other processes take more than a tenth of the cores' time.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from . import cases, gpu, scores, text
from .measure import Others, machine
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
    print("{processor}, {cores} cores, {threads} threads, torch {torch}".format(**about), end="")
    print("\n" if about["others"] is None else f"; others take {about['others']:.2f} cores\n")
    print("| what | ours | ours : floor | loop : ours | goal |\n|---|---|---|---|---|")
    rows = []
    for name in arguments.cases or CASES:
        with Others() as others:
            found = CASES[name](arguments.quick)
        for row in found:
            print(row.line(others.loaded), flush=True)
            rows.append({**row.record(others.loaded), "others": others.cores})
        if others.loaded:
            print(
                f"warning: others took {others.cores:.2f} cores during {name}; run it again on quiet cores",
                file=sys.stderr,
                flush=True,
            )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    content = {"machine": about, "quick": arguments.quick, "rows": rows}
    arguments.out.write_text(json.dumps(content, indent=1) + "\n")


main()
