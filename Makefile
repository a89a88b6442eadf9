# Everything that the project needs, from a fresh Debian 12 with Rust:
#   make demo      a whole harvest on a private cluster, shown step by step
#   make test      format, lints, all tests; ends with "N passed, N failed"
#   make up|down   a private cluster and two simulated partners, left running to play with
#   make bench     what a harvest costs (SIZE=20000, REPEATS=3, ONLY=limit,gn2pg,changes,records,slow,plans); bench/README.md
#   make install   the extension into the system's PostgreSQL 15
# As root, with Debian's mirror within reach:
#   make deb            packages of Debian 12 (PostgreSQL 15) and Debian 13 (PostgreSQL 17), in target/deb
#   make test-deb       installs, harvests, upgrades and removes them in clean Debian roots
#   make test-debian13  the tests from outside, on PostgreSQL 17 in a Debian 13 root
#   make transcript     docs/demo.txt, from make demo

PG_MAJOR   := 15
PG_CONFIG  := /usr/lib/postgresql/$(PG_MAJOR)/bin/pg_config
PGRX       := 0.18.1
PACKAGES   := postgresql-$(PG_MAJOR) postgresql-server-dev-$(PG_MAJOR) postgresql-$(PG_MAJOR)-postgis-3 postgresql-$(PG_MAJOR)-cron \
              libclang-dev clang gcc make pkg-config util-linux prometheus-sql-exporter
FEATURES   := --no-default-features --features pg$(PG_MAJOR)
# What users install is optimised; tests and the demonstration want it quickly.
INSTALL_FLAGS := --release
PLAYGROUND := $(CURDIR)/.cluster

export PG_CONFIG PG_MAJOR
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.SILENT:

.PHONY: help setup packages pgrx install partner demo transcript test bench up down clean
help:
	sed -n '2,12s/^# *//p' Makefile

setup: packages pgrx

# Debian's packages; without the right to install them, the command to run.
packages:
	missing=$$(for p in $(PACKAGES); do dpkg-query -W -f='$${Status}\n' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done)
	[ -n "$$missing" ] || exit 0
	if [ "$$(id -u)" = 0 ]; then
	  echo "Installing:" $$missing
	  # Installing PostgreSQL would make and start a cluster of the machine's own.
	  mkdir -p /etc/postgresql-common
	  [ -e /etc/postgresql-common/createcluster.conf ] || echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf
	  DEBIAN_FRONTEND=noninteractive apt-get update -qq
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing > /dev/null
	else
	  echo "These packages are missing and installing them takes root. Run:" >&2
	  echo "  sudo apt-get install" $$missing >&2
	  exit 1
	fi

# The Python environment of the partner's server, for tests and measures.
partner: packages
	tests/partner/venv > /dev/null

# The pinned cargo-pgrx, told where Debian's PostgreSQL is.
pgrx: packages
	cargo pgrx --version 2>/dev/null | grep -qx 'cargo-pgrx $(PGRX)' || cargo install cargo-pgrx --version '=$(PGRX)' --locked --quiet
	grep -qs 'pg$(PG_MAJOR) = "$(PG_CONFIG)"' "$${PGRX_HOME:-$$HOME/.pgrx}/config.toml" || cargo pgrx init --pg$(PG_MAJOR) $(PG_CONFIG)

install: setup
	for directory in "$$($(PG_CONFIG) --pkglibdir)" "$$($(PG_CONFIG) --sharedir)/extension"; do
	  [ -w "$$directory" ] && continue
	  echo "Installing the extension takes the right to write in $$directory. Run:" >&2
	  echo "  sudo --preserve-env=PATH,HOME make install" >&2
	  exit 1
	done
	cargo pgrx install --pg-config $(PG_CONFIG) $(FEATURES) $(INSTALL_FLAGS) 2>&1 | grep -vE '^\s*$$' | tail -n 3

demo transcript up test: INSTALL_FLAGS =
demo: install
	cargo build --quiet -p gn_harvest_outside -p geonature-simulator
	target/debug/demo

# What differs from one day to the next is evened out; `make test` looks whether it is as it is now.
transcript: install
	cargo build --quiet -p gn_harvest_outside -p geonature-simulator
	tests/transcript > docs/demo.txt.new
	mv docs/demo.txt.new docs/demo.txt

up: install
	cargo build --quiet -p gn_harvest_outside -p geonature-simulator
	target/debug/up $(PLAYGROUND)

down:
	cargo build --quiet -p gn_harvest_outside -p geonature-simulator
	target/debug/down $(PLAYGROUND)

# Tests run the real GN2PG and the query classes of GeoNature's export module, in environments of their own.
test: PACKAGES += python3-venv
test: setup partner
	tests/run $(STEPS)

include packaging/packages.mk

# GN2PG is measured beside ours, in an environment of its own.
bench: PACKAGES += python3-venv
bench: install
	cargo run --quiet --release -p gn_harvest_bench

clean:
	cargo clean
