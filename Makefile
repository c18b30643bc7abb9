# Everything starts from a bare machine: Python >= 3.11 with pip, and make. The environment goes to .venv.
# Looked for once, and only where it is needed.
PYTHON ?= $(eval PYTHON := $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,$(shell \
	$(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))) python3))$(PYTHON)
PORT   ?= 8080
STATE  ?= .milepost
DATA   ?=
SCALE  ?=
ARGS   ?=

VENV   := .venv
RUN    := $(VENV)/bin/python
READY  := $(VENV)/.ready
SPREAD := --numprocesses auto --dist worksteal
# What `make oldest` runs: everything that speaks to Redis, to Postgres in another way than by a named query, or to both
# while something fails. Through pgbouncer, what prepares, locks, copies and reads by cursors.
POOLED := $(addprefix tests/,db/test_sql.py db/test_days.py db/test_migrate.py db/test_connect.py \
	$(addprefix worker/test_,batch.py drain.py schedule.py) jobs/test_recalculate.py \
	$(addprefix api/test_,sessions.py usage_pipe.py))
OLDEST := $(addprefix tests/,$(addprefix db/test_,sql.py migrate.py days.py appending.py log.py cluster.py) \
	$(addprefix worker/test_,batch.py drain.py lost_redis.py outbox.py courses.py) bench/test_demo.py \
	$(addprefix api/test_,usage_pipe.py usage_reports.py analytics.py rates.py) \
	$(addprefix chaos/test_scenarios.py::test_scenario,[lost_data] [memory_bound]))

.DEFAULT_GOAL := help
.PHONY: help demo up test oldest check bench chaos format lock clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo; echo "  PORT=$(PORT) STATE=$(STATE) DATA=<file or folder, for demo> SCALE=<for bench> ARGS=<for pytest> PYTHON=$(PYTHON)"

# exec: a signal for make reaches the supervisor, not a shell in between.
demo: $(READY)  ## everything with embedded servers, and a stretch of traffic to look at; goes on serving
	@exec $(RUN) -m db.up --port $(PORT) --state "$(STATE)" --demo $(if $(DATA),--data "$(DATA)")

up: $(READY)  ## the same without the traffic
	@exec $(RUN) -m db.up --port $(PORT) --state "$(STATE)"

test: $(READY)  ## all tests, in several processes; in one with ARGS="-n 0"
	@$(RUN) -m pytest $(SPREAD) $(ARGS)

oldest: $(READY)  ## the tests of what speaks to servers, on the oldest that are supported, and through pgbouncer
	@TEST_SERVERS=oldest $(RUN) -m pytest $(SPREAD) $(foreach test,$(OLDEST),'$(test)') $(ARGS)
	@TEST_SERVERS=pooled $(RUN) -m pytest $(SPREAD) $(POOLED) $(ARGS)

check: $(READY)  ## format, lint, types, import layers, schema dump, tests: what CI runs, beside oldest
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports
	$(RUN) -m db schema --check
	$(RUN) -m pytest $(SPREAD) $(ARGS)

bench: $(READY)  ## the measurements, as ratios in one run
	@$(if $(SCALE),SCALE="$(SCALE)") $(RUN) -m bench

chaos: $(READY)  ## kill everything while it works, and count
	@$(if $(SCALE),SCALE="$(SCALE)") $(RUN) -m bench.chaos

format: $(READY)  ## put the code into shape
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

lock:  ## pin the newest allowed dependencies (needs uv)
	uv pip compile --upgrade --quiet --universal --generate-hashes --python-version 3.11 --extra dev \
		pyproject.toml -o requirements.lock

clean:  ## remove the environment and the caches; the data in STATE stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# The stamp is newer than the lock exactly when the environment holds what the lock says. Debian and Ubuntu ship Python
# without ensurepip: then the system's pip fills the environment from outside.
$(READY): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "Milepost needs Python 3.11 or newer; '$(PYTHON)' is not. Try: make PYTHON=python3.12 …" >&2; exit 1; }
	@echo "Installing $$(grep -c '==' requirements.lock) packages into $(VENV) (once, about a minute) …"
	@if $(PYTHON) -c 'import ensurepip' 2>/dev/null; then $(PYTHON) -m venv --clear $(VENV); \
		else $(PYTHON) -m venv --clear --without-pip $(VENV); fi
	@if [ -x $(VENV)/bin/pip ]; then pip="$(RUN) -m pip"; else pip="$(PYTHON) -m pip --python $(RUN)"; fi; \
		$$pip --version >/dev/null 2>&1 \
			|| { echo "Milepost needs pip for '$(PYTHON)' (on Debian or Ubuntu: apt install python3-pip)." >&2; exit 1; }; \
		PIP_DISABLE_PIP_VERSION_CHECK=1 $$pip install -qq --progress-bar off --require-hashes -r requirements.lock
	@touch $@
