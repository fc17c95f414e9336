# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
Trains a masked diffusion language model with a critic on prepared data.

    python scripts/train.py --data_dir runs/data --output_dir runs/model --add_critic_head True --max_steps 700
    accelerate launch scripts/train.py --data_dir runs/data --output_dir runs/model --add_critic_head True

Every field of `CriticGPTConfig` that shapes the model or its critic and every field of `CriticTrainingArguments` is a
flag. `--resume_from_checkpoint auto` goes on from the last checkpoint in the output folder, if there is one.
"""

import json
import math
import os
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from transformers import HfArgumentParser, set_seed
from transformers.trainer_utils import get_last_checkpoint

from critic_gpt import CriticGPTConfig, CriticGPTForMaskedLM, CriticTrainer, CriticTrainingArguments
from critic_gpt.tasks import load_prepared


@dataclass
class ModelArguments:
    """Which model to begin with, or how to build a new one."""

    model_name_or_path: str | None = field(default=None, metadata={"help": "Begin with this model."})
    hidden_size: int = field(default=128, metadata={"help": "Width."})
    num_hidden_layers: int = field(default=4, metadata={"help": "Blocks."})
    num_attention_heads: int = field(default=4, metadata={"help": "Attention heads."})
    hidden_dropout: float = field(default=0.0, metadata={"help": "Dropout on embeddings and residual branches."})
    attention_dropout: float = field(default=0.0, metadata={"help": "Dropout on attention weights."})
    add_critic_head: bool = field(default=False, metadata={"help": "Add a critic head."})
    critic_alpha: float = field(default=0.5, metadata={"help": "Weight of the critic's loss."})
    critic_regime: str = field(default="mixed", metadata={"help": "full, partial or mixed."})
    critic_fill: str = field(default="multinomial", metadata={"help": "multinomial or argmax."})
    critic_target_scope: str = field(default="masked_only", metadata={"help": "Positions the critic is judged on."})
    correction_alpha: float = field(default=0.5, metadata={"help": "Weight of the second pass's LM term."})


@dataclass
class DataArguments:
    """Where the data lies, and how to compute."""

    data_dir: str = field(metadata={"help": "Folder written by scripts/prepare_data.py."})
    precision: str = field(
        default="auto", metadata={"help": "fp32, bf16, or auto: bf16 where the device computes it in hardware."}
    )


def bf16_is_fast() -> bool:
    """Whether this machine multiplies bfloat16 matrices in hardware (CUDA, or AMX tiles on the processor)."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu.get_capabilities().get("amx_bf16", False))


def build_model(arguments: ModelArguments, tokenizer, sequence_length: int) -> CriticGPTForMaskedLM:
    """A new model of the given shape, or a trained one with the critic's fields of this run."""
    fields = asdict(arguments)
    name = fields.pop("model_name_or_path")
    fields.update(mask_token_id=tokenizer.mask_token_id, pad_token_id=tokenizer.pad_token_id)
    if name is not None:
        for shape in ("hidden_size", "num_hidden_layers", "num_attention_heads"):
            fields.pop(shape)
        model = CriticGPTForMaskedLM.from_pretrained(name, **fields)
        if model.config.vocab_size < len(tokenizer):
            raise ValueError(
                f"`model_name_or_path` must know all {len(tokenizer)} tokens of the data, got a vocabulary of "
                f"{model.config.vocab_size}: prepare the data with the model's own tokenizer (--tokenizer {name})."
            )
        return model
    config = CriticGPTConfig(vocab_size=len(tokenizer), max_position_embeddings=sequence_length, **fields)
    return CriticGPTForMaskedLM(config)


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Runs one training; returns the metrics of the final evaluation."""
    parser = HfArgumentParser((ModelArguments, DataArguments, CriticTrainingArguments))
    argv = list(sys.argv[1:] if argv is None else argv)
    precision = parser.parse_known_args(argv)[0].precision
    if precision not in ("auto", "fp32", "bf16"):
        parser.error(f"`precision` must be auto, fp32 or bf16, got {precision!r}: choose one of these.")
    if precision == "bf16" or (precision == "auto" and bf16_is_fast()):
        # Has to be known when the arguments are made: they set accelerate up.
        argv += ["--bf16", "True"] + ([] if torch.cuda.is_available() else ["--use_cpu", "True"])
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
        print(f"{model.num_parameters():,} parameters, {len(dataset['train']):,} training sequences")

    checkpoint = args.resume_from_checkpoint
    if checkpoint == "auto":
        checkpoint = get_last_checkpoint(args.output_dir) if os.path.isdir(args.output_dir) else None
    trainer.train(resume_from_checkpoint=checkpoint)
    trainer.save_model()
    trainer.save_state()
    metrics = trainer.evaluate() if trainer.eval_dataset is not None else {}
    if trainer.is_world_process_zero():
        metrics["num_parameters"] = model.num_parameters()
        path = Path(args.output_dir, "training_metrics.json")
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(metrics, indent=2) + "\n")
        temporary.replace(path)
        bound = metrics.get("eval_lm_loss", math.nan)
        print(f"Saved to {args.output_dir}; language model bound {bound:.4f} nats a token on validation data.")
    return metrics


if __name__ == "__main__":
    main()
