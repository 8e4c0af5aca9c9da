#!/usr/bin/env bash
# From nothing to a robust student on real digits: builds both programs, then the walk of `rslad demo`.
set -euo pipefail
cd "$(dirname "$0")"

printf '\n$ cargo build --bin label --bin distill\n'
cargo build --bin label --bin distill
exec python/rslad/demo.sh "${CARGO_TARGET_DIR:-target}/debug" data/samples/teacher.safetensors runs/quickstart
