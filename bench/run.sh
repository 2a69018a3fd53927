#!/usr/bin/env bash
# Measures a gateway of its own on 127.0.0.1 and prints tables; figures also go to bench/out/*.json. `make bench` calls it.
#   bench/run.sh [--quick] [--only delay,viewers,joins,glass,devices,streams,mixer] [--runs N]
#   bench/run.sh --only speech
#   bench/run.sh --only sip [--quick] [--rate N] [--calls N], bench/run.sh --only churn [--minutes N]
# PROFILE=debug takes the dev build. GATEWAY_BIN, FIELDSIM_BIN, BENCH_BIN name other programs.
set -euo pipefail
room=$(cd "$(dirname "$0")" && pwd)
repo=$(dirname "$room")
profile=${PROFILE:-release}
# The word that stands beside the figures: of a gateway named by hand nobody knows how it was built, unless PROFILE says so.
word=$profile
[ -n "${GATEWAY_BIN:-}" ] && [ -z "${PROFILE:-}" ] && word="unknown (GATEWAY_BIN)"
case " $* " in
  *" --only sip "* | *" --only churn "*) sip=1 ;;
  *) sip= ;;
esac
target=${CARGO_TARGET_DIR:-$repo/target}/$profile
bench=${BENCH_BIN:-$target/skybridge-bench}
gateway=${GATEWAY_BIN:-$target/skybridge}
field=${FIELDSIM_BIN:-$target/fieldsim}
if [ -n "$sip" ]; then
  [ -x "$gateway" ] || { echo "$gateway is missing: cargo build --release -p skybridge" >&2; exit 1; }
  for tool in sipp node taskset; do
    command -v "$tool" >/dev/null || { echo "$tool is missing: make tools-bench" >&2; exit 1; }
  done
  mkdir -p "$room/out"
  export GATEWAY_BIN=$gateway BENCH_ROOM=$room BENCH_OUT=$room/out BENCH_PROFILE=$word
  exec timeout --kill-after=20 7200 node "$room/sip.mjs" "$@"
fi
if [[ " $* " == *" --only speech "* ]]; then
  [ -x "$gateway" ] || { echo "$gateway is missing: cargo build --release -p skybridge" >&2; exit 1; }
  mkdir -p "$room/out"
  export GATEWAY_BIN=$gateway BENCH_OUT=$room/out BENCH_PROFILE=$word
  exec timeout --kill-after=20 1800 node "$room/speech.mjs"
fi
for program in "$bench" "$gateway" "$field"; do
  [ -x "$program" ] || { echo "$program is missing: cargo build --release -p skybridge -p fieldsim -p skybridge-bench" >&2; exit 1; }
done
for tool in ffmpeg node taskset; do
  command -v "$tool" >/dev/null || { echo "$tool is missing: make tools-bench" >&2; exit 1; }
done
if [ ! -d "$repo/tests/interop/node_modules/playwright-core" ]; then
  (cd "$repo/tests/interop" && npm ci --no-audit --no-fund --loglevel=error)
fi
mkdir -p "$room/out"
# Bounded as a whole, too.
exec timeout --kill-after=20 2400 "$bench" --gateway "$gateway" --fieldsim "$field" --out "$room/out" --room "$room" --profile "$word" "$@"
