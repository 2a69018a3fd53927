# Two commands do everything on a Debian 12 machine that has Rust:
#   make run    installs what is missing, builds, starts the gateway with the simulated field, prints address and password
#   make test   installs what is missing, runs all tests
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
NPM_QUIET := --no-audit --no-fund --loglevel=error
# Debian 12's own node is too old for the console's build; the npm registry has a newer one as a package.
export PATH := $(CURDIR)/.tools/node_modules/.bin:$(PATH)

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.PHONY: tools tools-test tools-bench
tools: ## install what building and running need
	@deploy/install/packages.sh build
tools-test: ## install what the tests need
	@deploy/install/packages.sh build test
tools-bench: ## install what the bench needs
	@deploy/install/packages.sh build test bench

.PHONY: web
web: web/dist/index.html ## build the console
web/node_modules/.package-lock.json: web/package-lock.json
	@echo "Console: installing packages"
	@cd web && npm ci $(NPM_QUIET)
web/dist/index.html: web/node_modules/.package-lock.json $(shell find web/src web/public web/index.html web/vite.config.ts -type f 2>/dev/null)
	@echo "Console: building"
	@cd web && npm run --silent build

.PHONY: build
build: tools web ## build console, gateway and simulated field
	@echo "Gateway: building (the first time takes some minutes)"
	@cargo build --locked -p skybridge -p fieldsim

.PHONY: run
run: build ## start the gateway with the simulated field
	@GATEWAY_BIN=$(TARGET)/debug/skybridge FIELDSIM_BIN=$(TARGET)/debug/fieldsim tests/fieldsim/run.sh

.PHONY: test
test: tools-test web ## run all tests
	cargo build --locked -p skybridge -p fieldsim
	cargo test --locked --workspace --quiet
	cd web && npm run --silent check
	cd tests/interop && npm ci $(NPM_QUIET) && GATEWAY_BIN=$(abspath $(TARGET))/debug/skybridge FIELDSIM_BIN=$(abspath $(TARGET))/debug/fieldsim npm test

.PHONY: check
check: tools web ## format, lints, dependency direction, licences
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets --quiet -- -D warnings
	cargo test --locked --quiet -p skybridge --test it
	tests/check/licences.sh

.PHONY: bench
bench: tools-bench web ## measure; prints ratios
	cargo build --locked --release -p skybridge -p fieldsim -p skybridge-bench
	bench/run.sh

.PHONY: clean
clean: ## remove what was built; ./data stays
	rm -rf web/dist web/node_modules tests/interop/node_modules .tools
	cargo clean
