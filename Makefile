# Culvert. Needs Go and make; `make race` also a C compiler, `make e2e` also npm.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
BIN      = bin/culvert
# Static, and the same bytes wherever it is built.
BUILD    = CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)'
# The version is stamped above; Go's own stamping fails in a checkout that belongs to another user.
export GOFLAGS := $(GOFLAGS) -buildvcs=false

# The browser of the end-to-end tests.
CHROMIUM ?= $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.9.0
TOOLS       = $(CURDIR)/bin/tools
# Three times, because networks have hiccups; and what cannot be fetched is left out: it has found nothing.
fetch       = { GOBIN=$(TOOLS) go install $(1) || { sleep 5; GOBIN=$(TOOLS) go install $(1); } || \
	{ sleep 20; GOBIN=$(TOOLS) go install $(1); } || { echo "lint: left out: $(1)" >&2; false; }; }

.PHONY: help run build test race lint e2e bench

help: ## this list
	@grep -hE '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9]+):.*## /\1|/' | \
		awk -F'|' '{ printf "make %-6s %s\n", $$1, $$2 }'

run: build ## start a server for development on 127.0.0.1:8700, state in ./.culvert
	@exec $(BIN) dev

build: ## compile bin/culvert
	@$(BUILD) -o $(BIN) ./cmd/culvert

test: ## every test but the end-to-end ones; needs no C compiler
	CGO_ENABLED=0 go test ./...

race: ## the same under the race detector; needs a C compiler
	CGO_ENABLED=1 go test -race -timeout 20m ./...

lint: ## formatting, vet, staticcheck; govulncheck only warns
	@unformatted=$$(find . -name node_modules -prune -o -name '*.go' -print | xargs gofmt -l); \
		test -z "$$unformatted" || { echo "gofmt these files:" $$unformatted >&2; exit 1; }
	go vet -tags e2e ./...
	@if $(call fetch,$(STATICCHECK)); then echo staticcheck -tags e2e ./...; $(TOOLS)/staticcheck -tags e2e ./...; fi
	@if $(call fetch,$(GOVULNCHECK)); then $$(command -v timeout >/dev/null && echo timeout 300) $(TOOLS)/govulncheck ./... || \
		echo "lint: govulncheck found something or could not run; see above" >&2; fi

e2e: build ## official SDKs and real authorization servers against the built binary; needs npm
	@test -n "$(CHROMIUM)" || echo "e2e: no Chromium here; what needs a real browser is left out" >&2
	CULVERT_BIN=$(CURDIR)/$(BIN) CULVERT_CHROMIUM=$(CHROMIUM) CGO_ENABLED=0 \
		go test -tags e2e -count=1 -timeout 20m ./internal/e2e/...

bench: ## the benchmarks, with bare gin as the baseline
	CGO_ENABLED=0 go test -run '^$$' -bench . -timeout 60m ./...
