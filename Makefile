# Culvert. Needs Go and make; `make race` also a C compiler, `make pkcs11` that and SoftHSM, `make e2e` npm.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
BIN      = bin/culvert
# Static, and the same bytes wherever it is built.
BUILD    = CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)'
# The version is stamped above; Go's own stamping fails in a checkout that belongs to another user.
export GOFLAGS := $(GOFLAGS) -buildvcs=false

# What is tested: make race PACKAGES=./keys for less than all of it.
PACKAGES ?= ./...

# What the build tag pkcs11 changes.
HSM      = ./keys/pkcs11 ./keys/keystest ./cmd/culvert

# The browser of the end-to-end tests.
CHROMIUM ?= $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.9.0
TOOLS       = $(CURDIR)/bin/tools
# Beyond the defaults: comments of exported names begin with the name, receivers are called the same, and
# initialisms are spelt the way Go spells them.
CHECKS      = -checks all,-ST1000
# Three times, because networks have hiccups; and what cannot be fetched is left out: it has found nothing.
fetch       = { GOBIN=$(TOOLS) go install $(1) || { sleep 5; GOBIN=$(TOOLS) go install $(1); } || \
	{ sleep 20; GOBIN=$(TOOLS) go install $(1); } || { echo "lint: left out: $(1)" >&2; false; }; }

.PHONY: help run build test race pkcs11 lint e2e kill bench

help: ## this list
	@grep -hE '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9]+):.*## /\1|/' | \
		awk -F'|' '{ printf "make %-6s %s\n", $$1, $$2 }'

run: build ## start a server for development on 127.0.0.1:8700, state in ./.culvert
	@exec $(BIN) dev

build: ## compile bin/culvert
	@$(BUILD) -o $(BIN) ./cmd/culvert

test: ## every test but the end-to-end ones; needs no C compiler
	CGO_ENABLED=0 go test -timeout 20m $(PACKAGES)

race: ## the same under the race detector; needs a C compiler
	CGO_ENABLED=1 go test -race -timeout 30m $(PACKAGES)

pkcs11: ## the HSM provider under the race detector, on a real SoftHSM; needs a C compiler and softhsm2
	@command -v softhsm2-util >/dev/null || test "$$(id -u)" != 0 || ! command -v apt-get >/dev/null || \
		for pause in 0 5 20; do sleep $$pause; echo "pkcs11: installing softhsm2"; apt-get update -qq && \
			DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o DPkg::Lock::Timeout=120 --no-install-recommends softhsm2 && break; done >&2 || true
	@command -v softhsm2-util >/dev/null || { echo "pkcs11: softhsm2 is not here: apt-get install softhsm2" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "pkcs11: there is no C compiler (cc)" >&2; exit 1; }
	CGO_ENABLED=1 go test -race -tags pkcs11 -count=1 ./keys/pkcs11
	CGO_ENABLED=1 go test -race -tags pkcs11 -count=1 -run 'PKCS11|HSM' ./cmd/culvert

lint: ## formatting, vet, staticcheck; govulncheck only warns
	@unformatted=$$(find . -name node_modules -prune -o -name '*.go' -print | xargs gofmt -l); \
		test -z "$$unformatted" || { echo "gofmt these files:" $$unformatted >&2; exit 1; }
	go vet -tags e2e ./...
	@if command -v cc >/dev/null; then echo go vet -tags pkcs11; CGO_ENABLED=1 go vet -tags pkcs11 $(HSM); fi
	@if $(call fetch,$(STATICCHECK)); then echo staticcheck -tags e2e ./...; $(TOOLS)/staticcheck $(CHECKS) -tags e2e ./... && \
		{ ! command -v cc >/dev/null || CGO_ENABLED=1 $(TOOLS)/staticcheck $(CHECKS) -tags pkcs11 $(HSM); }; fi
	@if $(call fetch,$(GOVULNCHECK)); then $$(command -v timeout >/dev/null && echo timeout 300) $(TOOLS)/govulncheck ./... || \
		echo "lint: govulncheck found something or could not run; see above" >&2; fi

e2e: build ## official SDKs and real authorization servers against the built binary; needs npm
	@test -n "$(CHROMIUM)" || echo "e2e: no Chromium here; what needs a real browser is left out" >&2
	CULVERT_BIN=$(CURDIR)/$(BIN) CULVERT_CHROMIUM=$(CHROMIUM) CGO_ENABLED=0 \
		go test -tags e2e -count=1 -timeout 20m ./internal/e2e/...

kill: build ## refreshes of 200 accounts under crashes and a faulty network, for CULVERT_KILL_FOR (10m); needs npm
	CULVERT_BIN=$(CURDIR)/$(BIN) CULVERT_KILL_FOR=$${CULVERT_KILL_FOR:-10m} CGO_ENABLED=0 \
		go test -tags e2e -count=1 -timeout 0 -v -run '^TestKillRefreshes$$' ./internal/e2e

bench: ## the benchmarks, with bare gin as the baseline; CULVERT_BENCH_RECORDS=1000000 for a rewrap of a million
	CGO_ENABLED=0 go test -run '^$$' -bench . -timeout 60m ./...
