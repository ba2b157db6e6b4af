# The book's commands. `make help` lists them. Each makes the virtual environment first where it is
# missing or out of date. Works with GNU make 3.81 (macOS) and newer.

SHELL := /bin/sh
VENV := .venv
RUN := $(VENV)/bin/python
CORES := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
STAMP := $(VENV)/.installed-$(shell cat requirements.txt constraints.txt pyproject.toml tools/bootstrap.sh | cksum | cut -d' ' -f1)
SAY := @printf '\n==> %s\n'
PYTEST := $(RUN) -m pytest --quiet --durations=3

.PHONY: help book site serve lab test bench chapters clean
.NOTPARALLEL:

help:
	@echo 'make book      execute the chapters (only those that changed) and build the site'
	@echo 'make site      build the site from the committed outputs, executing nothing'
	@echo 'make serve     serve the built site on this machine'
	@echo 'make lab       open JupyterLab on the chapters'
	@echo 'make test      lint, contracts, unit tests, notebooks, the site in a real browser'
	@echo 'make bench     compare with peer libraries, as ratios'
	@echo 'make chapters  execute the chapters in place, before committing them'
	@echo 'make clean     remove what was built (all=1: the environment too)'

$(STAMP): requirements.txt constraints.txt pyproject.toml tools/bootstrap.sh
	@sh tools/bootstrap.sh $(VENV)
	@rm -f $(VENV)/.installed-*
	@touch $@

book: $(STAMP)
	@$(RUN) -m tools.book

site: $(STAMP)
	@$(RUN) -m tools.book --committed

chapters: $(STAMP)
	@$(RUN) -m tools.execute --in-place

serve: $(STAMP)
	@$(RUN) -m tools.serve

lab: $(STAMP)
	@$(VENV)/bin/jupyter lab chapters

bench: $(STAMP)
	@for file in benchmarks/bench_*.py; do \
	  name=$$(basename $$file .py); \
	  printf '\n==> %s\n' "$$name"; \
	  $(RUN) -m benchmarks.$$name || exit 1; \
	done

test: $(STAMP)
	$(SAY) '1/5 ruff: lint and format'
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	$(SAY) '2/5 library and house: unit and property tests, import contract, docstrings'
	@OMP_NUM_THREADS=1 $(PYTEST) -n $(CORES) tests --ignore=tests/site --ignore=tests/chapters
	$(SAY) '3/5 chapters: nbval, strict'
	@OMP_NUM_THREADS=1 $(PYTEST) -o addopts='--strict-markers --strict-config --import-mode=importlib' \
	  -n $(CORES) --dist loadfile --nbval --nbval-current-env \
	  --nbval-sanitize-with tests/chapters/sanitize.cfg tests/chapters chapters
	$(SAY) '4/5 site: built from the committed outputs'
	@$(RUN) -m tools.book --committed
	$(SAY) '5/5 site: read in a real browser'
	@$(PYTEST) -n $(CORES) -rs tests/site
	$(SAY) 'all green'

clean:
	rm -rf _build .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find xferlib tools tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
ifdef all
	rm -rf $(VENV)
endif
