#!/usr/bin/env bash
# The newcomer's first look: the gateway on its defaults with data in ./data, and the simulated field. Ctrl-C ends both.
set -euo pipefail
cd "$(dirname "$0")/../.."
gateway=${GATEWAY_BIN:-target/debug/skybridge}
field=${FIELDSIM_BIN:-target/debug/fieldsim}

export SKYBRIDGE_SITE_DATA=${SKYBRIDGE_SITE_DATA:-$PWD/data}
# The simulated camera 1 has no password, which a real installation would not let in.
export SKYBRIDGE_GB28181_ALLOW_WITHOUT_PASSWORD=true
mkdir -p "$SKYBRIDGE_SITE_DATA"

# Fresh secrets on each start: there is no default one.
FIELDSIM_CAMERA3_PASSWORD=$("$gateway" device password 34020000001320000003 --new)
FIELDSIM_PHONE_USER=8001
FIELDSIM_PHONE_PASSWORD=$("$gateway" phone password "$FIELDSIM_PHONE_USER" --name "现场电话 Field phone" --new)
FIELDSIM_PHONE_DIAL=9000
export FIELDSIM_CAMERA3_PASSWORD FIELDSIM_PHONE_USER FIELDSIM_PHONE_PASSWORD FIELDSIM_PHONE_DIAL

pids=()
stop() {
  trap - INT TERM EXIT
  for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
}
trap 'stop; exit 0' INT TERM
trap stop EXIT

log=$SKYBRIDGE_SITE_DATA/skybridge.log
"$gateway" > >(tee "$SKYBRIDGE_SITE_DATA/started") 2>"$log" &
pids+=($!)
for _ in $(seq 100); do
  grep -q 'is ready' "$SKYBRIDGE_SITE_DATA/started" 2>/dev/null && break
  kill -0 "${pids[0]}" 2>/dev/null || { echo "The gateway did not start:" >&2; tail -5 "$log" >&2; exit 1; }
  sleep 0.1
done

"$field" --profile newcomer --keepalive 20 >"$SKYBRIDGE_SITE_DATA/fieldsim.log" 2>&1 &
pids+=($!)
echo "The simulated field is on the air: three cameras and a phone that speaks into conference 9000."
echo "Logs: $log and $SKYBRIDGE_SITE_DATA/fieldsim.log. Ctrl-C stops everything."
wait -n "${pids[@]}" || true
