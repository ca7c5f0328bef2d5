# Spinel's tasks. CI runs the same targets (.ci/run); `make help` lists them.
#
# Everything but `build` and `compare` uses one cargo profile, `fast`: harnesses and generated tests do millions of
# operations, which a debug build makes a matter of hours, while the release profile links for minutes. One profile and
# one set of features (`planted`: bugs that sleep until SPINEL_PLANT names them) means that everything is compiled once.

CARGO ?= cargo
PREFIX ?= /usr/local
DESTDIR ?=
TARGET := $(or $(CARGO_TARGET_DIR),target)
FAST := --profile fast --features planted
# The server under test.
export SPINEL_BIN ?= $(abspath $(TARGET)/fast/spinel)

# Links that `make install` makes: the names of parts that exist.
PARTS := server cli benchmark check-rdb check-aof
# Manual pages, and completions as SHELL/FILE; where each shell looks for them.
MANUALS := $(notdir $(wildcard contrib/man/*))
COMPLETIONS := $(patsubst contrib/completion/%,%,$(wildcard contrib/completion/*/*))
completion = share/$(patsubst bash/%,bash-completion/completions/%,$(patsubst zsh/%,zsh/site-functions/%,$\
	$(patsubst fish/%,fish/vendor_completions.d/%,$(1))))
LINKS := $(foreach part,$(PARTS),redis-$(part) spinel-$(part))
# Under which other names each of them is looked for, as FILE:NAME: `man` and the shells (bash and fish; zsh reads the names in the file) go by that
# of the command.
ALIASES := redis-cli:spinel-cli spinel-benchmark:redis-benchmark redis-check-rdb:spinel-check-rdb redis-check-aof:spinel-check-aof
ALIASES += $(foreach name,redis-check-rdb redis-check-aof spinel-check-rdb spinel-check-aof,redis-check:$(name))
of = $(word 1,$(subst :, ,$(1)))
name = $(word 2,$(subst :, ,$(1)))
# FOLDER/LINK:TARGET below PREFIX, for what there is of each.
SECOND_NAMES := $(foreach alias,$(ALIASES),\
	$(if $(wildcard contrib/man/$(call of,$(alias)).1),share/man/man1/$(call name,$(alias)).1:$(call of,$(alias)).1) \
	$(if $(wildcard contrib/completion/bash/$(call of,$(alias))),$(call completion,bash/$(call name,$(alias))):$(call of,$(alias))) \
	$(if $(wildcard contrib/completion/fish/$(call of,$(alias)).fish),$(call completion,fish/$(call name,$(alias)).fish):$(call of,$(alias)).fish))

.PHONY: help build fast peers test units harnesses clients suites cli check oracle coverage compare growth fragmentation eviction expiry clients-cpu narrow linearize simulate model fuzz payloads flaps slow-replica full-memory \
	install uninstall clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## the program as users get it: target/release/spinel
	$(CARGO) build --release -p spinel

fast:
	$(CARGO) build --workspace --bins $(FAST)
	$(CARGO) build -p spinel-durability --examples $(FAST)

peers: ## the real servers that tests compare with, into .peers/ (Debian and PyPI packages)
	tools/peers.sh

test: peers units harnesses clients cli suites ## everything: unit and generated tests, then each harness for a short while

units: fast
	$(CARGO) test --workspace $(FAST)

# Each harness on a small scale, and the proof that it finds the bug planted for it.
harnesses: fast
	$(CARGO) run $(FAST) -p spinel-oracle -- run --commands 20000 --persistence 3
	$(CARGO) run $(FAST) -p spinel-oracle -- self-test
	$(CARGO) run $(FAST) -p spinel-oracle -- coverage
	$(CARGO) run $(FAST) -p spinel-linearize -- run --seconds 10
	$(CARGO) run $(FAST) -p spinel-linearize -- self-test --seconds 20
	$(CARGO) run $(FAST) -p spinel-durability -- crash --rounds 6
	$(CARGO) run $(FAST) -p spinel-durability -- chain --rounds 4
	$(CARGO) run $(FAST) -p spinel-durability -- self-test
	$(MAKE) model

clients: peers fast ## clients of Python and Node, redis-cli, redis-benchmark, web applications, task queues and more, unmodified
	tests/clients/run.sh

suites: peers fast ## other projects' test suites, unmodified (logs below target/suites)
	tests/suites/run.sh

cli: peers fast ## the command-line client beside redis-cli, and in a real terminal (needs tmux)
	tests/cli/run.sh

check: ## format, lints, and licences and advisories where cargo-deny is installed
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets $(FAST) -- -D warnings
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny check; \
		else echo "check: cargo-deny is not installed: licences and advisories were not checked"; fi

