# make setup   everything into .venv; PYTHON=python3.12 picks the interpreter the first time
# make demo    a robot explores a building, then drives to five places shown only as photos
# make test    lint, types and tests
.PHONY: setup demo test lint clean

PYTHON ?= $(or $(shell cat .venv/stamps/python 2>/dev/null),python3)

setup:
	@command -v $(PYTHON) >/dev/null || { echo "setup: $(PYTHON) is missing: apt install python3 python3-venv python3-dev" >&2; exit 1; }
	@$(PYTHON) tools/setup_env.py

demo: setup
	.venv/bin/kinaema demo $(ARGS)

lint: setup
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m mypy

test: lint
	.venv/bin/python -m pytest $(ARGS)

clean:
	rm -rf .venv build install log
