"""What a GPU computes is what the CPU computes; `benchmarks/gpu.sh` runs these there."""
