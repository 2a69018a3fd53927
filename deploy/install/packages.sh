#!/usr/bin/env bash
# Installs missing Debian packages, and a node that is new enough from the npm registry. As root, or as a user with sudo.
#   packages.sh build [test] [bench]
set -euo pipefail
cd "$(dirname "$0")/../.."

build=(build-essential cmake pkg-config clang nasm
  libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev
  gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-libav
  ffmpeg espeak-ng sox)
test=(chromium baresip-core baresip-ffmpeg sip-tester kamailio kamailio-tls-modules tshark gstreamer1.0-tools gstreamer1.0-plugins-ugly
  fonts-noto-cjk iproute2 python3 python3-venv)
bench=(janus python3-dev python3-venv)

wanted=()
for set in "$@"; do
  case $set in
    build) wanted+=("${build[@]}") ;;
    test) wanted+=("${test[@]}") ;;
    bench) wanted+=("${bench[@]}") ;;
    *) echo "packages.sh: no set called $set" >&2; exit 2 ;;
  esac
done

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else echo "Installing packages needs root: run this as root, or install sudo. Missing: ${missing[*]}" >&2; exit 1
  fi
}

missing=()
for package in "${wanted[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done

node_is_new_enough() {
  command -v node >/dev/null && command -v npm >/dev/null &&
    node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)'
}
node_is_new_enough || command -v npm >/dev/null || missing+=(npm)

if [ ${#missing[@]} -gt 0 ]; then
  echo "Installing ${#missing[@]} Debian packages: ${missing[*]}"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  # Tests and bench start their own servers; those that the packages start would sit on their ports.
  for server in kamailio janus; do
    if printf '%s\n' "${missing[@]}" | grep -qx "$server" && command -v systemctl >/dev/null; then
      as_root systemctl disable --now "$server" >/dev/null 2>&1 || true
    fi
  done
fi

if ! node_is_new_enough; then
  echo "Installing a newer node beneath .tools"
  npm install --prefix .tools --no-audit --no-fund --loglevel=error node@20
  PATH="$PWD/.tools/node_modules/.bin:$PATH"
  node_is_new_enough || { echo "node 20.19 or newer is needed to build the console; found $(node --version)" >&2; exit 1; }
fi

# pjsip as a phone comes from the Python registry, into a directory of its own; the tests look for it there.
pjsua2="${XDG_CACHE_HOME:-$HOME/.cache}/skybridge/pjsua2"
pjsua2_version=2.15.1.post1
has_pjsua2() { [ "$("$pjsua2/bin/python" -c 'import pjsua2, importlib.metadata as m; print(m.version("pjsua2-python"))' 2>/dev/null)" = "$pjsua2_version" ]; }
if [[ " $* " == *" test "* ]] && [ -z "${PJSUA2_PYTHON:-}" ] && ! has_pjsua2; then
  echo "Installing pjsua2 $pjsua2_version beneath $pjsua2"
  /usr/bin/python3 -m venv --clear "$pjsua2"
  "$pjsua2/bin/python" -m pip install --quiet --disable-pip-version-check "pjsua2-python==$pjsua2_version"
  has_pjsua2 || { echo "pjsua2 is installed beneath $pjsua2 and does not start: see \"$pjsua2/bin/python -c 'import pjsua2'\"" >&2; exit 1; }
fi

# The measure of speech (PESQ) too, for the bench.
pesq="${XDG_CACHE_HOME:-$HOME/.cache}/skybridge/pesq"
pesq_version=0.0.4
has_pesq() { [ "$("$pesq/bin/python" -c 'import pesq, importlib.metadata as m; print(m.version("pesq"))' 2>/dev/null)" = "$pesq_version" ]; }
if [[ " $* " == *" bench "* ]] && [ -z "${PESQ_PYTHON:-}" ] && ! has_pesq; then
  echo "Installing pesq $pesq_version beneath $pesq"
  /usr/bin/python3 -m venv --clear "$pesq"
  "$pesq/bin/python" -m pip install --quiet --disable-pip-version-check "numpy==2.4.6" "pesq==$pesq_version"
  has_pesq || { echo "pesq is installed beneath $pesq and does not start: see \"$pesq/bin/python -c 'import pesq'\"" >&2; exit 1; }
fi

if ! command -v cargo >/dev/null; then
  echo "Rust is missing: install Rust 1.95 or newer (cargo and rustc), then run this again." >&2
  exit 1
fi
