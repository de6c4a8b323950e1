"""Public benchmarks as they are published, read into items and checked."""
