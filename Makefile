# Gantry: see "make help".
SHELL := /bin/bash
.DEFAULT_GOAL := help

BIN     := bin
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
GOFLAGS := -trimpath
export CGO_ENABLED := 0

DEMO       := examples/nginx-app-db
DEMO_PORT  ?= 8088
TEST_FLAGS ?= -timeout 18m
PACKAGES   ?= ./...

.PHONY: help build install install-docker-link deps test-deps demo demo-down demo-app demo-base test test-examples test-clients test-vm bench lint docs clean

help: ## Show this text
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build bin/gantry and bin/gantry-shim
	@mkdir -p $(BIN)
	go build $(GOFLAGS) -ldflags '$(LDFLAGS)' -o $(BIN)/ ./cmd/gantry ./cmd/gantry-shim

install: build ## Install both programs to /usr/local/bin
	install -m 0755 $(BIN)/gantry $(BIN)/gantry-shim /usr/local/bin/

install-docker-link: install ## Let gantry answer as docker and docker-compose, too
	@for name in docker docker-compose; do \
		path=/usr/local/bin/$$name; \
		if [ -e $$path ] && [ "$$(readlink $$path)" != gantry ]; then \
			echo "$$path is another program; remove it first" >&2; exit 1; \
		fi; \
		ln -sfn gantry $$path; \
	done

deps: ## Install what running and the demo need (Debian, root)
	@scripts/install-packages runc mmdebstrap busybox-static ca-certificates curl

test-deps: deps
	@scripts/install-packages docker-registry skopeo nftables iptables iproute2 procps docker-compose python3-docker git openssh-client bzip2 xz-utils zstd

demo: deps build ## Run nginx + app + PostgreSQL and ask for a page
	@scripts/demo up

demo-down: ## Remove every trace of the demo
	@scripts/demo down

demo-app:
	@mkdir -p $(BIN)/app
	cd $(DEMO)/app && go build $(GOFLAGS) -ldflags '-s -w' -o ../../../$(BIN)/app/example-app .

demo-base: ## Make the base image of the examples from Debian packages
	go run ./examples/images -o $(BIN)/images debian

test: test-deps build ## Run all tests, with real containers (root)
	GANTRY_BIN=$(CURDIR)/$(BIN) go test $(TEST_FLAGS) $(PACKAGES)

test-examples: test-deps build demo-base ## Build and run the examples, from packages and sources of Debian's mirror (root)
	GANTRY_BIN=$(CURDIR)/$(BIN) go test -tags examples -count=1 -v -timeout 18m ./tests/examples

test-clients: test-deps build ## Build Docker Compose 2 and 5 and buildx from Go's module proxy, and run them (root)
	scripts/build-clients $(BIN)/clients
	GANTRY_BIN=$(CURDIR)/$(BIN) GANTRY_CLIENTS=$(CURDIR)/$(BIN)/clients go test -tags clients -count=1 -v -timeout 12m -run Released ./tests/clients

test-vm: build ## Run the tests that need systemd, cgroup v2 and a reboot, in QEMU
	tests/vm/run

bench: test-deps build ## Measure against bare runc, buildah and skopeo; prints ratios
	@scripts/install-packages buildah
	GANTRY_BIN=$(CURDIR)/$(BIN) go run ./tests/bench

lint: ## Check formatting and vet
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	go vet ./...

clean: ## Remove what was built
	rm -rf $(BIN)
