"""Compiles NAAF's GPU kernels for two generations of GPUs, without one, and prints what each takes as JSON.

A program of its own: under TRITON_INTERPRET=1 triton compiles nothing. test_triton.py runs it.
"""

import json
import re
import subprocess
import tempfile
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from naaflib.similarity import tiled, triton_kernels

TOOL = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
GENERATIONS = 80, 90  # compute capability 8.0 and 9.0
LANES = 16, 32, 64, 128
TYPES = {
    **dict.fromkeys(triton_kernels.TENSORS, "*fp32"),
    **dict.fromkeys(triton_kernels.SIZES, "i32"),
    "tiles": "*i64",
    "below": "*u8",
    "lambda_softmax": "fp32",
}


def compiled(kernel, generation: int, lanes: int, **more: bool) -> dict:
    constants = {
        "NEGATIVE": True,
        "FEATURE": True,
        "RELEVANCE": True,
        "REGIONS": lanes,
        "CAPTIONS": tiled.CAPTIONS,
        "PRECISION": tiled.PRECISION,
        **more,
    }
    signature = {name: TYPES.get(name, "constexpr") for name in kernel.arg_names}
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    options = tiled.launch_options(lanes)
    made = triton.compile(source, target=GPUTarget("cuda", generation, 32), options=options)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(made.asm["cubin"])
        file.flush()
        command = [TOOL, "-res-usage", file.name]
        usage = subprocess.run(command, capture_output=True, text=True, check=True)
    registers, stack = re.search(r"REG:(\d+) STACK:(\d+)", usage.stdout + usage.stderr).groups()
    return {
        "kernel": kernel.__name__,
        "generation": generation,
        "lanes": lanes,
        "registers": int(registers),
        "spilled": int(stack),
        "shared": made.metadata.shared,
    }


if __name__ == "__main__":
    found = []
    for generation in GENERATIONS:
        for lanes in LANES:
            for intra in (True, False):
                found.append(compiled(triton_kernels.scores_of_tiles, generation, lanes, INTRA=intra))
            found.append(compiled(triton_kernels.gradients_of_tiles, generation, lanes))
    print(json.dumps(found))
