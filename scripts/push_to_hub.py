# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
Pushes a model's folder to the Hugging Face Hub, complete: weights, configurations, tokenizer, calibration, code.

    python scripts/push_to_hub.py --model runs/model --repo_id me/sudoku
    python scripts/push_to_hub.py --model runs/model --repo_id me/sudoku --private --revision trial
    python scripts/push_to_hub.py --model runs/model --repo_id me/sudoku --tokenizer runs/data
    python scripts/push_to_hub.py --model runs/model --repo_id me/sudoku --report runs/report --license apache-2.0
    python scripts/push_to_hub.py --model runs/model --repo_id me/sudoku --data_dir runs/data --space me/show

What is missing in the folder is written there first: the code that the model needs where this package is not
installed, the classes and pipelines in config.json, and generation_config.json. Code of an earlier version that
nothing imports any more is removed. The model and its tokenizer have to load,
or nothing is pushed. Everything goes up in one commit, so that nobody ever downloads half of it; weights of an earlier
push that would be loaded in the place of these go away in the same commit. Training states (optimizer, checkpoints,
logs) and pickles are not pushed. The address is printed.

The card, README.md, is written anew from what was measured on these weights; --report adds the figures and pictures of
scripts/evaluate.py. What somebody wrote around our text stays.

--space makes a Space as well that shows the model in the explorer's page: app.py, requirements.txt, a Dockerfile, a
card, this package as it is here and, with --data_dir, the first samples of the data. Its address is printed, too.

The token is that of `hf auth login` or of the variable HF_TOKEN where --token does not give one.
"""

from critic_gpt.cli.command import answer_help


if __name__ == "__main__":
    answer_help("push")  # before anything is imported that takes long

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from safetensors import SafetensorError
from transformers import PreTrainedModel

import critic_gpt
from critic_gpt import CriticGPTConfig
from critic_gpt.cli.flags import push_parser
from critic_gpt.critic_model.padding import saved_with_stock_padding
from critic_gpt.explorer.space import write_space
from critic_gpt.hub.moving import CRITIC_CONFIG_NAME, CRITIC_HEAD_NAME
from critic_gpt.hub.vocabulary import read_tokenizer
from critic_gpt.scripts import check_fits, check_type, one_line, run_as_program
from critic_gpt.scripts.any_model import is_critic_folder, is_other_model, load_other_model
from critic_gpt.training.model_card import write_model_card


# Files of a training, and whatever would have to be unpickled.
KEPT_AT_HOME = ["_*", ".*", "checkpoint-*", "runs/*", "logs/*", "*.pt", "*.pth", "*.bin", "*.pkl", "*.ckpt"]
KEPT_AT_HOME += ["trainer_state.json", "all_results.json", "*_results.json", "training_weights.safetensors"]
# A single file is preferred at loading to shards, so one kind must not outlive the other.
SINGLE, INDEX, SHARDS = "model.safetensors", "model.safetensors.index.json", "model-?????-of-?????.safetensors"


def load_whole(folder: Path) -> PreTrainedModel:
    """The model of a folder, as the class that was saved; refuses one that would not load, or not whole."""
    if (folder / "adapter_config.json").exists() and not (folder / "config.json").exists():
        raise ValueError(
            f"`model` must be the folder of a whole model, got {str(folder)!r} with an adapter of one: merge it into "
            "the model first (`merge_and_unload`), or push the adapter by its own `push_to_hub`."
        )
    if not (folder / "config.json").exists():
        raise ValueError(
            f"`model` must be the folder of a model, got {str(folder)!r} without config.json: train one with "
            "scripts/train.py."
        )
    config = CriticGPTConfig.get_config_dict(folder)[0]
    if is_other_model(str(folder)):
        model = load_other_model("model", str(folder))
        model.check_whole("model", folder)
        return model
    check_type("model", str(folder), config)
    if not (folder / SINGLE).exists() and not (folder / INDEX).exists():
        raise ValueError(
            f"`model` must hold weights as safetensors, got {str(folder)!r} without {SINGLE}: save the model there "
            "with `save_pretrained`."
        )
    model_class = getattr(critic_gpt, (config.get("architectures") or ["CriticGPTForMaskedLM"])[0])
    try:
        model, info = model_class.from_pretrained(folder, output_loading_info=True)
    except (OSError, SafetensorError) as error:  # a missing shard, or a damaged file
        raise ValueError(
            f"`model` must be the folder of a model, got {str(folder)!r}, which did not load "
            f"({one_line(error).rstrip('.')}): save it again."
        ) from error
    if info["missing_keys"]:
        raise ValueError(
            f"`model` must hold all weights of a {model_class.__name__}, got {str(folder)!r} without "
            f"{', '.join(sorted(info['missing_keys']))}: save it again."
        )
    model.check_whole("model", folder)
    return model


def add_tokenizer(folder: Path, model: PreTrainedModel, source: str | None) -> None:
    """Makes sure that the model's tokenizer lies beside it."""
    if source is None and not (folder / "tokenizer_config.json").exists():
        raise ValueError(
            f"`model` must hold its tokenizer, got {str(folder)!r} without one: name it with --tokenizer (the folder "
            "of the data has it), or save it there with `tokenizer.save_pretrained`."
        )
    tokenizer = read_tokenizer(folder if source is None else source)
    if model.can_generate():
        check_fits("model", model, tokenizer, sequence_length=0)
    if source is not None:
        tokenizer.save_pretrained(folder)


