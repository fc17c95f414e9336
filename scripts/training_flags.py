# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The flags of `scripts/train.py` beside those of `CriticTrainingArguments`, and which of them go together."""

from dataclasses import asdict, dataclass, field
from typing import ClassVar

from critic_gpt import CriticTrainingArguments
from critic_gpt.generation.declarations import ANSWERS


TASKS = ("language_model", "token_classification", "sequence_scoring")
# What a new model is made of where no flag says otherwise; all else comes from `CriticGPTConfig`.
NEW_MODEL = {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4}
# Fields that cannot change once there are weights.
SHAPE = (
    *(*NEW_MODEL, "intermediate_size", "hidden_act", "layer_norm_eps", "use_bias", "tie_word_embeddings"),
    *("max_position_embeddings", "position_embedding_type", "rope_theta"),
)


@dataclass
class ModelArguments:
    """Which model to begin with, or how to build a new one. What is left out: the model's own, or the default."""

    _argument_group_name: ClassVar[str] = "the model"

    model_name_or_path: str | None = field(default=None, metadata={"help": "Begin with this model."})
    hidden_size: int | None = field(default=None, metadata={"help": "Width; 128 in a new model."})
    num_hidden_layers: int | None = field(default=None, metadata={"help": "Blocks; 4 in a new model."})
    num_attention_heads: int | None = field(default=None, metadata={"help": "Attention heads; 4 in a new model."})
    intermediate_size: int | None = field(
        default=None, metadata={"help": "Width of the MLP; default 4 times hidden_size."}
    )
    hidden_act: str | None = field(default=None, metadata={"help": "Activation of the MLP; default gelu."})
    layer_norm_eps: float | None = field(default=None, metadata={"help": "Epsilon of the LayerNorms; default 1e-5."})
    use_bias: bool | None = field(default=None, metadata={"help": "Biases in linear layers; default False."})
    tie_word_embeddings: bool | None = field(
        default=None, metadata={"help": "The LM head is the token embedding; default True."}
    )
    is_causal: bool | None = field(default=None, metadata={"help": "Hide later positions; default False."})
    max_position_embeddings: int | None = field(
        default=None, metadata={"help": "Longest sequence of a new model; default: that of the data."}
    )
    position_embedding_type: str | None = field(
        default=None, metadata={"help": "rotary (default), absolute (learnt) or both."}
    )
    rope_theta: float | None = field(default=None, metadata={"help": "Base of rotary positions; default 10000."})
    initializer_range: float | None = field(default=None, metadata={"help": "Spread of new weights; default 0.02."})
    hidden_dropout: float | None = field(default=None, metadata={"help": "Dropout outside of attention; default 0."})
    attention_dropout: float | None = field(default=None, metadata={"help": "Dropout on attention; default 0."})
    add_critic_head: bool | None = field(default=None, metadata={"help": "Add a critic head; default False."})
    critic_alpha: float | None = field(default=None, metadata={"help": "Weight of the critic's loss; default 0.5."})
    critic_regime: str | None = field(default=None, metadata={"help": "full, partial, mixed (default) or sparse."})
    critic_fill: str | None = field(default=None, metadata={"help": "multinomial (default) or argmax."})
    critic_target_scope: str | None = field(default=None, metadata={"help": "Positions the critic is judged on."})
    critic_fill_exponent: float | None = field(
        default=None, metadata={"help": "Exponent of the share of masks that is filled; default 1, few masks above."}
    )
    critic_head_type: str | None = field(default=None, metadata={"help": "linear (default), mlp or odds."})
    critic_detach: bool | None = field(
        default=None, metadata={"help": "The critic's loss trains its head alone; default False."}
    )
    correction_alpha: float | None = field(
        default=None, metadata={"help": "Weight of the second pass's LM term; default 0.1."}
    )
    remaining_alpha: float | None = field(
        default=None, metadata={"help": "Weight of the second pass's LM term at the masks left; default 0."}
    )
    leave_one_out_alpha: float | None = field(
        default=None, metadata={"help": "Weight of the LM's divergence between seeing a token and not; default 0."}
    )
    add_joint_head: bool | None = field(
        default=None, metadata={"help": "Add a joint head, by which tokens of one pass agree; default False."}
    )
    joint_num_heads: int | None = field(default=None, metadata={"help": "Heads of it; default 4."})
    joint_head_dim: int | None = field(default=None, metadata={"help": "Width of each; default 16."})
    joint_alpha: float | None = field(default=None, metadata={"help": "Weight of the joint head's loss; default 0.1."})
    num_labels: int | None = field(default=None, metadata={"help": "Classes of a classifier; default: the data's."})
    balanced_class_weights: bool | None = field(
        default=None, metadata={"help": "Token classes weigh alike, however frequent; default False."}
    )


# Fields of the above that belong to some tasks only.
FIELDS_OF = {
    "add_critic_head": ("language_model",),
    "critic_alpha": ("language_model",),
    "critic_regime": ("language_model",),
    "critic_fill": ("language_model",),
    "critic_target_scope": ("language_model",),
    "critic_fill_exponent": ("language_model",),
    "critic_head_type": ("language_model",),
    "critic_detach": ("language_model",),
    "correction_alpha": ("language_model",),
    "remaining_alpha": ("language_model",),
    "leave_one_out_alpha": ("language_model",),
    "add_joint_head": ("language_model",),
    "joint_num_heads": ("language_model",),
    "joint_head_dim": ("language_model",),
    "joint_alpha": ("language_model",),
    "num_labels": ("token_classification", "sequence_scoring"),
    "balanced_class_weights": ("token_classification",),
}


