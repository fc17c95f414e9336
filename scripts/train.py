# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
Trains a masked diffusion language model with a critic on prepared data.

    python scripts/train.py --data_dir runs/data --output_dir runs/model --add_critic_head True --max_steps 700
    accelerate launch --num_cpu_threads_per_process 2 scripts/train.py --data_dir runs/data --output_dir runs/model \\
        --add_critic_head True --max_steps 700

Every field of `CriticGPTConfig` that shapes the model or its critic and every field of `CriticTrainingArguments` is a
flag. `--resume_from_checkpoint auto` goes on from the last checkpoint in the output folder, if there is one.
`--model_name_or_path` begins with a trained model, which keeps its own settings where no flag says otherwise.
"""

import os
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from transformers import HfArgumentParser, set_seed

from critic_gpt import CriticGPTConfig, CriticGPTForMaskedLM, CriticTrainer, CriticTrainingArguments
from critic_gpt.scripts import check_fits, run_as_program, write_json
from critic_gpt.tasks import load_prepared
from critic_gpt.training.checkpoints import last_complete_checkpoint


# What a new model is made of where no flag says otherwise; all else comes from `CriticGPTConfig`.
NEW_MODEL = {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4}
# Fields that cannot change once there are weights.
SHAPE = (*NEW_MODEL, "position_embedding_type")
# Width of a model from which bf16 autocast pays on processors with AMX tiles. Time of a whole training step in fp32
# over that in bf16, taken in turns, 4 blocks, 32 x 128 tokens, torch 2.13, one thread, 2026-11-22, best of each
# (median of pairs): width 128: 0.97 (1.04), 256: 1.80 (1.96), 384: 2.06 (2.14), 512: 2.75 (2.96); on two threads at
# width 128: 0.86 (0.88). At 128 x 36 tokens, width 128: 0.68.
BF16_CPU_WIDTH = 256


@dataclass
class ModelArguments:
    """Which model to begin with, or how to build a new one. What is left out: the model's own, or the default."""

    model_name_or_path: str | None = field(default=None, metadata={"help": "Begin with this model."})
    hidden_size: int | None = field(default=None, metadata={"help": "Width; 128 in a new model."})
    num_hidden_layers: int | None = field(default=None, metadata={"help": "Blocks; 4 in a new model."})
    num_attention_heads: int | None = field(default=None, metadata={"help": "Attention heads; 4 in a new model."})
    position_embedding_type: str | None = field(default=None, metadata={"help": "rotary (default) or absolute."})
    initializer_range: float | None = field(default=None, metadata={"help": "Spread of new weights; default 0.02."})
    hidden_dropout: float | None = field(default=None, metadata={"help": "Dropout outside of attention; default 0."})
    attention_dropout: float | None = field(default=None, metadata={"help": "Dropout on attention; default 0."})
    add_critic_head: bool | None = field(default=None, metadata={"help": "Add a critic head; default False."})
    critic_alpha: float | None = field(default=None, metadata={"help": "Weight of the critic's loss; default 0.5."})
    critic_regime: str | None = field(default=None, metadata={"help": "full, partial or mixed (default)."})
    critic_fill: str | None = field(default=None, metadata={"help": "multinomial (default) or argmax."})
    critic_target_scope: str | None = field(default=None, metadata={"help": "Positions the critic is judged on."})
    correction_alpha: float | None = field(
        default=None, metadata={"help": "Weight of the second pass's LM term; default 1.0."}
    )


@dataclass
class DataArguments:
    """Where the data lies, and how to compute."""

    data_dir: str = field(metadata={"help": "Folder written by scripts/prepare_data.py."})
    precision: str = field(default="auto", metadata={"help": "fp32, bf16, or auto: bf16 where it is faster."})