oracle: peers fast ## a million generated commands to Spinel and to the real servers, comparing all replies and data
	$(CARGO) run $(FAST) -p spinel-oracle -- run --commands 250000 --threads 1,4 --encodings default,tiny

coverage: peers fast ## every command of the real servers: what is missing or differs
	$(CARGO) run $(FAST) -p spinel-oracle -- coverage

linearize: fast ## concurrent histories must be explained by one thread
	$(CARGO) run $(FAST) -p spinel-linearize -- run --threads 2,4 --seconds 120

ROUNDS ?= 200
SEED ?= $(shell date +%s)
crash: fast ## ROUNDS of servers killed under load, on disks that lose and fail, from SEED
	$(CARGO) run $(FAST) -p spinel-durability -- crash --rounds $(ROUNDS) --seed $(SEED)

chain: fast ## ROUNDS of three servers in a chain that loses its middle, from SEED
	$(CARGO) run $(FAST) -p spinel-durability -- chain --rounds $(ROUNDS) --seed $(SEED)

ELEMENTS ?= 0,1000,1000000,10000000
instant: fast ## snapshots under load are of one instant, with collections of so many ELEMENTS
	$(CARGO) run $(FAST) -p spinel-durability -- instant --threads 1,4 --elements $(ELEMENTS) --seed $(SEED)

model: ## every interleaving of the gate, by loom
	$(CARGO) test -p spinel-gate --profile fast --features loom,planted --test loom

SEEDS ?= 10000
simulate: ## SEEDS runs of primaries and replicas in a world of faults, from SEED (about a minute of two cores)
	SPINEL_SEED=$(SEED) SPINEL_SIM_SEEDS=$(SEEDS) $(CARGO) test $(FAST) -p spinel-sim --test replication whatever -- --nocapture

# Speed is measured on what users get.
compare: SPINEL_BIN = $(abspath $(TARGET)/release/spinel)
compare: peers build ## CPU and memory beside the real servers (about twelve minutes)
	$(CARGO) run --profile fast -p spinel-compare -- run

growth: SPINEL_BIN = $(abspath $(TARGET)/release/spinel)
growth: build ## to 50 million keys and back
	$(CARGO) run --profile fast -p spinel-compare -- growth

fragmentation: SPINEL_BIN = $(abspath $(TARGET)/release/spinel)
fragmentation: peers build ## what stays resident when most of millions of keys are deleted, beside Redis
	$(CARGO) run --profile fast -p spinel-compare -- fragmentation --servers spinel,redis82

eviction: SPINEL_BIN = $(abspath $(TARGET)/release/spinel)
eviction: peers build ## new keys in full memory: CPU per SET, and hit rates beside the real servers
	$(CARGO) run --profile fast -p spinel-compare -- eviction --servers spinel,redis82,valkey91

expiry: SPINEL_BIN = $(abspath $(TARGET)/release/spinel)
expiry: build ## a million keys that expire in the same second
	$(CARGO) run --profile fast -p spinel-compare -- expiry

clients-cpu: ## what a request costs the benchmark tool, beside redis-benchmark
	$(CARGO) bench --profile fast -p spinel-benchmark --bench clients

narrow: ## two threads beside one without sockets, and what wide commands cost
	$(CARGO) bench --profile fast -p spinel-server --bench narrow

survival: fast ## primaries killed at random instants 400 times: no write is lost that replicas have acknowledged
	SPINEL_ROUNDS=200 $(CARGO) test $(FAST) -p spinel-robustness --test survival -- --nocapture

full-memory: fast ## twice as much data as fits, from ten thousand clients of which a thousand hardly read
	SPINEL_CLIENTS=10000 SPINEL_LIMIT_MIB=512 $(CARGO) test $(FAST) -p spinel-robustness --test full_memory -- --nocapture

FLAPS ?= 100
flaps: fast ## replicas behind a network that delays, loses, and fails FLAPS times under load
	SPINEL_FLAPS=$(FLAPS) $(CARGO) test $(FAST) -p spinel-robustness --test replication_network --test replication_namespaces -- --nocapture --test-threads 1

slow-replica: fast ## 2 GB, and 0.9 GB of changes meanwhile, through a line of 5 MB/s: one snapshot, bounded memory (about ten minutes)
	SPINEL_SLOW_DATA_MB=2000 SPINEL_SLOW_LOG_MB=900 SPINEL_SLOW_LINE_MB=5 \
		$(CARGO) test $(FAST) --workspace --test replication_slow a_slow -- --nocapture

