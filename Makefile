# The only entry point: what a person types and what CI runs are the same targets.
.DEFAULT_GOAL := help
.PHONY: help build demo test race e2e fuzz bench lint docs check clean

FUZZTIME ?= 60s
TIMEOUT  ?= 15m
PKGS     ?= ./...

help: ## List the targets.
	@sed -nE 's/^([a-z0-9]+):[^#]*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

build: ## Build bin/aopeer.
	go build -trimpath -ldflags "-s -w" -o bin/aopeer ./cmd/aopeer

demo: build ## Run the demo: a message walks through a devnet of real peers and is verified from Arweave alone.
	./bin/aopeer devnet --demo

test: ## Run the tests.
	go test -timeout $(TIMEOUT) $(PKGS)

race: ## Run the tests under the race detector, and those of the wasm host, which are long there, in full without it.
	go test -race -short -vet=off -timeout $(TIMEOUT) $(PKGS)
	go test -vet=off -timeout $(TIMEOUT) ./wasmvm

e2e: ## Run the tests with real processes and stock clients (node and npm are needed).
	go test -tags e2e -vet=off -count=1 -timeout 15m ./internal/e2e/...

fuzz: ## Fuzz every parser of outside bytes, FUZZTIME=60s each.
	@.ci/fuzz $(FUZZTIME)

bench: ## Measure every hot path beside its primitive: a table, bench.json, and an error for a row over its goal.
	go test -count=1 -timeout 20m -run '^TestBench$$' -v ./internal/bench -out $(CURDIR)/bench.json

lint: ## Format, vet, staticcheck.
	@bad=$$(git ls-files -z '*.go' | xargs -0 go tool gofumpt -l); \
	if [ -n "$$bad" ]; then echo "not formatted, run: go tool gofumpt -w" $$bad; exit 1; fi
	go vet -tags e2e $(PKGS)
	go tool staticcheck -tags e2e $(PKGS)

docs: ## Rewrite the docs and golden files that are made from code: every package whose tests have -update.
	@set -e; for dir in $$(git grep -l 'flag.Bool("update"' -- '*_test.go' | xargs -rn1 dirname | sort -u); do \
	  go test -count=1 "./$$dir" -update; done

check: lint race ## Lint, one race pass, 5 s a fuzz target: what every change must pass.
	@.ci/fuzz 5s

clean: ## Remove what the other targets made.
	rm -rf bin
