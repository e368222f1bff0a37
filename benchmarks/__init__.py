"""Benchmarks: ratios measured side by side in one run, a process for each case."""
