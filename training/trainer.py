# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""A Trainer for masked diffusion with a critic, exact whatever the accumulation and the number of processes."""

import math
from typing import Any

import torch
from torch import nn

from critic_gpt.calibration.histogram import bucket_sums, figures_from_buckets
from critic_gpt.diffusion.candidate_losses import share_read
from critic_gpt.diffusion.drawable import adopt_tokenizer
from critic_gpt.diffusion.loss_terms import LOSS_TERMS, corrects, counted_positions, weighted_sum
from critic_gpt.diffusion.masks import draw_fill_mask, draw_given_mask
from critic_gpt.diffusion.second_pass import second_pass_rows
from critic_gpt.hub.vocabulary import other_tokens
from critic_gpt.training.arguments import CriticTrainingArguments, critic_alpha_at
from critic_gpt.training.base_trainer import ExactTrainer
from critic_gpt.training.callbacks import DropCalibrationCallback
from critic_gpt.training.collator import DataCollatorForMaskedDiffusion
from critic_gpt.training.counted_batches import is_stream
from critic_gpt.training.data import IdentifiedExamples
from critic_gpt.training.modifiers import TokenLossBatch


# Up to so many logits all of them are made: to look positions up would take longer.
FEW_LOGITS = 2**17


class CriticTrainer(ExactTrainer):
    """
    Trains a [`CriticGPTForMaskedLM`].

    Args:
        model ([`CriticGPTForMaskedLM`]): With or without a critic head.
        args ([`CriticTrainingArguments`]): Arguments.
        data_collator (*optional*): [`DataCollatorForMaskedDiffusion`] by default, made from `processing_class`.
        loss_modifiers ([`~training.modifiers.LossModifiers`], *optional*): Modify the language model's loss per token,
            in training alone; never the critic's, nor the second pass's LM term. `lm_loss` in the logs stays the
            unmodified one, `loss` is what is trained.
        kwargs: As for [`~transformers.Trainer`].
    """

    modified_task = "language_model"

    def __init__(self, model=None, args: CriticTrainingArguments | None = None, data_collator=None, **kwargs):
        super().__init__(model, args, data_collator, **kwargs)
        config = self._config
        if self.args.critic_batch_share < 1.0 and not config.add_critic_head:
            raise ValueError(
                f"`critic_batch_share` must be 1 for a model without a critic, got {self.args.critic_batch_share}: "
                "leave it out, or set `add_critic_head=True`."
            )
        if self.args.joint_batch_share < 1.0 and not config.add_joint_head:
            raise ValueError(
                f"`joint_batch_share` must be 1 for a model without a joint head, got {self.args.joint_batch_share}: "
                "leave it out, or set `add_joint_head=True`."
            )
        tokenizer = getattr(self.data_collator, "tokenizer", kwargs.get("processing_class"))
        mask_token_id = getattr(tokenizer, "mask_token_id", None)
        if None not in (mask_token_id, config.mask_token_id) and mask_token_id != config.mask_token_id:
            raise ValueError(
                f"`mask_token_id` of the model must be that of the tokenizer, {mask_token_id}, got "
                f"{config.mask_token_id}: train with the tokenizer the model was made for."
            )
        if tokenizer is not None:
            fault = other_tokens(self._unwrapped, tokenizer)
            if fault is not None:
                raise ValueError(
                    f"`processing_class` must be the tokenizer that the model was trained with, got {fault}: take the "
                    "one beside the model, or begin with a new model."
                )
            adopt_tokenizer(config, tokenizer)
        # The generation config names the same special tokens, or the parent would report them as new ones.
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            if getattr(self.model.generation_config, name) is None:
                setattr(self.model.generation_config, name, getattr(config, name))
        self.add_callback(DropCalibrationCallback())
        self._last_alpha = self.critic_alpha()

    def _check_own_arguments(self, args: CriticTrainingArguments, data_collator) -> None:
        for name, default in (("masking", None), ("stratified_times", True)):
            if getattr(args, name) != default and data_collator is not None:
                raise ValueError(
                    f"`{name}` must be left out beside `data_collator`, got {getattr(args, name)!r}: give it to the "
                    "collator."
                )

    # ---- data ----

    def _default_collator(self, tokenizer) -> DataCollatorForMaskedDiffusion:
        args, config = self.args, self._config
        regime = config.critic_regime if config.add_critic_head else None
        if regime is None and self.loss_modifiers is not None and self.loss_modifiers.fills_masks:
            regime = "full"  # for the draws alone
        return DataCollatorForMaskedDiffusion(
            tokenizer,
            critic_regime=regime,
            seed=args.sampling_seed,
            min_mask_rate=args.min_mask_rate,
            masking=args.masking,
            stratified_times=args.stratified_times,
            critic_fill_exponent=config.critic_fill_exponent,
            joint=config.add_joint_head,
            backbone=self._unwrapped.backbone,
        )

    def _get_dataloader(self, dataset, description, *args, is_training: bool = False, **kwargs):
        """
        As the parent's, with an id and the epoch in every example, and outside of training with the corruption of
        evaluation: the same at every call and on any number of processes.
        """
        if not is_stream(dataset) and not isinstance(dataset, IdentifiedExamples):
            dataset = IdentifiedExamples(dataset)
        training_collator = self.data_collator
        if not is_training and hasattr(training_collator, "for_evaluation"):
            self.data_collator = training_collator.for_evaluation()
        try:
            return super()._get_dataloader(dataset, description, *args, is_training=is_training, **kwargs)
        finally:
            self.data_collator = training_collator

    def _completed(self, batch: dict[str, Any]) -> dict[str, Any]:
        """
        A batch with all that decides over the second pass: the share of its rows that get one, and the positions that
        the critic will judge, where the collator knows no critic; and over what the joint head is told.
        """
        config = self._config
        if "labels" not in batch:
            return batch
        if config.add_critic_head:
            batch = {**batch, "critic_batch_share": self.args.critic_batch_share}
            if batch.get("fill_mask") is None:
                batch["fill_mask"] = draw_fill_mask(batch["input_ids"], batch["labels"], config)
        if config.add_joint_head:
            batch = {**batch, "joint_batch_share": self.args.joint_batch_share}
            if batch.get("given_mask") is None:
                batch["given_mask"] = draw_given_mask(batch["input_ids"], batch["labels"], config.mask_token_id)
        return batch

    # ---- loss ----

    def _count_terms(self, batch: dict[str, Any]) -> torch.Tensor:
        """What each row counts in each of `LOSS_TERMS` (B, terms), of the rows that have a part in it."""
        labels, positions = batch["labels"], counted_positions(batch, self._config)
        counts = torch.stack([positions[term.counts].sum(dim=-1) for term in LOSS_TERMS], dim=-1).float()
        counted = torch.ones_like(counts)
        shares = (
            ("critic_batch_share", [term.second_pass for term in LOSS_TERMS]),
            ("joint_batch_share", [term.head == "joint" for term in LOSS_TERMS]),
        )
        for name, columns in shares:
            share = batch.get(name, 1.0)
            if share != 1.0:
                left_out = torch.ones(len(labels), dtype=torch.bool)
                left_out[second_pass_rows(len(labels), share, name)] = False
                counted[torch.outer(left_out, torch.tensor(columns)).to(counts.device)] = 0.0
        return counts * counted

    def _count(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return self._count_terms(batch).sum(dim=0)

    def critic_alpha(self) -> float:
        """Present weight of the critic's loss."""
        start, end = self.args.critic_warmup_start, self.args.critic_warmup_end
        return critic_alpha_at(self.state.global_step, self._config.critic_alpha, start, end)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, torch.Tensor | Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ):
        """
        One micro-batch's part of the loss: the weighted sum of `LOSS_TERMS`, each a sum over tokens divided by its
        count over the accumulated batch of all processes (`num_items_in_batch`). Multiplied by the number of
        processes, which the averaging of gradients takes out again. Without the counts: the plain mean over this
        micro-batch.
        """
        config = self._config
        # A batch may hold nothing to judge.
        counts = (self._count(inputs) if num_items_in_batch is None else num_items_in_batch).clamp(min=1)
        alpha = self.critic_alpha() if model.training else config.critic_alpha
        critic_pass = self._critic_pass(alpha, model.training)
        if config.add_critic_head:
            inputs = {**inputs, "critic_pass": critic_pass}
        if not return_outputs and self._acting_modifiers(model) is None:
            inputs = self._without_logits(inputs)
        outputs = model(**inputs)
        token_losses = self._token_losses(outputs)
        token_losses["lm_loss"] = self._lm_token_loss(model, inputs, outputs)
        sums = {name: token_loss.sum() for name, token_loss in token_losses.items()}
        loss = weighted_sum(sums, config, counts, critic_alpha=alpha)
        if config.add_critic_head and not critic_pass:
            # The model's own loss holds 0 * head; nothing of it but that it keeps the head in the graph is wanted.
            loss = loss + 0.0 * outputs["loss"]
        if model.training:
            self._last_alpha = alpha
            rows = self._term_sums(inputs, outputs)
            self._add_to_logs({name: pairs.sum(dim=0) for name, pairs in rows.items()})
        loss = self._part_of_whole(loss, num_items_in_batch)
        return (loss, outputs) if return_outputs else loss

    def _critic_pass(self, alpha: float, training: bool) -> bool:
        """
        Whether there is a second pass. That depends on configuration, freezing and step only, so every process takes
        the same way.
        """
        config = self._config
        lm_terms = self._unwrapped.correction_trains if training else corrects(config)
        return config.add_critic_head and (alpha > 0 or lm_terms)

    def _without_logits(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """The same, asking for losses alone where logits of all tokens would be many."""
        if "labels" not in inputs or not getattr(self._unwrapped, "losses_need_no_logits", False):
            return inputs
        many = inputs["input_ids"].numel() * self._config.vocab_size > FEW_LOGITS
        return {**inputs, "return_logits": False} if many else inputs

    def _operations(self, inputs: dict[str, Any], tokens: torch.Tensor) -> torch.Tensor:
        operations = super()._operations(inputs, tokens)
        if "labels" not in inputs:
            return operations
        counts = dict(zip((term.name for term in LOSS_TERMS), self._count(inputs), strict=True))
        predicted = (inputs["labels"] != -100).sum() + counts["joint"] * share_read(self._config.vocab_size)
        if self._critic_pass(self.critic_alpha(), training=True):
            rows = len(inputs["labels"])
            operations = operations * (1 + len(second_pass_rows(rows, self.args.critic_batch_share)) / rows)
            predicted = predicted + counts["correction"]
        return operations + self._pass_operations.head(predicted)

    @staticmethod
    def _token_losses(outputs) -> dict[str, torch.Tensor]:
        """The loss per token (B, T) of every term that the model has computed, by its name in the logs."""
        fields = {term.mean_field: outputs.get(term.token_field) for term in LOSS_TERMS}
        return {name: token_loss for name, token_loss in fields.items() if token_loss is not None}

    def _lm_token_loss(self, model: nn.Module, inputs: dict[str, torch.Tensor], outputs) -> torch.Tensor:
        """The language model's loss per token (B, T), modified where there are modifiers and the model is trained."""
        token_loss = outputs["lm_token_loss"]
        modifiers = self._acting_modifiers(model)
        if modifiers is None:
            return token_loss
        own = {name: inputs.get(name) for name in ("attention_mask", "loss_weights", "fill_uniforms")}
        own |= {name: getattr(self._config, name) for name in ("mask_token_id", "pad_token_id")}
        batch = TokenLossBatch(token_loss, outputs["logits"], inputs["labels"], inputs["input_ids"], **own)
        token_loss, pairs = modifiers.modify_token_loss(batch, self.state.global_step)
        self._add_to_logs({name: torch.stack(pair) for name, pair in pairs.items()})
        return token_loss

    # ---- checkpoints ----

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        """As the parent's, with the calibration tables of a model that has some."""
        output_dir = output_dir if output_dir is not None else self.args.output_dir
        model = self._unwrapped
        with model.without_calibration():
            super()._save(output_dir, state_dict)
        # Not through the staging folder: tables are merged into a file that may hold others.
        if self.args.should_save:
            model.save_calibration(output_dir)

    # ---- logs ----

    def _term_sums(self, inputs: dict[str, torch.Tensor], outputs) -> dict[str, torch.Tensor]:
        """Numerator and denominator (B, 2) of every logged mean, row by row."""
        columns = zip(LOSS_TERMS, self._count_terms(inputs).unbind(dim=-1), strict=True)
        counts = {term.mean_field: count for term, count in columns}

        def pair(values: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
            return torch.stack([values.detach().float().sum(dim=-1), count], dim=-1)

        sums = {name: pair(token_loss, counts[name]) for name, token_loss in self._token_losses(outputs).items()}
        if "critic_loss" in sums:
            valid, target = outputs["critic_valid"], outputs["critic_target"]
            right = ((outputs["critic_input_logits"].detach() > 0) == (target > 0.5)) & valid
            sums["critic_accuracy"] = pair(right, counts["critic_loss"])
            sums["error_rate"] = pair(target * valid, counts["critic_loss"])
        return sums

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the loss's terms, critic_accuracy, error_rate and the last step's critic_alpha to training logs."""
        if "loss" in logs and self._sums and self._config.add_critic_head:
            logs["critic_alpha"] = self._last_alpha
        super().log(logs, start_time)

    # ---- evaluation ----

    def _evaluation_rows(self, model: nn.Module, batch: dict[str, torch.Tensor]):
        outputs = model(**self._without_logits(batch))
        rows = self._term_sums(batch, outputs)
        rows["supervised"] = (batch["labels"] != -100).sum(dim=-1, keepdim=True)
        if outputs.get("critic_token_loss") is not None:
            judged = (outputs[name] for name in ("critic_input_logits", "critic_target", "critic_valid"))
            rows["critic_buckets"] = bucket_sums(*judged)
        return rows, None

    def _evaluation_metrics(self, sums: dict[str, torch.Tensor], kept: torch.Tensor | None) -> dict[str, float]:
        """
        The terms; `lm_loss` is the diffusion bound in nats per token. AUROC, ECE and Brier score of the critic are of
        its uncalibrated scores in 100 buckets, which can be summed over batches and processes. There is no mean of
        nothing: a term without a token is left out, and without a supervised token so are loss and bound.
        """
        buckets, supervised = sums.pop("critic_buckets", None), float(sums.pop("supervised"))
        means = {name: float(pair[0] / pair[1]) for name, pair in sums.items() if pair[1] > 0 and supervised}
        if "lm_loss" not in means:
            return means
        loss = weighted_sum(means, self._config)
        # Of a critic that met right or wrong tokens alone there is no AUROC, and nothing is logged.
        figures = {} if buckets is None else figures_from_buckets(buckets)
        figures = {f"critic_{name}": value for name, value in figures.items() if value is not None}
        return {"loss": loss, **means, **figures, "bits_per_token": means["lm_loss"] / math.log(2)}
