# batchwright: what a developer does. `make` lists it.

GO       ?= go
TAGS     := disable_grpc_modules
MODULE   := github.com/batchwright/batchwright
VERSION  ?= $(shell git describe --tags --dirty 2>/dev/null)
COMMIT   ?= $(shell git rev-parse HEAD 2>/dev/null)
DATE     ?= $(shell TZ=UTC git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ 2>/dev/null)
LDFLAGS  := -s -w -X $(MODULE)/internal/version.release=$(VERSION) -X $(MODULE)/internal/version.commit=$(COMMIT) -X $(MODULE)/internal/version.date=$(DATE)
BUILD    := CGO_ENABLED=0 $(GO) build -trimpath -tags $(TAGS) -ldflags '$(LDFLAGS)'
LINT     := bin/golangci-lint
LINT_VERSION := v2.15.0
PLATFORMS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64
RACE     := ./internal/batch/... ./internal/money/... ./internal/store/... ./internal/worker/... ./internal/pacing/...
FUZZTIME ?= 20s

.DEFAULT_GOAL := help
.PHONY: help build test browser race check lint fmt tidy docs fuzz bench model mutants worlds torture torture-disk demo-llm cross clean

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## the binary, bin/batchwright
	$(BUILD) -o bin/batchwright ./cmd/batchwright

test: ## all tests
	CGO_ENABLED=0 $(GO) test -tags $(TAGS) ./...

browser: ## a run full of hostile text, its report opened in headless Chromium
	CGO_ENABLED=0 $(GO) test -count=1 -timeout 10m -tags '$(TAGS) browser' -run InABrowser -v ./internal/cli

race: ## the tests of the core under the race detector; needs a C compiler
	CGO_ENABLED=1 $(GO) test -race -tags $(TAGS) $(RACE)

check: ## what must be green before a change is offered: format, vet, all tests (layers and generated docs among them)
	@unformatted=$$(gofmt -l bench cmd internal model mutants torture); test -z "$$unformatted" || { echo "gofmt these, or make fmt:"; echo "$$unformatted"; exit 1; }
	CGO_ENABLED=0 $(GO) vet -tags $(TAGS) ./...
	CGO_ENABLED=0 $(GO) test -tags $(TAGS) ./...

lint: $(LINT) ## golangci-lint, pinned, built into bin/ on first use
	$(LINT) run ./...

$(LINT): Makefile
	@if [ "$$($(LINT) version --short 2>/dev/null)" = "$(LINT_VERSION:v%=%)" ]; then touch $(LINT); else \
		echo "building golangci-lint $(LINT_VERSION)"; \
		GOBIN=$(CURDIR)/bin GOFLAGS= CGO_ENABLED=0 $(GO) install -ldflags '-X main.version=$(LINT_VERSION:v%=%)' github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION); fi

fmt: ## format all Go files
	gofmt -w bench cmd internal model mutants torture

tidy: ## tell whether go.mod and go.sum say what the code needs, and nothing more
	$(GO) mod tidy -diff
	$(GO) mod verify

docs: ## write the generated pages and schemas anew
	$(GO) test -tags $(TAGS) ./internal/spec -update

fuzz: ## every fuzzer for FUZZTIME (20s)
	@set -e; for pkg in $$(grep -rl --include='*_test.go' '^func Fuzz' internal | xargs -n1 dirname | sort -u); do \
		for name in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$pkg/*_test.go); do \
			echo "== $$pkg $$name"; $(GO) test -tags $(TAGS) -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x ./$$pkg; \
		done; done

bench: build ## batchwright beside a bare client loop, and the packages' own benchmarks
	$(GO) test -tags $(TAGS) -run '^$$' -bench . -benchmem ./internal/...
	$(GO) run -tags $(TAGS) ./bench -bin bin/batchwright

model: ## the models of the protocol, and each bug planted in them; DEEP=1 larger sizes; needs spin and gcc
	$(GO) run ./model $(if $(DEEP),-deep -mem 6000)

worlds: ## play SEEDS (100000) simulated worlds of the whole engine from seed FROM (1) on
	CGO_ENABLED=0 $(GO) test -tags $(TAGS) ./internal/lease -run '^TestSimulation$$' -count=1 -timeout 24h -v -simulation.seeds $(or $(SEEDS),100000) -simulation.from $(or $(FROM),1)

KILLS    ?= 1000
SEED     ?= 0
mutants: ## bugs planted one by one: the tests must notice each; EVERY=4 plants a sample
	$(GO) run ./mutants $(if $(EVERY),-every $(EVERY))

torture: ## kill it KILLS times (1000), at random and at every point there is; SEED repeats a storm
	CGO_ENABLED=0 $(GO) build -tags $(TAGS),failpoints -o bin/batchwright-failpoints ./cmd/batchwright
	$(GO) run -tags $(TAGS) ./torture -bin bin/batchwright-failpoints -mode all -kills $(KILLS) $(if $(filter-out 0,$(SEED)),-seed $(SEED))

torture-disk: ## every fault of disk and kernel: system calls that fail or kill, full disks; needs strace, and root or a user namespace
	CGO_ENABLED=0 $(GO) test -tags $(TAGS) ./torture -run '^TestDisk' -count=1 -timeout 80m -v -torture.disk

demo-llm: ## two jobs against a real small language model on this machine
	scripts/demo-llm.sh

cross: ## the binary for every platform, into dist/
	@set -e; for p in $(PLATFORMS); do \
		out=dist/batchwright-$${p%/*}-$${p#*/}; echo "$$out"; \
		GOOS=$${p%/*} GOARCH=$${p#*/} $(BUILD) -o $$out ./cmd/batchwright; \
	done

clean: ## remove what was built
	rm -rf bin dist
