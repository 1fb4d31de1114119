# make setup   everything into .venv; PYTHON=python3.12 picks the interpreter the first time
# make demo    a robot explores a building, then drives to five places shown only as photos
# make lint    style, types and the direction of imports
# make test    lint and all tests
.PHONY: setup steps demo lint test clean

PYTHON ?= $(or $(shell cat .venv/stamps/python 2>/dev/null),python3)

# A finished step of the set-up leaves a file .venv/stamps/STEP-HASH; the hash is of what the step is made of.
# A step is run again where that file is missing or older than the one of the step before. Contents are
# compared and not times, because unpacking an archive or changing branches can bring in older files.
hash = $(shell { $(1); } 2>/dev/null | sha256sum | cut -c1-16)
files = find $(1) -type f ! -path '*/__pycache__/*' | LC_ALL=C sort
contents = $(files) | xargs -d '\n' sha256sum

# Scripts hold absolute paths: a moved checkout starts anew, and so does another Python or another ROS.
python_id = $(PYTHON) -c 'import sys; print(sys.base_prefix + sys.version)'
VENV := .venv/stamps/venv-$(call hash,pwd; echo "$$ROS_DISTRO"; $(python_id))
PACKAGES := .venv/stamps/packages-$(call hash,$(call contents,requirements tools/setup_env.py))
INTERFACES := .venv/stamps/interfaces-$(call hash,$(call contents,kinaema_interfaces stand_ins))
# setup.py lists the files of the data folders one by one and links to them: a new name asks for a new build.
package = $(call contents,package.xml setup.py setup.cfg colcon.pkg bin resource tools)
data = $(call files,launch config examples models worlds rviz)
KINAEMA := .venv/stamps/kinaema_ros-$(call hash,$(package); $(data))

# One set-up at a time. The commands that it starts hold the lock too, in case `make` is killed.
setup:
	@command -v $(PYTHON) >/dev/null || \
		{ echo "setup: $(PYTHON) is missing: apt install python3 python3-venv python3-dev" >&2; exit 1; }
	@flock -n Makefile true || echo "setup: another one is at work here; waiting for it"
	@test -x .venv/bin/python || rm -f .venv/stamps/venv-*
	@flock --no-fork Makefile $(MAKE) --no-print-directory --silent steps

steps: $(KINAEMA)
$(PACKAGES): $(VENV)
$(INTERFACES): $(PACKAGES)
$(KINAEMA): $(INTERFACES)
step = $(firstword $(subst -, ,$(notdir $@)))
$(VENV):
	@$(PYTHON) tools/setup_env.py check
	@echo "setup: Python environment ..."
	@$(PYTHON) -m venv --clear $(if $(ROS_DISTRO),--system-site-packages) .venv
	@mkdir .venv/stamps
	@$(PYTHON) -c 'import sys; print(sys.executable)' >.venv/stamps/python
	@touch $@
$(PACKAGES) $(INTERFACES) $(KINAEMA):
	@rm -f .venv/stamps/$(step)-*
	@echo "setup: $(step) ..."
	@$(PYTHON) tools/setup_env.py $(step)
	@touch $@

demo: setup
	.venv/bin/kinaema demo $(ARGS)

lint: setup
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m mypy
	.venv/bin/lint-imports

test: lint
	.venv/bin/python -m pytest -m "not ros"
	.venv/bin/python -m pytest -m ros

clean:
	rm -rf .venv build install log