# Fields of the above that mean something to a head alone, by the field that adds it.
FIELDS_OF_HEAD = {
    "add_critic_head": [name for name in FIELDS_OF if name.startswith(("critic_", "correction_", "remaining_"))],
    "add_joint_head": [name for name in FIELDS_OF if name.startswith("joint_")],
}


@dataclass
class RunArguments:
    """What to train on what, which part of the model, and how to compute."""

    _argument_group_name: ClassVar[str] = "the run"

    data_dir: str = field(metadata={"help": "Folder of prepared data, or of a DatasetDict and its tokenizer."})
    task: str = field(
        default="language_model", metadata={"help": "language_model, token_classification or sequence_scoring."}
    )
    streaming: bool = field(default=False, metadata={"help": "Read the training data as a stream; needs --max_steps."})
    loss_modifiers: str | None = field(default=None, metadata={"help": "YAML or JSON file of loss modifiers."})
    freeze_trunk: bool = field(default=False, metadata={"help": "Train the heads alone; a tied LM head is trunk."})
    untie: bool = field(default=False, metadata={"help": "With --freeze_trunk: train a copy of the tied LM head."})
    unfreeze_step: int | None = field(
        default=None, metadata={"help": "With --freeze_trunk: train the trunk too after this many steps."}
    )
    unfreeze_lr_multiplier: float | None = field(
        default=None, metadata={"help": "With --unfreeze_step: factor on the trunk's learning rate; default 1."}
    )
    early_stopping_patience: int | None = field(
        default=None, metadata={"help": "Stop after this many evaluations that are no better than the best."}
    )
    overwrite_output_dir: bool = field(
        default=False, metadata={"help": "Begin anew where a model or checkpoints lie; the checkpoints are removed."}
    )
    answers: str | None = field(
        default=None,
        metadata={
            "help": "one or many: how many answers are right, which chooses the defaults of generation; as the task "
            "says, many for data of your own."
        },
    )
    precision: str = field(default="auto", metadata={"help": "fp32, bf16, or auto: bf16 where it is faster."})


def check_flags(model_arguments: ModelArguments, run: RunArguments, args: CriticTrainingArguments) -> None:
    """Refuses flags that do not go together."""
    if run.task not in TASKS:
        raise ValueError(f"`task` must be one of {', '.join(TASKS)}, got {run.task!r}: choose one of these.")
    if run.answers is not None and (run.answers not in ANSWERS or run.task != "language_model"):
        raise ValueError(
            f"`answers` must be {' or '.join(ANSWERS)}, for a language model, got {run.answers!r} with the task "
            f"{run.task}: choose one of the two, or leave it out."
        )
    given = {name: value for name, value in asdict(model_arguments).items() if value is not None}
    for name, tasks in FIELDS_OF.items():
        if name in given and run.task not in tasks:
            raise ValueError(
                f"`{name}` must be left out with the task {run.task}, got {given[name]!r}: it belongs to "
                f"{' and '.join(tasks)}."
            )
    for name in SHAPE:
        if name in given and "model_name_or_path" in given:
            raise ValueError(
                f"`{name}` must be left out beside `model_name_or_path`, got {given[name]!r}: a trained model keeps "
                "its shape."
            )
    needs = {"untie": "freeze_trunk", "unfreeze_step": "freeze_trunk", "unfreeze_lr_multiplier": "unfreeze_step"}
    for name, other in needs.items():
        here, there = (value is not None and value is not False for value in (getattr(run, name), getattr(run, other)))
        if here and not there:
            raise ValueError(f"`{name}` must come with `{other}`, got it alone: give both, or leave it out.")
    if run.untie and run.task != "language_model":
        raise ValueError(f"`untie` must be left out with the task {run.task}, got True: there is no LM head to untie.")
    if run.loss_modifiers is not None and run.task == "token_classification":
        raise ValueError(
            f"`loss_modifiers` must be left out with the task {run.task}, got {run.loss_modifiers!r}: they modify the "
            "losses of language_model and sequence_scoring."
        )
    if "rope_theta" in given and model_arguments.position_embedding_type == "absolute":
        raise ValueError(
            f"`rope_theta` must be left out beside absolute positions, got {given['rope_theta']}: give "
            "--position_embedding_type rotary or both, or leave it out."
        )
    _check_early_stopping(run.early_stopping_patience, args)
    if run.streaming and args.max_steps <= 0:
        raise ValueError(
            f"`max_steps` must be above 0 with `streaming`, got {args.max_steps}: the length of a stream is unknown, "
            "so say how many steps to train."
        )


def _check_early_stopping(patience: int | None, args: CriticTrainingArguments) -> None:
    if patience is None:
        return
    if patience < 1:
        raise ValueError(f"`early_stopping_patience` must be at least 1, got {patience}: leave it out to train on.")
    if not args.load_best_model_at_end:
        raise ValueError(
            f"`early_stopping_patience` must stand beside `load_best_model_at_end`, got {patience}: give "
            "--load_best_model_at_end True --eval_strategy steps --eval_steps N --save_steps N."
        )
