"""Speed and memory as ratios to a floor measured in the same run: `python -m benchmarks` (make bench)."""