def complete(folder: Path, model: PreTrainedModel) -> None:
    """Writes what a folder from an older version, or from elsewhere, lacks."""
    with saved_with_stock_padding(model.config):
        model.config.save_pretrained(folder)
    if model.can_generate() and not (folder / "generation_config.json").exists():
        model.generation_config.save_pretrained(folder)


def reached(action: Callable, *arguments, **keywords) -> Any:
    """Calls the hub. What its client raises is an `OSError` or `ValueError`; what the transport raises becomes one."""
    try:
        return action(*arguments, **keywords)
    except (OSError, ValueError):
        raise
    except Exception as error:  # the classes are those of the client's transport, which changes
        raise ConnectionError(
            f"`repo_id` must be reachable, got {type(error).__name__}: {one_line(error)}; nothing was changed by the "
            "request that failed, push again."
        ) from error


def _weights_gone(folder: Path) -> list[str]:
    """Weights of an earlier push that would be loaded in the place of these."""
    if is_critic_folder(folder):
        return [SINGLE, INDEX, SHARDS]
    alone = [CRITIC_CONFIG_NAME, CRITIC_HEAD_NAME]
    return [INDEX, SHARDS, *alone] if (folder / SINGLE).exists() else [SINGLE, SHARDS, *alone]


def push_space(api: HfApi, name: str, model: str, data_dir: str | None, private: bool | None) -> str:
    """Makes or renews the Space that shows a model; returns its address."""
    address = reached(api.create_repo, name, repo_type="space", space_sdk="docker", private=private, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        write_space(Path(folder), model, data_dir)
        reached(
            api.upload_folder,
            repo_id=address.repo_id,
            repo_type="space",
            folder_path=folder,
            commit_message=f"Show {model}",
            delete_patterns=["critic_gpt/*", "samples/*"],
        )
    return str(address)


def main(argv: list[str] | None = None) -> str:
    """Pushes; returns the address of the repository."""
    args = push_parser().parse_args(argv)
    folder = Path(args.model)
    model = load_whole(folder)
    name = model.name_or_path
    if is_critic_folder(folder) and os.path.isabs(name):
        print(
            f"The model under this critic is known by a folder of this machine, {name!r}, which others do not have: "
            "push that too and tell them to pass its name as `base_model=`.",
            file=sys.stderr,
        )
    add_tokenizer(folder, model, args.tokenizer)
    complete(folder, model)
    api = HfApi(token=args.token)
    if args.space is not None and (args.revision is not None or args.create_pr):
        raise ValueError(
            f"`space` must be for a model on the main branch, got {args.space!r} beside `revision` or `create_pr`: "
            "push the model first, then call again without them."
        )
    address = reached(api.create_repo, args.repo_id, private=args.private, exist_ok=True)
    if not is_critic_folder(folder):  # which has a card of its own kind
        write_model_card(
            folder, repo_id=address.repo_id, report_dir=args.report, data_dir=args.data_dir, license=args.license
        )
    if args.revision is not None and not args.create_pr:
        reached(api.create_branch, address.repo_id, branch=args.revision, exist_ok=True)
    commit = reached(
        api.upload_folder,
        repo_id=address.repo_id,
        folder_path=folder,
        commit_message=args.commit_message,
        commit_description=args.commit_description,
        revision=args.revision,
        create_pr=args.create_pr,
        ignore_patterns=KEPT_AT_HOME,
        delete_patterns=_weights_gone(folder),
    )
    print(commit.pr_url or (address if args.revision is None else f"{address}/tree/{args.revision}"))
    if args.space is not None:
        print(push_space(api, args.space, address.repo_id, args.data_dir, args.private))
    return str(address)


if __name__ == "__main__":
    run_as_program(main, "push_to_hub")
