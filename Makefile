# GNU make 3.81 and a POSIX sh are enough. `make help` lists what there is.
SHELL = /bin/sh
BIN = .venv/bin
JOBS = 2
ARGS =
PYTEST = CITYLOOP_TEST_STRICT=$(STRICT) $(BIN)/pytest $(ARGS)
STRICT = 0
SIDE_BY_SIDE = -n $(JOBS) --dist loadgroup
SIMULATION = beside
SIMULATE = nice -n 19 env $(PYTEST) $(SIDE_BY_SIDE) --junitxml=.run/junit/simulation.xml tests/simulation

.PHONY: help setup web run test simulation lint stack stack-down test-stack bench soak screenshots sbom image-root compose-env compose-up judge k8s-server-dry-run clean

help:
	@echo "make run         CityLoop in one process on 127.0.0.1:8080 (CITYLOOP_PORT); installs what is missing first"
	@echo "make test        every test that needs no server; ARGS='-k name' goes to pytest"
	@echo "make simulation  of these, the whole suite on virtual time (SIMULATION=apart leaves it out of make test)"
	@echo "make lint        ruff, mypy, import-linter, house rules, the page's types"
	@echo "make web         builds the pages (web/dist) and says what is wrong when it cannot; make run does it, too"
	@echo "make stack       real PostgreSQL, Redis and Kafka on this machine, without Docker"
	@echo "make test-stack  the tests on those servers, then the ones that break them"
	@echo "make stack-down  stops the servers, keeps their data in .run"
	@echo "make bench       measures beside baselines, writes docs/benchmarks.md (needs make stack)"
	@echo "make screenshots pictures of the page and maps of a planned day into docs/images (needs Chromium)"
	@echo "make soak        the stress suites in full size (needs make stack; an hour or more)"
	@echo "make compose-up  the distributed form with Docker Compose; writes .env with fresh secrets when there is none"
	@echo "make judge       what others wrote judges Dockerfile, Compose file, Kubernetes manifests, nginx, Prometheus"
	@echo "make k8s-server-dry-run  a real API server admits the manifests; builds it first, ten minutes or more"
	@echo "make image-root  lays what the image runs into a folder: DEST=/app"
	@echo "make sbom        what CityLoop is made of, as CycloneDX: dist/cityloop.cdx.json"
	@echo "make setup       only installs; PYTHON=/path/to/python3 chooses the interpreter"
	@echo "make clean       removes .venv and caches, never var (your data) or .run (the servers' data)"

setup:
	@scripts/setup dev

web:
	@scripts/setup run
	@$(BIN)/python -I -S scripts/web.py build

run:
	@scripts/setup run
	@exec $(BIN)/python -I scripts/foreground.py $(BIN)/cityloop dev

test:
	@scripts/setup dev
	$(BIN)/node --test 'web/tests/*.test.ts'
	@# The simulation only computes: beside the others, who mostly wait, it takes what they leave of the processors.
	@mkdir -p .run/junit; \
	if [ "$(SIMULATION)" = beside ]; then $(SIMULATE) >.run/junit/simulation.txt 2>&1 & simulation=$$!; trap 'kill $$simulation' INT TERM; fi; \
	$(PYTEST) $(SIDE_BY_SIDE) --junitxml=.run/junit/test.xml -m "not stack and not soak" tests/unit tests/contract tests/e2e; others=$$?; \
	if [ "$(SIMULATION)" != beside ]; then exit $$others; fi; \
	wait $$simulation; simulation=$$?; cat .run/junit/simulation.txt; \
	case "$$others $$simulation" in "0 0" | "0 5" | "5 0") ;; *) exit 1 ;; esac # 5: no test there has that name

simulation:
	@scripts/setup dev
	$(SIMULATE)

lint:
	@scripts/setup dev
	@failed=0; \
	for judge in "ruff check ." "ruff format --check ." mypy "lint-imports --no-cache --no-logo" "python scripts/house_rules.py" "python -m pip check" \
		"node web/node_modules/typescript/bin/tsc --noEmit --project web"; do \
		echo "--- $$judge"; $(BIN)/$$judge || failed=1; \
	done; exit $$failed

stack:
	deploy/native/stack up

stack-down:
	deploy/native/stack down

test-stack: STRICT = 1
test-stack:
	@scripts/setup dev
	$(PYTEST) $(SIDE_BY_SIDE) --junitxml=.run/junit/stack.xml -m "stack and not soak and not faults" tests/contract tests/integration tests/e2e
	$(PYTEST) --junitxml=.run/junit/faults.xml -m "faults and not soak" tests/contract tests/integration tests/e2e

bench:
	@scripts/setup dev
	$(BIN)/python -m benchmarks $(ARGS)

screenshots:
	@scripts/setup dev
	$(BIN)/python -m tests.e2e.web.screenshots
	$(BIN)/python -m benchmarks.plan_maps
	$(BIN)/python -m benchmarks.forecast_picture

soak: STRICT = 1
soak:
	@scripts/setup dev
	CITYLOOP_SCALE=full CITYLOOP_TEST_SEEDS=500 $(PYTEST) --timeout=7200 -m "soak or stress" tests

sbom:
	@scripts/setup dev
	@$(BIN)/python -m scripts.sbom dist/cityloop.cdx.json

image-root: web
	@$(BIN)/python -m scripts.image_root "$(DEST)"

compose-env:
	@python3 scripts/compose_env.py

compose-up: compose-env
	docker compose up --detach --build

judge:
	@scripts/setup dev
	@$(BIN)/python deploy/judges/judge.py $(ARGS)

k8s-server-dry-run:
	@scripts/setup dev
	@$(BIN)/python deploy/judges/server_dry_run.py

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .run/junit
