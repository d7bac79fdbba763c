#!/usr/bin/env bash
# Everything that wants a GPU, in one run of nine minutes at most: the tests marked `gpu`, a table of
# times, and for the rest of the time the training of recipes/cifar10-v.toml from its last state.
#
#   benchmarks/gpu.sh [--smoke] [--data DIR] [--out DIR] [--seconds N]
#
# --data     holds what torchvision downloads of CIFAR-10, or mosaics of `gpu_train.py pack`
# --out      where times.txt goes, the state that the next run takes up (state.pt.*, small enough to
#            carry), and the checkpoint once the training has ended
# --seconds  of the whole run (540)
# --smoke    all of it in small, on a CPU, in about a minute
set -euo pipefail
cd "$(dirname "$0")/.."
smoke="" data=data out=out/gpu seconds=540
while [ $# -gt 0 ]; do
  case "$1" in
    --smoke) smoke=--smoke; shift ;;
    --data | --out | --seconds) declare "${1#--}=$2"; shift 2 ;;
    *) echo "gpu.sh: unknown option $1; see the head of this file" >&2; exit 2 ;;
  esac
done
mkdir -p "$out"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
[ -z "$smoke" ] || export SNNCONVERT_GPU_TESTS=cpu
SECONDS=0
python=${PYTHON:-python3}
"$python" -m pytest -q -n 0 -p no:cacheprovider -m "gpu ${smoke:+and not slow}" tests/gpu
"$python" benchmarks/gpu_timing.py $smoke | tee "$out/times.txt"
"$python" benchmarks/gpu_train.py train $smoke --data "$data" --out "$out" \
  --seconds $((seconds - SECONDS))