def bf16_is_fast(hidden_size: int) -> bool:
    """Whether bfloat16 makes training a model of this width faster here."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu.get_capabilities().get("amx_bf16", False)) and hidden_size >= BF16_CPU_WIDTH


def precision_flags(argv: list[str], model_arguments: ModelArguments, precision: str) -> list[str]:
    """The flags of `CriticTrainingArguments` that bring a precision about."""
    if precision not in ("auto", "fp32", "bf16"):
        raise ValueError(f"`precision` must be auto, fp32 or bf16, got {precision!r}: choose one of these.")
    own = [word for word in argv if word.split("=")[0] in ("--bf16", "--fp16", "--no_bf16")]
    if own:
        if precision != "auto":
            raise ValueError(f"`precision` must be auto beside {own[0]}, got {precision!r}: give one of the two.")
        return []
    if precision == "auto":
        path, width = model_arguments.model_name_or_path, model_arguments.hidden_size or NEW_MODEL["hidden_size"]
        if path is not None:
            width = CriticGPTConfig.from_pretrained(path).hidden_size
        precision = "bf16" if bf16_is_fast(width) else "fp32"
    if precision == "fp32":
        return []
    return ["--bf16", "True"] + ([] if torch.cuda.is_available() else ["--use_cpu", "True"])


def warn_of_idle_cores(args: CriticTrainingArguments) -> None:
    """On a CPU `accelerate launch` gives each process one thread unless told otherwise: half the speed, or worse."""
    threads, cores = torch.get_num_threads() * args.world_size, os.cpu_count() or 1
    if args.device.type == "cpu" and os.environ.get("OMP_NUM_THREADS") == "1" and threads < cores:
        print(
            f"Training on {threads} of {cores} CPU cores: give accelerate launch "
            f"--num_cpu_threads_per_process {cores // args.world_size} to use all."
        )


def build_model(arguments: ModelArguments, tokenizer, sequence_length: int) -> CriticGPTForMaskedLM:
    """A new model of the given shape, or a trained one with what the flags of this run change about it."""
    fields = {name: value for name, value in asdict(arguments).items() if value is not None}
    name = fields.pop("model_name_or_path", None)
    special = {f"{kind}_token_id": getattr(tokenizer, f"{kind}_token_id") for kind in ("mask", "pad", "bos", "eos")}
    if name is None:
        fields = {**NEW_MODEL, **special, **fields}
        config = CriticGPTConfig(vocab_size=len(tokenizer), max_position_embeddings=sequence_length, **fields)
        return CriticGPTForMaskedLM(config)
    for shape in SHAPE:
        if shape in fields:
            raise ValueError(
                f"`{shape}` must be left out beside `model_name_or_path`, got {fields[shape]!r}: a trained "
                "model keeps its shape."
            )
    model = CriticGPTForMaskedLM.from_pretrained(name, **fields)
    check_fits("model_name_or_path", model, tokenizer, sequence_length)
    return model


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Runs one training; returns the metrics of the final evaluation."""
    parser = HfArgumentParser(
        (ModelArguments, DataArguments, CriticTrainingArguments), description=__doc__.split("\n")[1]
    )
    argv = list(sys.argv[1:] if argv is None else argv)
    # Precision has to be known when the training arguments are made: they set accelerate up.
    known = parser.parse_known_args(argv)[0]
    wanted = ModelArguments(known.model_name_or_path, hidden_size=known.hidden_size)
    argv += precision_flags(argv, wanted, known.precision)
    model_arguments, data_arguments, args = parser.parse_args_into_dataclasses(argv)
    set_seed(args.seed)
    dataset, tokenizer, task = load_prepared(data_arguments.data_dir)
    model = build_model(model_arguments, tokenizer, task.sequence_length)
    trainer = CriticTrainer(
        model=model,
        args=args,
        processing_class=tokenizer,
        train_dataset=dataset["train"],
        eval_dataset=dataset["validation"] if len(dataset["validation"]) else None,
    )
    if trainer.is_world_process_zero():
        precision = "bf16" if args.bf16 else "fp16" if args.fp16 else "fp32"
        print(f"{model.num_parameters():,} parameters, {len(dataset['train']):,} training sequences, {precision}")
        warn_of_idle_cores(args)

    checkpoint = args.resume_from_checkpoint
    if checkpoint == "auto":
        checkpoint = last_complete_checkpoint(args.output_dir)
    elif checkpoint is not None and not os.path.isdir(checkpoint):
        raise ValueError(
            f"`resume_from_checkpoint` must be auto or the folder of a checkpoint, got {checkpoint!r}: look for "
            f"checkpoint-* in {args.output_dir}."
        )
    trainer.train(resume_from_checkpoint=checkpoint)
    trainer.save_model()
    trainer.save_state()
    metrics = trainer.evaluate() if trainer.eval_dataset is not None else {}
    if trainer.is_world_process_zero():
        metrics["num_parameters"] = model.num_parameters()
        write_json(Path(args.output_dir, "training_metrics.json"), metrics)
        bound = ""
        if "eval_lm_loss" in metrics:
            bound = f"; language model bound {metrics['eval_lm_loss']:.4f} nats a token on validation data"
        print(f"Saved to {args.output_dir}{bound}.")
    return metrics


if __name__ == "__main__":
    run_as_program(main, "train")
