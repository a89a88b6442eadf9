# The Debian packages, and their tests in Debian roots that are made once and kept in target/roots.

DEBS       := $(CURDIR)/target/deb
ROOTS      := $(CURDIR)/target/roots
DEB_TOOLS  := debootstrap dpkg-dev lintian
# The version that users upgrade from.
FORMER         := 0.1.0
FORMER_COMMIT  := 4238b53
VERSION        := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
# Who signs the changelog: by default who wrote the last commit, on its date.
SIGNED = export MAINTAINER="$${MAINTAINER:-$$(git log -1 --format='%an <%ae>')}" SOURCE_DATE_EPOCH="$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct)}"

# What a database server has, and what building takes besides.
server_packages = postgresql-$(1) postgresql-$(1)-postgis-3 ca-certificates
build_packages  = $(subst -$(PG_MAJOR),-$(1),$(PACKAGES)) dpkg-dev
# Runs a command in the Debian 13 build root.
ON_DEBIAN13 = packaging/debian13 $(ROOTS)/debian13-build $(PGRX)

.PHONY: upgrade-script deb deb-debian12 deb-debian13 deb-former deb-copyright deb-tools root-debian12 root-debian13 build-root-debian13 test-deb test-debian13

# After a change of the SQL, until the version is released.
upgrade-script: INSTALL_FLAGS =
upgrade-script: install
	packaging/upgrade/script tests/outside/upgrade/gn_harvest--$(FORMER).sql "$$($(PG_CONFIG) --sharedir)/extension/gn_harvest--$(VERSION).sql" \
	  packaging/upgrade/$(FORMER)--$(VERSION).sql > target/upgrade.sql
	mv target/upgrade.sql sql/gn_harvest--$(FORMER)--$(VERSION).sql

deb: deb-debian12 deb-debian13
	ls -1 $(DEBS)/*.deb

deb-tools: PACKAGES += $(DEB_TOOLS)
deb-tools: setup

deb-copyright:
	mkdir -p $(DEBS)
	cargo run --quiet --locked -p gn_harvest_copyright -- . > $(DEBS)/copyright

deb-debian12: deb-tools deb-copyright
	. /etc/os-release
	[ "$$ID $$VERSION_ID" = "debian 12" ] || { echo "The package of Debian 12 is built on Debian 12; this is $$PRETTY_NAME" >&2; exit 1; }
	export CARGO_TARGET_DIR="$${CARGO_TARGET_DIR:-$(CURDIR)/target}"
	$(SIGNED)
	packaging/deb 15 . $(DEBS)/copyright $(DEBS)
	lintian --allow-root --fail-on error --tag-display-limit 0 $(DEBS)/postgresql-15-*.deb

deb-debian13: deb-copyright build-root-debian13
	$(ON_DEBIAN13) make setup PG_MAJOR=17
	mkdir -p target/debian13/deb
	cp $(DEBS)/copyright target/debian13/deb/copyright
	$(SIGNED)
	$(ON_DEBIAN13) packaging/deb 17 . target/deb/copyright target/deb
	mv target/debian13/deb/*.deb $(DEBS)/
	lintian --allow-root --fail-on error --tag-display-limit 0 $(DEBS)/postgresql-17-*.deb

# The package of the version before, from its own sources; there was none for PostgreSQL 17.
deb-former: deb-tools deb-copyright
	ls $(DEBS)/former/postgresql-15-gn-harvest_$(FORMER)-*.deb > /dev/null 2>&1 && exit 0
	git cat-file -e $(FORMER_COMMIT)^{commit} || { echo "Version $(FORMER) is commit $(FORMER_COMMIT): git fetch --unshallow" >&2; exit 1; }
	mkdir -p $(DEBS)/former/source
	git archive $(FORMER_COMMIT) | tar -x -C $(DEBS)/former/source
	export CARGO_TARGET_DIR="$${CARGO_TARGET_DIR:-$(CURDIR)/target}"
	$(SIGNED)
	packaging/deb 15 $(DEBS)/former/source $(DEBS)/copyright $(DEBS)/former

root-debian12: deb-tools
	packaging/root make $(ROOTS)/debian12 bookworm $(call server_packages,15)

root-debian13: deb-tools
	packaging/root make $(ROOTS)/debian13 trixie $(call server_packages,17)

build-root-debian13: root-debian13
	packaging/root copy $(ROOTS)/debian13 $(ROOTS)/debian13-build
	packaging/root make $(ROOTS)/debian13-build trixie $(call build_packages,17)

test-deb: deb deb-former root-debian12 root-debian13
	packaging/test $(ROOTS) $(DEBS)

test-debian13: build-root-debian13
	$(ON_DEBIAN13) make test PG_MAJOR=17 STEPS="lints installation outside"
