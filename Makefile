# SPDX-License-Identifier: GPL-3.0-or-later
# Two commands: `make demo` shows it, `make test` proves it. Each installs what it needs and is safe to run twice.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# What a shell happens to have set for other projects must not reach this one.
unexport ANSIBLE_CONFIG ANSIBLE_INVENTORY ANSIBLE_COLLECTIONS_PATH PYTHONPATH
# Ansible forks a process for each task; were compiled plugins not kept, every one of them would compile them again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo demo-down rehearse rehearse-down dev dev-stop dev-reset dev-logs dev-psql dev-migrate test lint unit collection images molecule bench-converge bench-deploy bench-edge bench-backup bench-development bench-logs bench-monitoring bench-suite affected lab lab-efk proof setup setup-lab setup-dev

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

demo: setup-lab ## a fresh machine -> a throw-away Debian server on it, provisioned, watched, answering on HTTPS
	lab/mitogen.sh ansible-playbook lab/demo.yml -i inventories/local

demo-down: setup-lab ## remove the throw-away server, its network and its volumes
	lab/mitogen.sh ansible-playbook lab/destroy.yml -i inventories/local

# Any inventory on throw-away servers: docs/rehearsal.md. RELEASE=v1.4.2 DATA=directory IDENTITY=file EXTRA=file KEEP=1
INVENTORY ?= inventories/prod
rehearse: setup-lab ## an inventory as it stands on throw-away servers: site, verify, release, backup, restore, reboot; INVENTORY=inventories/prod
	python lab/rehearse.py $(INVENTORY) $(if $(RELEASE),--release $(RELEASE)) $(if $(DATA),--data $(DATA)) $(if $(IDENTITY),--identity $(IDENTITY)) $(if $(EXTRA),--extra $(EXTRA)) $(if $(KEEP),--keep)

rehearse-down: setup-lab ## remove the servers of a rehearsal that was to keep them (KEEP=1)
	python lab/rehearse.py $(INVENTORY) --down

# The developer's machine of inventories/dev: docs/development.md. Another app_name: make dev-logs DEV=name.
DEV ?= kasaneha
dev: setup ## this machine as a developer's: the sources mounted, hot reload, databases
	ansible-playbook site.yml -i inventories/dev

dev-stop: ## stop it; `make dev` starts it again, with its data
	docker compose --project-name $(DEV) stop
	docker compose --project-name $(DEV)-data stop

dev-reset: ## throw its containers and all its data away
	docker compose --project-name $(DEV) down --volumes
	docker compose --project-name $(DEV)-data down --volumes

dev-logs: ## what it prints, as it comes
	docker compose --project-name $(DEV) logs --follow --tail 100

dev-psql: ## psql in its database
	docker exec --interactive $$([ ! -t 0 ] || echo --tty) $(DEV)-postgres sh -c 'exec psql -U "$$POSTGRES_USER" -d "$$POSTGRES_DB"'

dev-migrate: ## apply migrations that came later; COMMAND="go run cmd/api/main.go migrate up"
	docker exec $(DEV)-backend /bin/sh /run/deploy/with-secrets $(or $(COMMAND),go run cmd/api/main.go migrate up)

test: setup-dev ## everything CI runs
	tests/run.sh

lint: setup-dev ## ansible-lint, yamllint, ruff, mypy
	tests/run.sh lint

unit: setup-dev ## pure functions, templates, metadata: seconds, no Docker
	tests/run.sh unit

collection: setup-dev ## the built tarball: its files, ansible-test sanity, installed elsewhere
	tests/run.sh collection

images: setup-dev ## the lab's images and the example application against their contracts
	tests/run.sh containers clock

molecule: setup-dev ## whole servers
	tests/run.sh rehearse release interrupted operations logging backup edge fleet fleet_outages firewall verify variants applications newcomer debian12 cleanup

bench-converge: setup-dev ## seconds of demo, repeated demo and no-op site.yml; AGAINST=<commit>: of site.yml beside that of the commit
	python benchmarks/converge.py $(if $(AGAINST),--against $(AGAINST))

bench-deploy: lab ## what a release costs: failed requests, switch time, overhead; beside the usual ways
	python benchmarks/deploy.py

bench-edge: lab ## requests/s and p99 through the edge, beside the first design and a bare proxy
	python benchmarks/edge.py

bench-backup: lab ## what a proven backup and its restore cost, beside the raw tools and the usual scripts
	python benchmarks/backup.py

bench-development: lab ## seconds from a saved file to the page and to the backend
	python benchmarks/development.py

bench-logs: lab ## lines/s, memory and disk of the way of a line into the journal
	python benchmarks/logs.py

lab-efk: setup-dev ## Fluentd, Elasticsearch and Kibana for real, on a server of yours that can get their images: EFK_INVENTORY=inventories/staging
	lab/efk.sh $(EFK_INVENTORY)

bench-monitoring: lab ## what it costs to watch: memory and processor
	tests/run.sh bench-monitoring

bench-suite: setup-dev ## seconds of `make test` from a fresh clone on a machine where nothing of ours is installed, step by step
	python3 benchmarks/suite.py

proof: setup-dev ## the long proofs, an hour at most each: STEP="kills long-release"; results go to benchmarks/results
	tests/run.sh proof $(STEP)

affected: setup-dev ## before a commit: the steps of the suite that your changes can touch (since BASE=HEAD)
	tests/run.sh affected $(BASE)

lab: setup-dev # the images that tests and measurements need, besides those of the demo
	tests/run.sh lab

setup: ## a Python environment with Ansible, for servers of yours and a developer's machine: no Docker, nothing installed on this machine
	@lab/setup.sh own

setup-lab:
	@lab/setup.sh

setup-dev:
	@lab/setup.sh dev