payloads: fast ## 10,000 damaged payloads of every type through RESTORE into a running server
	SPINEL_PAYLOADS=10000 $(CARGO) test $(FAST) -p spinel-robustness --test payloads damaged -- --nocapture

FUZZ_SECONDS ?= 600
fuzz: ## the decoders under mutated input for FUZZ_SECONDS; guided by coverage where cargo-fuzz is installed
	@if $(CARGO) +nightly fuzz --version >/dev/null 2>&1; then \
		SPINEL_FUZZ_SEEDS=$(CURDIR)/fuzz/corpus $(CARGO) test -p spinel-rdb --profile fast --test mutated && \
		$(CARGO) +nightly fuzz run decoder -- -max_total_time=$(FUZZ_SECONDS) -dict=fuzz/decoder.dict && \
		$(CARGO) +nightly fuzz run replies -- -max_total_time=$(FUZZ_SECONDS) && \
		$(CARGO) +nightly fuzz run aof -- -max_total_time=$(FUZZ_SECONDS) && \
		$(CARGO) +nightly fuzz run manifest -- -max_total_time=$(FUZZ_SECONDS) && \
		$(CARGO) +nightly fuzz run rdb_file -- -max_total_time=$(FUZZ_SECONDS) && \
		$(CARGO) +nightly fuzz run restore_payload -- -max_total_time=$(FUZZ_SECONDS) && \
		$(CARGO) +nightly fuzz run acl_file -- -max_total_time=$(FUZZ_SECONDS) && \
		$(CARGO) +nightly fuzz run functions_payload -- -max_total_time=$(FUZZ_SECONDS) && \
		$(CARGO) +nightly fuzz run scripts_library -- -max_total_time=$(FUZZ_SECONDS) && \
		$(CARGO) +nightly fuzz run scripts_decoded -- -max_total_time=$(FUZZ_SECONDS); \
	else \
		SPINEL_FUZZ_SECONDS=$(FUZZ_SECONDS) $(CARGO) test -p spinel-resp -p spinel-journal --profile fast --test fuzz && \
		SPINEL_FUZZ_SECONDS=$(FUZZ_SECONDS) $(CARGO) test -p spinel-rdb -p spinel-acl -p spinel-scripting --profile fast --test mutated; \
	fi

# Builds first, unless there is no cargo to do it with: `sudo make install` often has none, and takes what is built.
install: ## the program and its links to PREFIX (/usr/local), below DESTDIR
	@if command -v $(CARGO) >/dev/null; then $(MAKE) build; fi
	install -D -m 755 $(TARGET)/release/spinel $(DESTDIR)$(PREFIX)/bin/spinel
	for name in $(LINKS); do ln -sfn spinel $(DESTDIR)$(PREFIX)/bin/$$name; done
	for file in $(MANUALS); do install -D -m 644 contrib/man/$$file $(DESTDIR)$(PREFIX)/share/man/man1/$$file; done
	$(foreach file,$(COMPLETIONS),install -D -m 644 contrib/completion/$(file) $(DESTDIR)$(PREFIX)/$(call completion,$(file)) &&) true
	$(foreach link,$(SECOND_NAMES),ln -sfn $(call name,$(link)) $(DESTDIR)$(PREFIX)/$(call of,$(link)) &&) true
	install -D -m 644 spinel.conf $(DESTDIR)$(PREFIX)/share/spinel/spinel.conf
	sed 's|@PREFIX@|$(PREFIX)|g' contrib/systemd/spinel.service > $(TARGET)/spinel.service
	install -D -m 644 $(TARGET)/spinel.service $(DESTDIR)$(PREFIX)/lib/systemd/system/spinel.service

uninstall: ## what install has put there
	rm -f $(DESTDIR)$(PREFIX)/bin/spinel $(DESTDIR)$(PREFIX)/lib/systemd/system/spinel.service
	for name in $(LINKS); do \
		if [ -L $(DESTDIR)$(PREFIX)/bin/$$name ]; then rm $(DESTDIR)$(PREFIX)/bin/$$name; fi; done
	rm -f $(foreach file,$(MANUALS),$(DESTDIR)$(PREFIX)/share/man/man1/$(file))
	rm -f $(foreach file,$(COMPLETIONS),$(DESTDIR)$(PREFIX)/$(call completion,$(file)))
	for link in $(foreach link,$(SECOND_NAMES),$(call of,$(link))); do \
		if [ -L $(DESTDIR)$(PREFIX)/$$link ]; then rm $(DESTDIR)$(PREFIX)/$$link; fi; done
	rm -rf $(DESTDIR)$(PREFIX)/share/spinel

clean: ## what was built (.peers and results stay)
	$(CARGO) clean
