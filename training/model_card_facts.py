# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What a model's card says, out of the files in the model's folder: sections for people, results for the hub."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult
from transformers import AutoConfig, PreTrainedConfig

from critic_gpt.backbones.description import Backbone
from critic_gpt.calibration.fingerprint import stored_fingerprints
from critic_gpt.calibration.model import CALIBRATION_SOURCES, table_key
from critic_gpt.calibration.table import CriticCalibration
from critic_gpt.configuration_critic_gpt import CriticGPTConfig
from critic_gpt.diffusion.loss_terms import LOSS_TERMS
from critic_gpt.hub.moving import CRITIC_CONFIG_NAME
from critic_gpt.training.measurements import ANIMATIONS, FIGURES, REPORT, read_json, read_measurements


DIFFUSION = "CriticGPTForMaskedLM"
CALL = 'print(run("some text"))'
GENERATE = """result = run(None, seed=0)
print(result["generated_text"])
print(result["error_probabilities"], result["expected_errors"])"""
# For each class: its task on the hub, and the pipeline and the call that the card shows.
USES = {
    DIFFUSION: ("fill-mask", "critic-diffusion", GENERATE),
    "CriticGPTForTokenClassification": ("token-classification", "token-classification", CALL),
    "CriticGPTForSequenceClassification": ("text-classification", "text-classification", CALL),
    "CriticGPTModel": ("feature-extraction", "feature-extraction", CALL),
}
# Figures of samples that count them and say nothing of their quality.
COUNTS = ("num_samples", "duplicates")


def _config_of(place: str | Path) -> PreTrainedConfig:
    """The configuration of our own model, or of somebody else's."""
    kind = CriticGPTConfig.get_config_dict(place)[0].get("model_type", CriticGPTConfig.model_type)
    return (CriticGPTConfig if kind == CriticGPTConfig.model_type else AutoConfig).from_pretrained(place)


