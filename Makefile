# Two commands: `make run` shows a whole trading day, `make test` tests it. Both build their own environment.
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
PY ?= python3
RUN = $(UV) run --locked --quiet
export UV_PYTHON = $(PY)

.PHONY: run test setup python check format serve fake-alpaca bench fuzz chaos clean

run: setup
	@$(RUN) thresher demo

test: setup
	@$(RUN) pytest -q -n auto --dist loadfile

setup: python $(if $(findstring /,$(UV)),$(UV))
	@$(UV) sync --locked --quiet
	@[ .venv/compiled -nt transforms/lots/compiled.py ] || ($(RUN) python -m flows.lots_columns && touch .venv/compiled)

python:
	@$(PY) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		(echo "Thresher needs Python 3.11, 3.12 or 3.13; say which: make $(MAKECMDGOALS) PY=python3.12" && exit 1)

.uv/bin/uv:
	@$(PY) -m venv .uv && .uv/bin/pip install -q --disable-pip-version-check 'uv==0.13.9'

check: setup
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(RUN) mypy flows transforms warehouse
	@$(RUN) pytest -q -n auto --dist loadfile

format: setup
	@$(RUN) ruff check --fix .
	@$(RUN) ruff format .

serve: setup
	@$(RUN) python -m flows.serve

fake-alpaca: setup
	@$(RUN) python -m tests.fake_alpaca --journal $(or $(JOURNAL),$${TMPDIR:-/tmp}/fake-alpaca.jsonl) $(OPTIONS)

bench: setup
	@$(RUN) python -m bench

fuzz: setup
	@PYTHONPATH=. $(RUN) python tests/statement_fuzz.py 50000

chaos: setup
	@$(RUN) python -m tests.chaos --days $(or $(DAYS),1000) --seed $(or $(SEED),1) --jobs 2 $(OPTIONS)

clean:
	rm -rf .venv .uv .pytest_cache .mypy_cache .ruff_cache dist
