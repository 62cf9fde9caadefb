# The only entry point: what a person types and what CI runs are the same targets.
.DEFAULT_GOAL := help
.PHONY: help build demo test race sim e2e fuzz bench crash soak lint docs check clean

FUZZTIME ?= 60s
TIMEOUT  ?= 15m
SOAK     ?= 15m
SEED     ?= 0
HOSTS    ?= 200
PKGS     ?= ./...

# Linking takes most of the time of a test binary that holds the wasm engine, and nearly all of that is for debuggers, who
# type LINK=. Traces of panics need none of it.
LINK     ?= -ldflags='-s -w'

help: ## List the targets.
	@sed -nE 's/^([a-z0-9]+):[^#]*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

build: ## Build bin/aopeer.
	go build -trimpath -ldflags "-s -w" -o bin/aopeer ./cmd/aopeer

demo: build ## Run the demo: a message walks through a devnet of real peers and is verified from Arweave alone.
	./bin/aopeer devnet --demo

test: ## Run the tests.
	go test $(LINK) -timeout $(TIMEOUT) $(PKGS)

race: ## Run the tests under the race detector, and those of the wasm host and of simnet, which are long there, without it.
	go test $(LINK) -race -short -vet=off -p 3 -timeout $(TIMEOUT) $$(go list $(PKGS) | grep -vE '/(simnet|wasmvm)$$')
	go test $(LINK) -vet=off -timeout $(TIMEOUT) ./wasmvm ./simnet

sim: ## Play the market's stories with HOSTS=200 peers in virtual time.
	go test $(LINK) -count=1 -timeout 60m -run '^Test(Market|Forgers|Bait)' -v ./simnet -hosts $(HOSTS)

e2e: ## Run the tests with real processes and stock clients (node and npm are needed); ARLOCAL=1 builds npm arlocal first.
	@.ci/beside "go test $(LINK) -tags e2e -vet=off -count=1 -timeout 15m -parallel 3 -skip '^Test(Crash|Soak)$$' ./internal/e2e/..." \
	  "go test $(LINK) -tags e2e -vet=off -count=1 -timeout 30m -run '^TestDifferential$$' ./wasmvm"

fuzz: ## Fuzz every parser of outside bytes, FUZZTIME=60s each.
	@.ci/fuzz $(FUZZTIME)

bench: ## Measure every hot path beside its primitive: a table, bench.json, and an error for a row over its goal.
	go test $(LINK) -count=1 -timeout 20m -run '^TestBench$$' -v ./internal/bench -out $(CURDIR)/bench.json

crash: ## Fail every durable write, and kill -9 every process in 50 rounds; SEED=n repeats the rounds of a failure.
	cd internal/crash && go test $(LINK) -count=1 -timeout 60m -run '^TestEveryWrite$$' -all
	cd internal/e2e && go test $(LINK) -tags e2e -vet=off -count=1 -timeout 60m -run '^Test(Crash|Kill)$$' -v -rounds 50 -messages 2000 -kills 10 -seed $(SEED)

soak: ## Load every process with half of what it takes for SOAK=15m: memory, goroutines and descriptors must not grow.
	cd internal/e2e && go test $(LINK) -tags e2e -vet=off -count=1 -timeout 24h -run '^TestSoak$$' -v -soak $(SOAK)

lint: ## Format, vet, staticcheck.
	@bad=$$(git ls-files -z '*.go' | xargs -0 go tool gofumpt -l); \
	if [ -n "$$bad" ]; then echo "not formatted, run: go tool gofumpt -w" $$bad; exit 1; fi
	go vet -tags e2e $(PKGS)
	go tool staticcheck -tags e2e $(PKGS)

docs: ## Rewrite the docs and golden files that are made from code: every package whose tests have -update.
	@set -e; for dir in $$(git grep -l 'flag.Bool("update"' -- '*_test.go' | xargs -rn1 dirname | sort -u); do \
	  go test -count=1 "./$$dir" -update; done

check: lint race ## Lint, one race pass, two rounds of kill -9, 5 s a fuzz target: what every change must pass.
	@.ci/beside "go test $(LINK) -tags e2e -vet=off -count=1 -run '^TestCrash$$' ./internal/e2e" ".ci/fuzz 5s unguided"

clean: ## Remove what the other targets made.
	rm -rf bin
