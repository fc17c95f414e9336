# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
What scripts/benchmark.py can time, of whichever package it is given: none is imported here, and both sides of a
comparison run this very file.
"""

import contextlib
import importlib
import inspect
from collections.abc import Callable
from typing import Any

import torch


PAD, MASK = 0, 1
# Up to so many logits a trainer has all of them made.
FEW_LOGITS = 2**17


class Workloads:
    """
    What can be timed. Each case is a method that makes a function of no arguments; one call of this is one iteration,
    and gives the number of its units (steps, or forward passes) and a tensor that tells whether two sides compute the
    same.

    Args:
        package: The imported package.
        settings (`dict`): Shape, `batch_size`, `sequence_length`, `num_steps`, `dtype`, `device`.
    """

    CASES = ("forward", "train_step", "train_step_critic", "generate", "generate_critic")
    # What sampling costs beyond the passes it is made of: `floor` is as many bare passes.
    SAMPLING = ("floor", "critic_joint", "critic_independent")
    # What a step of training costs beyond that of a bare language model.
    TRAINING = ("training_floor", "training_lm", "training_critic", "training_critic_half", "training_critic_quarter")
    TRAINING += ("training_joint", "training_joint_quarter")
    # Whether the sequences that a case makes are judged.
    tells_tokens = False

    def __init__(self, package, settings: dict[str, Any]):
        self.package, self.settings = package, settings
        self.device = torch.device(settings["device"])

    def _model(self, critic: bool):
        shape = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
        torch.manual_seed(0)
        model = self.package.CriticGPTForMaskedLM(
            self.package.CriticGPTConfig(
                **{name: self.settings[name] for name in shape},
                max_position_embeddings=self.settings["sequence_length"],
                pad_token_id=PAD,
                mask_token_id=MASK,
                add_critic_head=critic,
            )
        )
        if critic:
            torch.nn.init.normal_(model.critic_head.weight, std=0.02)
            model.calibration = self.package.CriticCalibration([(i + 0.5) / 100 for i in range(100)])
        return model.to(self.device)

    def _batch(self) -> dict[str, torch.Tensor]:
        """Half of each row masked, as at diffusion time one half; every mask filled for the critic."""
        shape = (self.settings["batch_size"], self.settings["sequence_length"])
        generator = torch.Generator().manual_seed(1)
        clean = torch.randint(2, self.settings["vocab_size"], shape, generator=generator)
        masked = torch.rand(shape, generator=generator) < 0.5
        batch = {
            "input_ids": clean.masked_fill(masked, MASK),
            "attention_mask": torch.ones_like(clean),
            "labels": clean.masked_fill(~masked, -100),
            "loss_weights": 2.0 * masked,
            "fill_mask": masked,
            "fill_uniforms": torch.rand(shape, generator=generator),
        }
        return {name: value.to(self.device) for name, value in batch.items()}

    def _precision(self):
        if self.settings["dtype"] == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=getattr(torch, self.settings["dtype"]))

    def forward(self) -> Callable:
        """Logits of a batch, without gradients."""
        model, batch = self._model(critic=False).eval(), self._batch()

        @torch.no_grad()
        def once():
            with self._precision():
                logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
            return 1, logits

        return once

    def _train_step(self, critic: bool) -> Callable:
        model, batch = self._model(critic).train(), self._batch()
        if not critic:
            batch = {name: value for name, value in batch.items() if not name.startswith("fill")}
        return self._steps(model, lambda: model(**batch).loss)

    def train_step(self) -> Callable:
        """Forward, backward and AdamW of a model without a critic."""
        return self._train_step(critic=False)

    def train_step_critic(self) -> Callable:
        """The same with a critic: both passes."""
        return self._train_step(critic=True)

    def _generate(self, remasking: str) -> Callable:
        model = self._model(critic=True).eval()
        canvas = torch.full((self.settings["batch_size"], self.settings["sequence_length"]), MASK, device=self.device)
        arguments = {"num_steps": self.settings["num_steps"], "remasking": remasking, "seed": 0, "temperature": 1.0}

        def once():
            with self._precision():
                output = model.generate(canvas, return_error_probabilities=False, **arguments)
            return output.forward_passes, output.sequences

        return once

    def generate(self) -> Callable:
        """Sampling without re-masking, a forward pass each step."""
        return self._generate("none")

    def generate_critic(self) -> Callable:
        """Sampling guided by the critic, a forward pass each step."""
        return self._generate("critic")

    def _sampler(self):
        """A model whose heads count as trained, and whose critic doubts about a quarter of its tokens."""
        shape = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
        torch.manual_seed(0)
        model = self.package.CriticGPTForMaskedLM(
            self.package.CriticGPTConfig(
                **{name: self.settings[name] for name in shape},
                max_position_embeddings=self.settings["sequence_length"],
                position_embedding_type="absolute",
                pad_token_id=PAD,
                mask_token_id=MASK,
                add_critic_head=True,
                add_joint_head=True,
                joint_num_heads=self.settings.get("joint_num_heads", 4),
            )
        )
        torch.nn.init.normal_(model.critic_head.weight, std=0.02)
        torch.nn.init.normal_(model.joint_head.output.weight, std=0.02)
        model.calibration = self.package.CriticCalibration([0.05] * 55 + [0.5] * 45)
        return model.to(self.device).eval()

    def _sampling(self) -> tuple[Any, torch.Tensor]:
        shape = (self.settings["batch_size"], self.settings["sequence_length"])
        return self._sampler(), torch.full(shape, MASK, device=self.device)

    def floor(self) -> Callable:
        """As many passes of trunk and LM head as sampling takes, and nothing else."""
        model, canvas = self._sampling()
        steps = self.settings["num_steps"]

        @torch.no_grad()
        def once():
            with self._precision():
                logits = None
                for _ in range(steps):
                    del logits  # or the next ones would stand beside them
                    logits = model.lm_head(model.model(input_ids=canvas).last_hidden_state)
            return steps, logits

        return once

    def _critic(self, token_draws: str) -> Callable:
        model, canvas = self._sampling()
        arguments = {"num_steps": self.settings["num_steps"], "remasking": "critic", "seed": 0}

        def once():
            with self._precision():
                output = model.generate(canvas, token_draws=token_draws, return_error_probabilities=False, **arguments)
            return output.forward_passes, output.sequences

        return once

    def critic_joint(self) -> Callable:
        """Sampling as it is by default: guided by the critic, tokens of a pass drawn in the light of each other."""
        return self._critic("joint")

    def critic_independent(self) -> Callable:
        """The same with tokens drawn each by itself."""
        return self._critic("independent")

    # ---- training, against the bare language model ----

    def training_floor(self) -> Callable:
        """A step of trunk and LM head with torch's cross-entropy at every position, and nothing else."""
        model, batch = self._trained(critic=False, joint=False), self._batch()
        weights = batch["loss_weights"].flatten()

        def loss():
            logits = model.lm_head(model.model(input_ids=batch["input_ids"]).last_hidden_state)
            flat = logits.flatten(0, 1).float()
            losses = torch.nn.functional.cross_entropy(flat, batch["labels"].flatten(), reduction="none")
            return (losses * weights).sum() / weights.numel()

        return self._steps(model, loss)

    def _training(self, critic: bool, joint: bool = False, share: float = 1.0) -> Callable:
        model, batch = self._trained(critic, joint), self._batch()
        taken = inspect.signature(type(model).forward).parameters
        fields = {"critic_batch_share": share} if critic else {}
        if joint and "joint_batch_share" in taken:
            fields["joint_batch_share"] = share
        many = batch["input_ids"].numel() * self.settings["vocab_size"] > FEW_LOGITS
        if many and getattr(model, "losses_need_no_logits", False):  # as the trainer asks
            fields["return_logits"] = False
        if not critic:
            batch = {name: value for name, value in batch.items() if not name.startswith("fill")}
        if joint:
            batch["given_mask"] = torch.rand(batch["labels"].shape, device=self.device) < 0.3
        return self._steps(model, lambda: model(**batch, **fields).loss)

    def _trained(self, critic: bool, joint: bool):
        shape = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
        config = {name: self.settings[name] for name in shape} | {"position_embedding_type": "absolute"}
        config |= {"max_position_embeddings": self.settings["sequence_length"]}
        config |= {"pad_token_id": PAD, "mask_token_id": MASK, "add_critic_head": critic, "add_joint_head": joint}
        config |= {"joint_num_heads": self.settings["joint_num_heads"]} if joint else {}
        torch.manual_seed(0)
        return self.package.CriticGPTForMaskedLM(self.package.CriticGPTConfig(**config)).to(self.device).train()

    def _steps(self, model, loss: Callable) -> Callable:
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

        def once():
            with self._precision():
                found = loss()
            found.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            return 1, found

        return once

    def training_lm(self) -> Callable:
        """A step of the language model alone, with the loss of this package."""
        return self._training(critic=False)

    def training_critic(self) -> Callable:
        """The same with a critic, and a second pass of every row."""
        return self._training(critic=True)

    def training_critic_half(self) -> Callable:
        """A second pass of every other row."""
        return self._training(critic=True, share=0.5)

    def training_critic_quarter(self) -> Callable:
        """A second pass of every fourth row."""
        return self._training(critic=True, share=0.25)

    def training_joint(self) -> Callable:
        """A second pass of every row, and a joint head."""
        return self._training(critic=True, joint=True)

    def training_joint_quarter(self) -> Callable:
        """A second pass of every fourth row, in which the joint head is asked as well."""
        return self._training(critic=True, joint=True, share=0.25)

    def _in_blocks(self, remasking: str, cache: str | None) -> Callable:
        model, canvas = self._sampling()
        arguments = {name: self.settings[name] for name in ("num_steps", "block_length")}
        arguments |= {"remasking": remasking, "cache_implementation": cache, "token_draws": "independent", "seed": 0}

        def once():
            with self._precision():
                output = model.generate(canvas, **arguments, return_error_probabilities=False)
            return output.forward_passes, output.sequences

        return once

    def blocks_none(self) -> Callable:
        """Block by block, every pass over the whole text."""
        return self._in_blocks("none", None)

    def blocks_prefix(self) -> Callable:
        """The same with keys and values kept of what stands before the block."""
        return self._in_blocks("none", "prefix")

    def blocks_dual(self) -> Callable:
        """The same with keys and values kept of all but the block."""
        return self._in_blocks("none", "dual")

    def blocks_critic(self) -> Callable:
        """Guided by the critic, every pass over the whole text."""
        return self._in_blocks("critic", None)

    def blocks_critic_dual(self) -> Callable:
        """The same with keys and values kept of all but the block."""
        return self._in_blocks("critic", "dual")

    def _fast_dllm(self, cache: str | None) -> Callable:
        fast_dllm = importlib.import_module("critic_gpt.scripts.fast_dllm").fast_dllm
        model, canvas = self._sampling()
        length, passes = self.settings["block_length"], self.settings["num_steps"]
        per_pass = self.settings["sequence_length"] // passes

        def once():
            with self._precision():
                filled = fast_dllm(model, canvas, length, cache, threshold=None, per_pass=per_pass)
            return filled.passes, filled.tokens

        return once

    def fast_dllm(self) -> Callable:
        """Fast-dLLM's loop without a cache."""
        return self._fast_dllm(None)

    def fast_dllm_prefix(self) -> Callable:
        """With its prefix cache."""
        return self._fast_dllm("prefix")

    def fast_dllm_dual(self) -> Callable:
        """With its dual cache."""
        return self._fast_dllm("dual")

    def matmul(self) -> Callable:
        """A large product of matrices, by whose speed that of a model is judged; a unit is 10 ** 12 operations."""
        size = 1024 if self.device.type == "cpu" else 8192
        dtype = torch.float32 if self.settings["dtype"] == "float32" else getattr(torch, self.settings["dtype"])
        left, right = (torch.randn(size, size, device=self.device, dtype=dtype) for _ in range(2))
        return lambda: (2 * size**3 / 1e12, left @ right)
