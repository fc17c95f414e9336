# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Tiny models, rows and trainers of the language model with a critic, and what watches a training."""

import datasets
import torch
from transformers import TrainerCallback
from transformers.trainer_utils import set_seed

from critic_gpt import (
    CriticGPTConfig,
    CriticGPTForMaskedLM,
    CriticTrainer,
    CriticTrainingArguments,
    DataCollatorForMaskedDiffusion,
)
from critic_gpt.tasks import build_character_tokenizer


LETTERS = build_character_tokenizer("abcdefgh", model_max_length=16)


# Everything about the critic that is not as it comes.
RECIPE = {
    "critic_head_type": "mlp",
    "critic_detach": True,
    "critic_fill_exponent": 0.5,
    "remaining_alpha": 0.6,
    "leave_one_out_alpha": 0.4,
    "critic_regime": "partial",
}


JOINT = {"add_joint_head": True, "joint_alpha": 0.4, "add_critic_head": False}


TERMS = ("lm_loss", "critic_loss", "correction_loss", "critic_accuracy", "error_rate")


def make_model(seed=0, **fields):
    shape = {"vocab_size": 10, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    special = {"num_attention_heads": 2, "max_position_embeddings": 16, "mask_token_id": 1, "pad_token_id": 0}
    torch.manual_seed(seed)
    model = CriticGPTForMaskedLM(CriticGPTConfig(**{**shape, **special, "add_critic_head": True, **fields}))
    if model.critic_head is not None:  # a fresh head is zero, and would pass no gradient on
        for parameter in model.critic_head.parameters():
            torch.nn.init.normal_(parameter)
    if model.joint_head is not None:
        torch.nn.init.normal_(model.joint_head.output.weight)
    return model


def make_rows(num, seed=1, lengths=(8, 9)):
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(*lengths, (num,), generator=generator).tolist()
    return [{"input_ids": torch.randint(2, 10, (size,), generator=generator).tolist()} for size in sizes]


def make_trainer(folder, model, rows, eval_rows=None, evaluation=False, callbacks=None, trainer=None, **arguments):
    """A quiet trainer; `trainer` holds further arguments of its class, `arguments` those of its arguments."""
    quiet = {"use_cpu": True, "disable_tqdm": True, "save_strategy": "no", "logging_steps": 1, "max_steps": 1}
    plain = {"per_device_train_batch_size": 4, "lr_scheduler_type": "constant", "max_grad_norm": 0}
    args = CriticTrainingArguments(output_dir=str(folder), **{**quiet, **plain, **arguments})
    regime = model.config.critic_regime if model.config.add_critic_head else None
    return CriticTrainer(
        model,
        args,
        # Times drawn by row do not depend on the micro-batch.
        DataCollatorForMaskedDiffusion(LETTERS, regime, evaluation=True, joint=model.config.add_joint_head)
        if evaluation
        else None,
        processing_class=LETTERS,
        train_dataset=rows,
        eval_dataset=eval_rows,
        callbacks=callbacks,
        **(trainer or {}),
    )


SAVING = {"save_strategy": "steps", "save_steps": 1}
JUDGING = {"eval_strategy": "steps", "eval_steps": 1}


def assert_resumes(make, folder, *steps):
    """
    Runs that go on from the checkpoints of these steps end with the weights and logs of one that nobody interrupted.
    `make` builds a trainer for a folder and a seed of its weights. Returns that of the whole run.
    """
    whole = make(folder / "whole", 0)
    whole.train()
    for step in steps:
        set_seed(7)
        resumed = make(folder / f"from-{step}", 3)
        resumed.train(resume_from_checkpoint=str(folder / "whole" / f"checkpoint-{step}"))
        assert_equal_weights(weights(whole.model), weights(resumed.model))
        assert logs_of(whole)[step:] == logs_of(resumed)[step:]
    return whole


def make_stream(kind, rows):
    if kind == "torch":

        class Rows(torch.utils.data.IterableDataset):
            def __iter__(self):
                return iter(rows)

        return Rows()
    return datasets.Dataset.from_list(rows).to_iterable_dataset(num_shards=3)


def frozen_model(untie=True, **fields):
    model = make_model(**fields)
    model.freeze_trunk(untie=untie)
    return model


class Gradients(TrainerCallback):
    """Keeps a copy of the gradients of every optimizer step."""

    def __init__(self):
        self.steps = []

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.steps.append({name: parameter.grad.clone() for name, parameter in model.named_parameters()})


class Passes(TrainerCallback):
    """Counts the passes of the trunk in each optimizer step."""

    def __init__(self, model):
        self.count, self.steps = 0, []
        model.model.register_forward_hook(self.add)

    def add(self, *unused):
        self.count += 1

    def on_step_end(self, args, state, control, **kwargs):
        self.steps.append(self.count)
        self.count = 0


class Watch(TrainerCallback):
    """Keeps the weights and the learning rates of the trunk and of the heads after every step."""

    def __init__(self):
        self.weights, self.rates = [], []

    def on_step_end(self, args, state, control, model=None, optimizer=None, **kwargs):
        self.weights.append(weights(model))
        trunk = {id(parameter) for parameter in model.model.parameters()}
        groups = [(group["lr"], {id(p) in trunk for p in group["params"]}) for group in optimizer.param_groups]
        self.rates.append(tuple({lr for lr, kinds in groups if kinds == {kind}} for kind in (False, True)))


def without_speed(log):
    """A log without what the clock says, which no two runs have in common."""
    return {name: value for name, value in log.items() if name not in ("tokens_per_second", "mfu")}


def logs_of(trainer, key="loss"):
    return [without_speed(entry) for entry in trainer.state.log_history if key in entry]


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_equal_weights(one, other, tolerance=0.0):
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], rtol=0, atol=tolerance, msg=name)


def moved(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


def is_trunk(name):
    return name.startswith("model.")
