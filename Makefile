# Everything a fresh Debian or Ubuntu machine needs to build, test and try zkwire. `make` lists the targets.

PYTHON = python3#        the interpreter of .venv, as in: make test PYTHON=python3.12
ARGS =#                  more arguments for pytest or the benchmarks, as in: make test ARGS="-k watches -x"
WORKERS = 4#             test files at a time: most tests wait for servers; 0: in one process, for a debugger
MATRIX = 3.9.4#          the versions `make zookeeper-matrix` fetches; it also knows newest, 3.6.3 and 3.4.14

BIN = .venv/bin
# One stamp for each interpreter: another one makes the environment anew, a changed pyproject.toml only installs again.
STAMP = .venv/made-with-$(subst /,_,$(PYTHON))

.PHONY: help venv zookeeper zookeeper-matrix tools lint types coverage python-3.14 check test docs docs-test demo bench frames session clean
.NOTPARALLEL:

help: ## list the targets
	@sed -n 's/^\([a-z0-9.-]*\):.*## \(.*\)/  make \1	\2/p' Makefile | expand -t 26

venv: $(STAMP) ## .venv with zkwire and what its tests need

$(STAMP): pyproject.toml
	test -e $@ || .ci/make-venv $(PYTHON) .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[test]'
	touch $@

zookeeper: venv ## a real ZooKeeper server, and Curator: Debian's packages, where there are none yet
	.ci/install-zookeeper $(BIN)/python

zookeeper-matrix: venv ## other ZooKeeper versions, into ~/.cache/zkwire (455 MB to download)
	.ci/fetch-matrix $(BIN)/pip $(MATRIX)

tools: ## what some tests need besides: tshark, Chromium and ZooKeeper's C client
	.ci/install-tools tshark chromium
	.ci/install-c-client

lint: venv ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: venv ## mypy, strict
	$(BIN)/mypy

coverage: venv ## the tests of tests/bytes, and whether they take every branch of the sans-IO core
	$(BIN)/python .ci/core-coverage

python-3.14: venv ## the tests of the sans-IO core on CPython 3.14, which Pyodide carries, in Node.js
	.ci/python-3.14 $(BIN)/python

check: venv lint types ## lint, types, and the tests that need no server and no process: run it before each commit
	$(BIN)/python -m pytest -n auto --dist worksteal tests/shell tests/bytes $(ARGS)

test: venv zookeeper tools lint types coverage python-3.14 ## lint, types, coverage, then all other tests with every ZooKeeper found
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --ignore tests/bytes $(ARGS)

docs: venv ## the generated pages of docs/
	$(BIN)/python -m docs.generate

docs-test: venv zookeeper tools ## whether they are as they should be, in Chromium too
	$(BIN)/python -m pytest tests/house/test_docs_pages.py tests/live/test_docs_pages.py $(ARGS)

demo: venv zookeeper ## two candidates, three registered servers, a takeover, with the frames
	$(BIN)/python -m tests.support.real run -- $(BIN)/python -m election demo

bench: venv zookeeper ## zkwire against its peers, in one run
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[bench]'
	$(BIN)/python -m tests.support.real run --jvm=-XX:TieredStopAtLevel=4 -- $(BIN)/python -m benchmarks $(ARGS)

frames: venv zookeeper ## record tests/frames again, from real servers
	$(BIN)/python -m tests.support.record_frames
	$(BIN)/python -m tests.support.pick_examples

session: venv ## record docs/session.pcap again, from a real server of 3.9
	$(BIN)/python -m tests.support.record_session

clean: ## remove what the other targets made here
	rm -rf .venv build dist *.egg-info .coverage htmlcov .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
