# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
Trains a masked diffusion language model with a critic, or a classifier or scorer, on prepared data.

    python scripts/train.py --data_dir runs/data --output_dir runs/model --add_critic_head True --max_steps 700
    accelerate launch --num_cpu_threads_per_process 2 scripts/train.py --data_dir runs/data --output_dir runs/model \\
        --add_critic_head True --max_steps 700

Every field of `CriticGPTConfig` that shapes the model or its critic is a flag (`--rope_theta` for the base of rotary
positions), and so is every field of `CriticTrainingArguments`. `--resume_from_checkpoint auto` goes on from the last
whole checkpoint of this run in the output folder, if there is one; what has changed since is said, one line each. A
folder with a model or checkpoints is left alone without it, unless `--overwrite_output_dir True` is given.
`--model_name_or_path` begins with a trained model, which keeps its own settings where no flag says otherwise. A
trained model gets a critic, and stays as it is but for that, by

    python scripts/train.py --data_dir runs/data --output_dir runs/critic --model_name_or_path runs/lm \\
        --add_critic_head True --freeze_trunk True

Several GPUs, or several processes on CPUs: `accelerate launch --config_file scripts/configs/ddp.yaml`, or `fsdp2.yaml`
for models that one GPU does not hold; the heads of these files say how.

`--task token_classification` reads a class per token (the column `labels`), `--task sequence_scoring` a number in
[0, 1] or a class per sequence (`score` or `label`); `scripts/prepare_data.py --task fillings` makes such data.

Data of your own will do as well: a folder with what `DatasetDict.save_to_disk` writes (the split train, and validation
to be measured on) and what `tokenizer.save_pretrained` writes, with token ids in the column `input_ids`.
"""

from critic_gpt.cli.command import answer_help


if __name__ == "__main__":
    answer_help("train")  # before anything is imported that takes long

import sys
from pathlib import Path

import torch
from transformers import EarlyStoppingCallback, TrainerCallback, set_seed

from critic_gpt import CriticTrainer, CriticTrainingArguments
from critic_gpt.cli.acts import ACTS
from critic_gpt.cli.dataclass_parser import DataclassActParser
from critic_gpt.hub.files import write_json
from critic_gpt.scripts import run_as_program, say
from critic_gpt.scripts.training_flags import ModelArguments, RunArguments, check_flags
from critic_gpt.scripts.training_output import alone_in, check_output, checkpoint_to_resume, how_to_go_on
from critic_gpt.scripts.training_setup import (
    Labels,
    StopWhereDiverged,
    build_model,
    check_bound,
    check_weights,
    precision_flags,
    read_labels,
    warn_of_idle_cores,
    warn_of_padding,
)
from critic_gpt.tasks import generation_for, load_data, stream_prepared
from critic_gpt.training.base_trainer import ExactTrainer
from critic_gpt.training.callbacks import UnfreezeCallback
from critic_gpt.training.head_collator import DataCollatorForHeads
from critic_gpt.training.head_trainer import ClassificationTrainer, ScoringTrainer
from critic_gpt.training.modifiers import LossModifiers


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Runs one training; returns the metrics of the final evaluation."""
    argv = list(sys.argv[1:] if argv is None else argv)
    model_arguments, run, args = parse(argv)
    check_output(run, args)
    set_seed(args.seed)
    dataset, tokenizer, sequence_length = load_data(run.data_dir)
    labels = None
    if run.task != "language_model":
        labels = read_labels(dataset, run.task, model_arguments.num_labels, run.data_dir)
    model = build_model(model_arguments, run, tokenizer, sequence_length, labels)
    if model.dtype == torch.float16:
        model = model.float()  # what learns in float16 becomes NaN
    if labels is None:
        model.generation_config.update(**generation_for(run.data_dir, run.answers))
    trainer = build_trainer(model, run, args, dataset, tokenizer, labels)
    if trainer.is_world_process_zero():
        precision = "bf16" if args.bf16 else "fp16" if args.fp16 else "fp32"
        print(f"{model.num_parameters():,} parameters, {len(dataset['train']):,} training sequences, {precision}")
        warn_of_idle_cores(args)
        warn_of_padding(trainer.train_dataset, args)

    with alone_in(args.output_dir, trainer.is_world_process_zero()):
        checkpoint = checkpoint_to_resume(trainer, run)
        try:
            trainer.train(resume_from_checkpoint=checkpoint)
            check_weights(trainer)
            trainer.save_model()
            trainer.save_state()
        except KeyboardInterrupt:
            raise KeyboardInterrupt(how_to_go_on(trainer, argv)) from None
        metrics = trainer.evaluate() if trainer.eval_dataset is not None else {}
        check_bound(metrics, args.output_dir)
        if trainer.is_world_process_zero():
            metrics["num_parameters"] = model.num_parameters()
            write_json(Path(args.output_dir, "training_metrics.json"), metrics)
            trainer.create_model_card(data_dir=run.data_dir)
            say(f"Saved to {args.output_dir}{summary(metrics)}.")
    return metrics