class CardFacts:
    """
    Reads what is known about the model in a folder.

    Args:
        folder (`Path`): Of a saved model or an adapter.

    Raises:
        `ValueError`: No model there, or a file that does not read.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.adapter = read_json(folder / "adapter_config.json")
        place: str | Path = folder
        if not (folder / "config.json").is_file():
            place = self.adapter.get("base_model_name_or_path") or ""
        try:
            self.config = _config_of(place)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"`folder` must hold a saved model, got {str(folder)!r}, whose configuration did not load: save the "
                "model there first."
            ) from error
        self.of_others = self.config.model_type != CriticGPTConfig.model_type
        self.kind = DIFFUSION if self.of_others else (self.config.architectures or [DIFFUSION])[0]
        self.hub_task, self.pipeline, self.call = USES[self.kind]
        measured = read_measurements(folder)
        self.data, self.training = measured.get("data", {}), measured.get("training", {})
        self.evaluation = measured.get("evaluation", {})
        self.has_critic = self.kind == DIFFUSION and self.config.add_critic_head
        self.tables = dict(self._tables()) if self.has_critic else {}

    def _tables(self):
        """By source the tables of the critic that fit the weights, or the adapter's."""
        own = None if self.adapter else stored_fingerprints(self.folder)
        elsewhere = (self.folder / CRITIC_CONFIG_NAME).is_file()  # its weights, which loading checks
        for source in CALIBRATION_SOURCES:
            table = CriticCalibration.load(self.folder, table_key(None, source, adapter=bool(self.adapter)))
            if table is not None and (elsewhere or table.fits(own)):
                yield source, table

    # ---- words ----

    @property
    def summary(self) -> str:
        """What the model is, in two sentences."""
        if self.kind != DIFFUSION:
            return (
                f"A `{self.kind}`: a bidirectional GPT with a head for the task {self.hub_task} on it. It belongs to "
                "a family of masked diffusion language models with a critic."
            )
        trunk = f"a {self.config.model_type} model" if self.of_others else "a bidirectional GPT"
        model = (
            f"A masked diffusion language model: {trunk} that begins with a sequence of [MASK] and fills "
            "it in a few passes, many tokens at a time."
        )
        if not self.has_critic:
            return f"{model} It has no critic, so it says nothing about which of its tokens may be wrong."
        kind = "a calibrated probability" if self.tables else "a score, not calibrated yet,"
        return (
            f"{model} Its critic head gives {kind} that a token is wrong, for every token it writes, and sends those "
            "that probably are wrong back to be written anew."
        )

    @property
    def data_name(self) -> str | None:
        """The data that the model was trained on, as far as they have a name."""
        return self.data.get("source") or self.data.get("task")

    def model_rows(self) -> list[tuple[str, Any]]:
        """Name and value of what the model is made of."""
        config = self.config
        count = self.training.get("num_parameters") or self.evaluation.get("settings", {}).get("num_parameters")
        rows: list[tuple[str, Any]] = [("parameters", None if count is None else f"{count:,}")]
        text = config.get_text_config()
        names = ("num_hidden_layers", "num_attention_heads", "hidden_size")
        shape = [getattr(text, name, None) for name in names]
        rows += [("layers, heads, width", None if None in shape else ", ".join(map(str, shape)))]
        rows += [("vocabulary", Backbone.of(config).vocab_size), ("longest sequence", self._longest())]
        rows += [("positions", getattr(config, "position_embedding_type", None))]
        if self.adapter:
            rows.append(("adapter", f"{self.adapter.get('peft_type')}, rank {self.adapter.get('r')}"))
        if self.has_critic:
            rows.append(("critic head", config.critic_head_type))
            rows.append(("critic trained on", f"{config.critic_regime} fillings"))
        if self.kind == DIFFUSION and config.add_joint_head:
            rows.append(("joint head", f"{config.joint_num_heads} of width {config.joint_head_dim}"))
        return [(name, value) for name, value in rows if value is not None]

    def training_rows(self) -> list[tuple[str, Any]]:
        """Name and value of how it was trained: recorded by the trainer, else what its state still tells."""
        rows: list[tuple[str, Any]] = [("data", self.data_name)]
        for split, count in (self.data.get("num_examples") or {}).items():
            rows.append((f"{split} sequences", f"{count:,}"))
        training = self.training
        if training:
            if not self.data and training.get("sequences"):
                rows.append(("training sequences", f"{training['sequences']:,}"))
            rows += [("optimizer steps", f"{training['steps']:,}"), ("sequences a step", training["batch_size"])]
            rows += list(training["settings"].items())
            if self.kind == DIFFUSION:
                terms = [term for term in LOSS_TERMS if term.exists(self.config)]
                rows += [(term.alpha, getattr(self.config, term.alpha)) for term in terms if term.alpha is not None]
            rows.append(("versions", ", ".join(f"{name} {number}" for name, number in training["versions"].items())))
        else:
            state = read_json(self.folder / "trainer_state.json")
            rows += [("optimizer steps", state.get("global_step")), ("epochs", state.get("epoch"))]
        return [(name.replace("_", " "), value) for name, value in rows if value not in (None, False, 0, 0.0)]

    def bounds(self) -> list[tuple[str, str, str]]:
        """Data, nats and bits per token, of every measurement of the diffusion bound."""
        rows = []
        validated = self.training.get("metrics", {}).get("eval_lm_loss")
        if validated is not None:
            rows.append(("validation, at the end of training", validated))
        if "language_model" in self.evaluation:
            rows.append((self.evaluation["settings"]["split"], self.evaluation["language_model"]["nats_per_token"]))
        return [(data, f"{nats:.4f}", f"{nats / math.log(2):.4f}") for data, nats in rows]

    def calibrations(self) -> list[dict[str, Any]]:
        """What is known of the critic's error probabilities: of each table, and of a report on held-out data."""
        rows = []
        words = {"one_shot": "masks filled at once", "trajectory": "generations", "planted": "texts with few errors"}
        for source, table in self.tables.items():
            quality, split = table.metadata.get("quality"), table.metadata.get("split") or "held-out data"
            if quality is not None:
                rows.append({"where": f"{words[source]}, {split}, cross-fitted", "split": split, **quality})
        report = self.evaluation.get("calibration")
        if report is not None and report["calibrated"]:
            split = self.evaluation["settings"]["split"]
            where = f"masks filled at once, {split}, held out"
            rows.append({"where": where, "split": split, "after": report, **report})
        return rows

    def samplers(self) -> list[dict[str, Any]]:
        """A table of each figure of samples: strategies by numbers of forward passes."""
        table, settings = self.evaluation.get("comparison", {}), self.evaluation.get("settings", {})
        budgets = sorted({int(budget) for row in table.values() for budget in row})
        cells = [cell for row in table.values() for cell in row.values() if cell is not None]
        found = []
        for figure in cells[0]["figures"] if cells else ():
            if figure in COUNTS:
                continue
            rows = []
            for name, row in table.items():
                figures = [(row.get(str(budget)) or {"figures": {}})["figures"] for budget in budgets]
                rows.append((name, [_figure(figure, one.get(figure)) for one in figures]))
            if figure in self.evaluation.get("real_text", {}):
                real = {"mean": self.evaluation["real_text"][figure], "spread": None}
                rows.append(("real text", [_figure(figure, real)] * len(budgets)))
            found.append({"figure": figure.replace("_", " "), "budgets": budgets, "rows": rows})
        seeds = settings.get("seeds", [])
        caption = f"{settings.get('num_samples', 0):,} samples for each of {len(seeds)} seeds"
        caption += ", mean ± standard deviation." if len(seeds) > 1 else "."
        if settings.get("tuning_seed") is not None:
            caption += f" Settings of each strategy were chosen at each budget on the seed {settings['tuning_seed']}."
        return [{**one, "caption": caption} for one in found]

    def pictures(self) -> list[tuple[str, str]]:
        """Files in `figures/`, and what they show."""
        names = [name for name in self.evaluation.get("pictures", ()) if (self.folder / FIGURES / name).is_file()]
        words = {"reliability.png": "Reliability diagram: P(wrong) and the share of tokens that are wrong"}
        return [(name, words.get(name, Path(name).stem.replace("_", " "))) for name in names]

    def report(self) -> str | None:
        """The report to pass on, where the figures of the card come from it."""
        return f"{FIGURES}/{REPORT}" if self.evaluation and (self.folder / FIGURES / REPORT).is_file() else None

    def animations(self) -> list[str]:
        """Of the files of `generate --animate` in the folder those that these weights made."""
        found = [name for name in ANIMATIONS if (self.folder / name).is_file()]
        own = [fingerprint.encode() for fingerprint in (stored_fingerprints(self.folder) or () if found else ())]
        return [name for name in found if any(one in (self.folder / name).read_bytes() for one in own)]

    def _longest(self) -> str:
        longest = Backbone.of(self.config).max_sequence_length
        return "any number of tokens" if longest is None else f"{longest} tokens"

    def limits(self) -> list[str]:
        """What the model cannot do, plainly."""
        config = self.config
        size = f"{self._longest()} of its vocabulary of {Backbone.of(config).vocab_size}"
        found = [f"It reads and writes at most {size}."]
        if self.data_name:
            found.append(f"It was trained on {self.data_name} and is not known to be of use for anything else.")
        else:
            found.append("Of its use for data other than its training data nothing is known.")
        if self.has_critic:
            found.append(
                "The critic has learnt to find the errors that this model makes itself. Errors of others, such as "
                "typos or false statements, may escape it."
            )
        if self.tables:
            found.append(
                "Error probabilities are true on average over many tokens, for data and settings of generation like "
                "those the table was measured with. A single token with a low one may still be wrong."
            )
        elif self.has_critic:
            found.append("The critic is not calibrated: what it gives are scores between 0 and 1, not probabilities.")
        if not self.evaluation:
            found.append("How good its samples are has not been measured.")
        return found

    # ---- the whole ----

    def texts(self, repo: str, title: str) -> dict[str, Any]:
        """What the template needs."""
        return {
            "title": title,
            "repo": repo,
            "task": self.pipeline,
            "call": self.call,
            "adapter": bool(self.adapter),
            "summary": self.summary,
            "model_rows": self.model_rows(),
            "training_rows": self.training_rows(),
            "bounds": self.bounds(),
            "tables": [_calibration_row(one) for one in self.calibrations()],
            "samplers": self.samplers(),
            "pictures": self.pictures(),
            "report": self.report(),
            "animations": self.animations(),
            "limits": self.limits(),
        }

    def results(self) -> list[EvalResult]:
        """The measured numbers in the form of the hub's `model-index`."""
        task = self.data.get("task") or self.evaluation.get("settings", {}).get("task") or "custom"

        def result(split: str | None, kind: str, value: float, name: str) -> EvalResult:
            return EvalResult(
                task_type=self.hub_task,
                task_name=self.pipeline,
                dataset_type=task,
                dataset_name=self.data_name or task,
                dataset_split=split,
                metric_type=kind,
                metric_name=name,
                metric_value=round(value, 6),
            )

        found = []
        validated = self.training.get("metrics", {}).get("eval_lm_loss")
        if validated is not None:
            found.append(result("validation", "nats_per_token", validated, "diffusion bound, nats per token"))
        for one in self.calibrations():
            for kind in ("ece", "brier", "auroc"):
                if one["after"].get(kind) is not None:
                    found.append(result(one["split"], kind, one["after"][kind], f"critic {kind}, {one['where']}"))
        if "language_model" in self.evaluation:
            split, bound = self.evaluation["settings"]["split"], self.evaluation["language_model"]
            found.append(result(split, "nats_per_token", bound["nats_per_token"], "diffusion bound, nats per token"))
        for strategy, row in self.evaluation.get("comparison", {}).items():
            for budget, cell in row.items():
                for figure, value in (cell or {"figures": {}})["figures"].items():
                    if figure not in COUNTS:
                        name = f"{figure}, {strategy}, {budget} forward passes"
                        found.append(result(None, figure, value["mean"], name))
        return found


def _figure(name: str, value: Mapping[str, Any] | None) -> str:
    """A figure of samples: its mean and, of several seeds, the standard deviation; a share in per cent."""
    if value is None:
        return "-"
    share = name.endswith(("_rate", "_deviation"))
    factor, digits, unit = (100, 1, " %") if share else (1, 3, "")
    spread = "" if value["spread"] is None else f" ± {factor * value['spread']:.{digits}f}"
    return f"{factor * value['mean']:.{digits}f}{spread}{unit}"


def _calibration_row(one: Mapping[str, Any]) -> list[str]:
    before, after = one["before"], one["after"]
    cells = [before["ece"], after["ece"], before["brier"], after["brier"], after["auroc"]]
    numbers = ["-" if value is None else f"{value:.4f}" for value in cells]
    return [one["where"], f"{one['positions']:,}", f"{100 * one['positive_rate']:.1f} %", *numbers]
