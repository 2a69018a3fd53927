#!/bin/sh
# Fails when a crate that is built into the gateway has a licence outside the list below.
#   tests/check/licences.sh            the gateway
#   tests/check/licences.sh --list     each crate with its licence
# Needs cargo and python3; no network when the crates are there.
set -eu
cd "$(dirname "$0")/../.."
metadata=$(mktemp)
trap 'rm -f "$metadata"' EXIT
cargo metadata --format-version 1 --locked --filter-platform "$(rustc -vV | sed -n 's/^host: //p')" > "$metadata"
exec python3 - "$metadata" "$@" <<'PYTHON'
import json
import re
import sys

# May be linked into a program that is passed on under MIT or Apache-2.0.
ALLOWED = {
    "MIT", "MIT-0", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Zlib", "0BSD", "CC0-1.0",
    "Unicode-3.0", "Unicode-DFS-2016", "OpenSSL", "BSL-1.0", "Unlicense", "CDLA-Permissive-2.0",
    "MPL-2.0",  # per file: fine while its files are not changed (symphonia)
}
# Crate: (licence it must still state, why it is all right).
EXCEPTIONS = {}

with open(sys.argv[1], encoding="utf-8") as file:
    metadata = json.load(file)
packages = {p["id"]: p for p in metadata["packages"]}
nodes = {n["id"]: n for n in metadata["resolve"]["nodes"]}
ours = set(metadata["workspace_members"])


def reached(start):
    """Crates below `start` that are linked or run while building; tests' own are left out."""
    seen, queue = set(), list(start)
    while queue:
        package = queue.pop()
        if package in seen:
            continue
        seen.add(package)
        for dep in nodes[package]["deps"]:
            if any(kind["kind"] != "dev" for kind in dep["dep_kinds"]):
                queue.append(dep["pkg"])
    return seen


def satisfied(expression):
    """SPDX: AND binds closer than OR; the old form MIT/Apache-2.0 means OR."""
    tokens = re.findall(r"\(|\)|[^\s()]+(?:\s+WITH\s+[^\s()]+)?", expression.replace("/", " OR "))
    at = 0

    def either():
        nonlocal at
        value = both()
        while at < len(tokens) and tokens[at] == "OR":
            at += 1
            value = both() or value
        return value

    def both():
        nonlocal at
        value = one()
        while at < len(tokens) and tokens[at] == "AND":
            at += 1
            value = one() and value
        return value

    def one():
        nonlocal at
        token = tokens[at]
        at += 1
        if token == "(":
            value = either()
            at += 1
            return value
        return re.sub(r"\s+", " ", token) in ALLOWED

    return either()


product = [p for p in ours if packages[p]["name"] == "skybridge"]
bad, count = [], 0
for package in sorted(reached(product) - ours, key=lambda p: packages[p]["name"]):
    info = packages[package]
    name, licence = info["name"], info["license"]
    count += 1
    if "--list" in sys.argv:
        print(f"{name} {info['version']}: {licence or info['license_file']}")
    expected = EXCEPTIONS.get(name)
    if expected and expected[0] == licence:
        continue
    if not licence or not satisfied(licence):
        bad.append(f"{name} {info['version']}: {licence or 'no licence stated (' + str(info['license_file']) + ')'}")
if bad:
    print("licences that are not in the list of tests/check/licences.sh:", *bad, sep="\n  ", file=sys.stderr)
    sys.exit(1)
print(f"{count} crates, all licences allowed")
PYTHON