def flag_parser() -> DataclassActParser:
    """All flags."""
    return DataclassActParser((ModelArguments, RunArguments, CriticTrainingArguments), act=ACTS["train"])


def parse(argv: list[str]) -> tuple[ModelArguments, RunArguments, CriticTrainingArguments]:
    """The flags as dataclasses, checked against each other."""
    parser = flag_parser()
    words = parser.words(argv)
    # Precision has to be known when the training arguments are made: they set accelerate up.
    known = parser.parse_known_args(words)[0]
    wanted = ModelArguments(known.model_name_or_path, hidden_size=known.hidden_size)
    precision = precision_flags(words, wanted, known.precision)
    argv += precision
    model_arguments, run, args = parser.parse_args_into_dataclasses(words + precision)
    check_flags(model_arguments, run, args)
    return model_arguments, run, args


def build_trainer(
    model, run: RunArguments, args: CriticTrainingArguments, dataset, tokenizer, labels: Labels | None
) -> ExactTrainer:
    """The trainer of the task."""
    stop = StopWhereDiverged()
    callbacks: list[TrainerCallback] = [stop]
    if run.unfreeze_step is not None:
        multiplier = 1.0 if run.unfreeze_lr_multiplier is None else run.unfreeze_lr_multiplier
        callbacks.append(UnfreezeCallback(run.unfreeze_step, multiplier))
    if run.early_stopping_patience is not None:
        callbacks.append(EarlyStoppingCallback(run.early_stopping_patience))
    train_dataset = dataset["train"]
    if run.streaming:
        train_dataset = stream_prepared(run.data_dir, "train", seed=args.sampling_seed)
    common = {
        "model": model,
        "args": args,
        "processing_class": tokenizer,
        "train_dataset": train_dataset,
        "eval_dataset": dataset["validation"] if len(dataset.get("validation", ())) else None,
        "callbacks": callbacks,
    }
    if run.loss_modifiers is not None:
        if labels is not None and labels.num_labels > 1:
            raise ValueError(
                f"`loss_modifiers` must be left out with classes, got {run.loss_modifiers!r}: they modify the losses "
                "of language_model and of scores."
            )
        if labels is None and run.unfreeze_step is None and not model.language_model_learns():
            raise ValueError(
                f"`loss_modifiers` must be left out where no weight learns from the language model's loss, got "
                f"{run.loss_modifiers!r} with a frozen trunk: leave them out, or give --untie True or --unfreeze_step."
            )
        common["loss_modifiers"] = LossModifiers.from_file(run.loss_modifiers, task=run.task)
    if labels is None:
        trainer = CriticTrainer(**common)
    else:
        kind = ScoringTrainer if labels.num_labels == 1 else ClassificationTrainer
        trainer = kind(data_collator=DataCollatorForHeads(tokenizer, labels.column), **common)
    stop.trainer = trainer
    return trainer


def summary(metrics: dict[str, float]) -> str:
    """The number that says most about the result, as the end of a sentence."""
    if "eval_lm_loss" in metrics:
        return f"; language model bound {metrics['eval_lm_loss']:.4f} nats per token on validation data"
    for name in ("balanced_accuracy", "mae"):
        if f"eval_{name}" in metrics:
            return f"; {name.replace('_', ' ')} {metrics[f'eval_{name}']:.4f} on validation data"
    measured = any(name.startswith("eval_") for name in metrics)
    return "; nothing in the validation data could be judged" if measured else ""


if __name__ == "__main__":
    run_as_program(main, "train")
