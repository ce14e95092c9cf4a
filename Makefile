# For people. `make` lists the targets; each is one script of scripts/, and its --help says more.
# ARGS are passed on: make test ARGS="tests/unit -x"

.PHONY: help setup quickstart test lint bench demo docs

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## make .venv with everything in requirements.lock
	bash scripts/setup.sh $(ARGS)

quickstart: ## the whole way on a small model: convert, compare, train, evaluate
	bash scripts/quickstart.sh $(ARGS)

test: ## all tests, or those of ARGS
	bash scripts/test.sh $(ARGS)

lint: ## style of the code
	bash scripts/lint.sh $(ARGS)

bench: ## measure inference beside transformers; tables and picture in benchmarks/results/
	bash scripts/benchmark.sh $(ARGS)

demo: ## a web page to ask the model, on this machine only
	bash scripts/demo.sh $(ARGS)

docs: ## pages about the Python interface, made from the docstrings
	bash scripts/docs.sh $(ARGS)
