# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The flags of every act, in the order of their help. Those in no group matter most, and make the short help.

The parsers of prepare and train are made from dataclasses in `scripts/`, some of them Transformers' own; here stands
which of their flags matter.
"""

from typing import Any

from critic_gpt.cli.acts import ACTS
from critic_gpt.cli.declared import declared_fields
from critic_gpt.cli.generation_flags import STRATEGY_NAMES, add_generation_flags, add_strategy_flag
from critic_gpt.cli.parser import ActParser, Later


DTYPES = ("float32", "bfloat16", "float16")
SPLITS = ("train", "val", "validation", "test")
VIEWS = ("sample", "corrupted", "critic", "generate", "text")
REGIMES = Later("critic_gpt.configuration_critic_gpt", "CRITIC_REGIMES")
# Sequences that calibration judges where nobody says how many.
MOST_CALIBRATED = 1024
VERBOSE_EVERY = 100
# What is timed, and how often at least.
SHAPE = {
    "vocab_size": 1024,
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "sequence_length": 128,
    "batch_size": 8,
    "num_steps": 16,
}
LEAST_REPEATS = 10
# Of the whole table of --sampling, whose rows take long.
LEAST_TURNS = 3
# Who else may take part: flags handed to `generate` that are no settings.
JUDGES = {
    "remasking_model": "folder or hub name of a token classifier that decides what is re-masked",
    "judge_model": "folder or hub name of a sequence scorer that judges the finished text",
}
# Flags handed to the pipeline where given.
PROOFREADING_FLAGS: dict[str, dict[str, Any]] = {
    "threshold": {"type": float, "help": "P(wrong) above which a token is doubtful; 0.5 by default"},
    "top_k": {"type": int, "help": "replacements for each token; 5 by default, 0 for none"},
    "suggest_by": {
        "choices": Later("critic_gpt.proofreading.mixin", "SUGGEST_BY"),
        "metavar": "PASS",
        "help": "from the pass that judges, or from one with doubtful tokens masked: %(choices)s",
    },
    "window": {"type": int, "help": "tokens that the model sees at once; as many as it has positions by default"},
    "stride": {"type": int, "help": "tokens that neighbouring windows share; half a window by default"},
    "max_rounds": {"type": int, "help": "how often --correct replaces tokens at most; 8 by default"},
}
# Of Transformers' own flags those that matter, in fewer words than its own.
OF_TRANSFORMERS = {
    "output_dir": "where the model and its checkpoints go; trainer_output by default",
    "max_steps": "optimizer steps; --num_train_epochs counts epochs instead",
    "per_device_train_batch_size": "sequences per step and process",
    "resume_from_checkpoint": "auto goes on from the last whole checkpoint of this run",
}


_RESULTS_HELP = "write each result as a line of JSON at once; what is there already is not made again"


def _add_declared(parser: ActParser, module: str, cls: str, *names: str, only: str = "") -> None:
    fields = declared_fields(module, cls)
    for name in names:
        field = fields[name]
        words = f"{field.help[0].lower()}{field.help[1:].rstrip('.')}{f' ({only})' if only else ''}"
        letter = {"int": "N", "float": "X", "bool": "True"}.get(field.kind.removesuffix(" | None"))
        options: dict[str, Any] = {"metavar": letter, "default": field.default, "required": field.is_required}
        if field.kind == "bool":  # `True` need not be said
            options = {"action": "store_true"}
        parser.add_argument(f"--{name}", help=words, **options)


def prepare_parser() -> ActParser:
    """Of the flags of `scripts/prepare_data.py` those that matter."""
    parser = ActParser(act=ACTS["prepare"])
    parser.add_argument("--task", required=True, help="text, sudoku, smiles, fillings, or a task of your own")
    _add_declared(parser, "scripts.prepare_data", "PrepareDataArguments", "output_dir", "overwrite", "seed")
    text = ("source", "tokenizer", "sequence_length", "window")
    _add_declared(parser, "tasks.text", "TextFlags", *text, only="text")
    _add_declared(parser, "tasks.sudoku", "SudokuFlags", "size", "num_train", "num_puzzles", only="sudoku")
    _add_declared(parser, "scripts.prepare_data", "FillingsFlags", "model", "data_dir", only="fillings")
    return parser


def train_parser() -> ActParser:
    """Of the flags of `scripts/train.py` those that matter."""
    parser = ActParser(act=ACTS["train"])
    _add_declared(parser, "scripts.training_flags", "RunArguments", "data_dir")
    parser.add_argument("--output_dir", help=OF_TRANSFORMERS["output_dir"])
    model = ("model_name_or_path", "hidden_size", "num_hidden_layers", "add_critic_head", "add_joint_head")
    _add_declared(parser, "scripts.training_flags", "ModelArguments", *model)
    parser.add_argument("--max_steps", metavar="N", help=OF_TRANSFORMERS["max_steps"])
    _add_declared(parser, "training.arguments", "CriticTrainingArguments", "learning_rate")
    for name, letter in (("per_device_train_batch_size", "N"), ("resume_from_checkpoint", "auto")):
        parser.add_argument(f"--{name}", metavar=letter, help=OF_TRANSFORMERS[name])
    _add_declared(parser, "scripts.training_flags", "RunArguments", "overwrite_output_dir")
    return parser


def calibrate_parser() -> ActParser:
    """The flags of `scripts/calibrate.py`."""
    parser = ActParser(act=ACTS["calibrate"])
    parser.add_argument(
        "dataset", metavar="DATASET_OR_CONFIG", help="folder of data, its name, or a file that names it"
    )
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        help="folder of a model with a trained critic head (a checkpoint-N of a training, too), or the file of "
        "weights in it",
    )
    parser.add_argument(
        "num_sequences",
        metavar="NUM_SEQUENCES",
        type=int,
        nargs="?",
        help=f"how many sequences to judge, over all processes: the whole split by default, at most {MOST_CALIBRATED}",
    )
    parser.add_argument("--split", default="train", choices=SPLITS, metavar="SPLIT", help="of the data: %(choices)s")
    parser.add_argument(
        "--source",
        default="one_shot",
        choices=Later("critic_gpt.calibration.model", "CALIBRATION_SOURCES"),
        metavar="SOURCE",
        help="masks filled at once, as in training (one_shot), generations step by step (trajectory), or true texts "
        "with few errors, for proofreading (planted)",
    )
    parser.add_argument("--num_steps", type=int, help="denoising steps, with --source trajectory")
    parser.add_argument("--overwrite", action="store_true", help="replace a table of these weights that is better")
    parser.add_argument("--batch_size", type=int, default=64, help="sequences per step, over all processes")
    parser.add_argument("--seed", type=int, default=0, help="of masks and fillings")
    parser.add_argument("--plot", help="write a reliability diagram to this PNG")
    more = parser.add_argument_group("the table")
    more.add_argument(
        "--method",
        default="auto",
        choices=Later("critic_gpt.calibration.histogram", "FITTING_METHODS", "auto"),
        metavar="METHOD",
        help="how to make it: %(choices)s; auto: the one with the smallest cross-fitted ECE (raw: the score as it is)",
    )
    more.add_argument("--verbose", action="store_true", help=f"print it every {VERBOSE_EVERY} sequences")
    one_shot = parser.add_argument_group("with --source one_shot", "the model's own by default")
    scopes = Later("critic_gpt.configuration_critic_gpt", "CRITIC_TARGET_SCOPES")
    one_shot.add_argument("--scope", choices=scopes, metavar="SCOPE", help="positions judged: %(choices)s")
    one_shot.add_argument("--regime", choices=REGIMES, metavar="REGIME", help="share of masks filled: %(choices)s")
    sampler = parser.add_argument_group("with --source trajectory", "the model's own generation settings by default")
    add_strategy_flag(sampler)
    sampler.add_argument("--remasking", help="strategy of generation")
    sampler.add_argument("--temperature", type=float, help="of the draws of tokens")
    sampler.add_argument(
        "--generation",
        nargs="+",
        metavar="KEY=VALUE",
        help="any fields of CriticGPTGenerationConfig, the values as JSON or plain text: unmasking=random top_k=5",
    )
    sampler.add_argument("--mask_rate", type=float, help="mask each token with this probability; default: varies")
    planted = parser.add_argument_group("with --source planted")
    planted.add_argument("--planted_rate", type=float, help="share of tokens chosen to be made wrong; 0.02 by default")
    return parser


def generate_parser() -> ActParser:
    """The flags of `scripts/generate.py`."""
    parser = ActParser(act=ACTS["generate"])
    parser.add_argument("--model", required=True, help="folder or hub name of a model")
    parser.add_argument(
        "--prompt", nargs="*", default=None, help="text with [MASK] holes ([MASK]*30: thirty), or a prefix"
    )
    parser.add_argument("--prompts", metavar="FILE", help="prompts as lines of JSON; - is standard input")
    parser.add_argument("--results", metavar="FILE", help=_RESULTS_HELP)
    parser.add_argument("--num_samples", type=int, default=1, help="samples per prompt")
    parser.add_argument("--batch_size", type=int, default=16, help="samples at a time")
    parser.add_argument("--seed", type=int, default=None, help="repeats a run; drawn where not given")
    parser.add_argument("--stream", action="store_true", help="draw every step in the terminal while it happens")
    parser.add_argument("--animate", metavar="FILE", help="write every step as an animation: FILE.html or FILE.gif")
    parser.add_argument("--save", help="write settings, results and every step to this JSON file")
    add_generation_flags(parser, that_matter=("max_new_tokens", "num_steps", "remasking", "temperature"))
    more = parser.add_argument_group("who and what else")
    more.add_argument("--history", action="store_true", help="print every step as well")
    more.add_argument("--row_width", type=int, help="tokens per line for --stream and --animate: 6 for 6x6 grids")
    add_strategy_flag(more)
    for name, words in JUDGES.items():
        more.add_argument(f"--{name}", help=words)
    return parser


def evaluate_parser() -> ActParser:
    """The flags of `scripts/evaluate.py`."""
    parser = ActParser(act=ACTS["evaluate"])
    parser.add_argument("--model", required=True, help="folder of a model")
    parser.add_argument("--data_dir", required=True, help="folder that prepare wrote")
    parser.add_argument("--output_dir", required=True, help="where the report goes")
    parser.add_argument("--split", default="test", choices=SPLITS, metavar="SPLIT", help="of the data: %(choices)s")
    parser.add_argument("--num_samples", type=int, default=1000, help="samples for each strategy, budget and seed")
    parser.add_argument("--forward_passes", type=int, nargs="+", default=[9, 18, 36], help="budgets to compare at")
    parser.add_argument("--strategies", nargs="+", metavar="NAME", help='who competes; "all" for everybody')
    parser.add_argument("--tune", action="store_true", help="choose each strategy's settings at each budget")
    parser.add_argument("--seeds", type=int, nargs="+", help="a set of samples for each")
    parser.add_argument("--batch_size", type=int, default=250, help="sequences at a time")
    parser.add_argument("--plot", action="store_true", help="plots of all figures, and of expected and true errors")
    more = parser.add_argument_group("what is measured")
    more.add_argument("--num_judged", type=int, default=4096, help="held-out sequences for the critic's figures")
    more.add_argument("--seed", type=int, default=1, help="of masks, and of samples unless --seeds are given")
    more.add_argument(
        "--puzzles",
        action="store_true",
        help="fill the puzzles of the data (molecules: a masked third), not empty canvases",
    )
    more.add_argument("--verifier", type=int, nargs="+", metavar="PASSES", help="does the critic know what is right?")
    more.add_argument("--dtype", choices=DTYPES, help="precision of the weights; that of the file by default")
    strategies = parser.add_argument_group("who competes")
    add_strategy_flag(strategies)
    strategies.add_argument("--tuning_seed", type=int, default=0, help="of the samples to choose by")
    strategies.add_argument("--tuning_samples", type=int, default=250, help="how many samples to choose by")
    strategies.add_argument("--tuned_by", metavar="FIGURE", help="figure to choose by; the first by default")
    strategies.add_argument(
        "--tuning_temperatures",
        type=float,
        nargs="*",
        default=[1.0, 0.8, 0.6, 0.5, 0.4],
        metavar="X",
        help="temperatures to choose among, for every strategy; none for 1 alone",
    )
    more.add_argument("--mauve", metavar="MODEL", help="measure MAUVE by this model (the extra critic_gpt[mauve])")
    judge = parser.add_argument_group("a judge of text")
    judge.add_argument("--judge", help="its folder; with --train_judge where it goes")
    judge.add_argument("--train_judge", action="store_true", help="train one on the split of that name")
    judge.add_argument("--judge_steps", type=int, default=600, help="steps of its training")
    return parser


def proofread_parser() -> ActParser:
    """The flags of `scripts/proofread.py`."""
    parser = ActParser(act=ACTS["proofread"])
    parser.add_argument("input", nargs="*", default=["-"], help="texts, or texts as .jsonl; - is standard input")
    parser.add_argument("--model", required=True, help="folder or hub name of a model with a critic")
    parser.add_argument(
        "--format",
        choices=("marked", "text", "jsonl", "sarif", "html"),
        help="the text with what is doubtful marked (by default); what is doubtful alone, by file:line:col (text, "
        "jsonl, sarif); or a page to accept and reject it (html)",
    )
    parser.add_argument("--text", help="the text itself")
    parser.add_argument("--lines", action="store_true", help="each line is a text; empty ones are passed over")
    parser.add_argument("--correct", action="store_true", help="replace what is wrong more likely than not")
    parser.add_argument("--output", help="write the corrected text to this file; with --correct")
    parser.add_argument("--results", metavar="FILE", help=_RESULTS_HELP)
    parser.add_argument("--json", action="store_true", help="print the results as JSON instead")
    parser.add_argument("--save", help="write settings and results to this JSON file")
    _add_proofreading(parser, "threshold", "top_k")
    more = parser.add_argument_group("how")
    more.add_argument("--batch_size", type=int, default=8, help="windows in one forward pass")
    _add_proofreading(more, *(name for name in PROOFREADING_FLAGS if name not in ("threshold", "top_k")))
    more.add_argument("--color", choices=("auto", "always", "never"), default="auto", help="of doubtful tokens")
    return parser


def _add_proofreading(group: Any, *names: str) -> None:
    for name in names:
        group.add_argument(f"--{name}", default=None, **PROOFREADING_FLAGS[name])


def explore_parser() -> ActParser:
    """The flags of `scripts/explore.py`."""
    parser = ActParser(act=ACTS["explore"])
    parser.add_argument("--model", required=True, help="folder or hub name of a model")
    parser.add_argument("--data_dir", help="folder of prepared data; without it only texts can be looked at")
    parser.add_argument("--split", default="validation", help="of the data")
    parser.add_argument("--index", type=int, default=0, help="which sample, counted from 0")
    parser.add_argument("--mask_rate", type=float, help="share of masks in (0, 1]; drawn as in evaluation by default")
    parser.add_argument("--threshold", type=float, default=0.5, help="P(wrong) above which a token is flagged")
    parser.add_argument("--view", choices=VIEWS, metavar="VIEW", help="show this one and end: %(choices)s")
    parser.add_argument("--text", help="for the views text and generate: what to look at; [MASK] is a hole")
    parser.add_argument("--web", action="store_true", help="open a page instead of reading commands")
    more = parser.add_argument_group("views")
    more.add_argument("--json", action="store_true", help="print the data of the view")
    more.add_argument("--seed", type=int, default=1, help="of masks and draws")
    more.add_argument(
        "--critic_regime", choices=REGIMES, metavar="REGIME", help="how many masks the critic sees filled: %(choices)s"
    )
    more.add_argument(
        "--remasking", choices=STRATEGY_NAMES, metavar="STRATEGY", help="for the view generate: %(choices)s"
    )
    more.add_argument("--num_steps", type=int, help="for the view generate")
    add_strategy_flag(more)
    page = parser.add_argument_group("the page")
    page.add_argument("--host", default="127.0.0.1", help="address it is served at")
    page.add_argument("--port", type=int, default=7860, help="0 takes any that is free")
    return parser


def push_parser() -> ActParser:
    """The flags of `scripts/push_to_hub.py`."""
    parser = ActParser(act=ACTS["push"])
    parser.add_argument("--model", required=True, help="folder of a model")
    parser.add_argument("--repo_id", required=True, help="NAME or USER/NAME; made if there is none")
    parser.add_argument("--tokenizer", help="folder or hub name of its tokenizer, to be saved beside the model first")
    parser.add_argument("--report", help="output folder of evaluate on this model, for the card")
    parser.add_argument("--data_dir", help="prepared data that it was trained on, for the card (and for --space)")
    parser.add_argument("--license", help="of the model, for the card")
    parser.add_argument("--private", action="store_true", default=None, help="make the repository private if new")
    parser.add_argument("--revision", help="branch to push to, made if there is none; main by default")
    parser.add_argument("--space", help="make this Space, too, which shows the model in the page of explore")
    more = parser.add_argument_group("the commit")
    more.add_argument("--commit_message", default="Upload model", help="its first line")
    more.add_argument("--commit_description", help="more to say of it")
    more.add_argument("--create_pr", action="store_true", help="open a pull request instead")
    more.add_argument("--token", help="of a user who may write there")
    return parser


def convert_parser() -> ActParser:
    """The flags of `scripts/convert_nanogpt_checkpoint.py`."""
    parser = ActParser(act=ACTS["convert"])
    parser.add_argument("checkpoint", metavar="CKPT", help="file of torch.save with `model` and `model_args`")
    parser.add_argument("output_dir", metavar="OUTPUT_DIR", help="new or empty folder for the model")
    parser.add_argument("--mask_token_id", type=int, help="id of [MASK]; default: the tokenizer's or the file's")
    parser.add_argument("--pad_token_id", type=int, help="id of the padding; default: the tokenizer's or the file's")
    parser.add_argument("--tokenizer", help="folder or hub name of a tokenizer, to be saved with the model")
    parser.add_argument("--vocab_size", type=int, help="larger than the checkpoint's, to add tokens")
    parser.add_argument("--add_critic_head", action="store_true", help="add an untrained critic where there is none")
    more = parser.add_argument_group("what the file means")
    more.add_argument(
        "--trunk_only",
        action="store_true",
        help="take token and position embeddings, blocks and the last norm, and leave every head behind: a language "
        "model to be trained further, or to take a new head",
    )
    more.add_argument("--attention_type", choices=["causal", "bidirectional"], help="instead of what the file says")
    more.add_argument(
        "--rotary_interleaved", action="store_true", help="rotary positions turn dimension 2i with 2i + 1"
    )
    more.add_argument(
        "--drop_unknown", action="store_true", help="leave tensors of unknown names behind instead of refusing them"
    )
    more.add_argument("--seed", type=int, default=0, help="of what is drawn: the weights of a missing head")
    return parser


def compare_parser() -> ActParser:
    """The flags of `scripts/compare_recipes.py`."""
    parser = ActParser(act=ACTS["compare"])
    parser.add_argument("--recipes", required=True, help="YAML or JSON file of recipes")
    parser.add_argument("--data_dir", required=True, help="folder that prepare wrote")
    parser.add_argument("--output_dir", required=True, help="where models, reports and recipes.json go")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these recipes alone")
    parser.add_argument("--num_judged", type=int, default=4096, help="held-out sequences for the critic's figures")
    parser.add_argument("--num_samples", type=int, default=1000, help="samples for each number of forward passes")
    parser.add_argument("--forward_passes", type=int, nargs="+", default=[9, 18], help="budgets to sample at")
    parser.add_argument("--batch_size", type=int, default=250, help="sequences at a time in evaluation")
    parser.add_argument("--dtype", choices=DTYPES, help="precision of the weights in evaluation")
    return parser


def benchmark_parser() -> ActParser:
    """The flags of `scripts/benchmark.py`."""
    parser = ActParser(act=ACTS["benchmark"])
    parser.add_argument("--baseline", help="root of another checkout of this package, measured alternately")
    parser.add_argument("--output", help="JSON file to write, every single measurement included")
    cases = Later("critic_gpt.scripts.benchmark_workloads", "Workloads.CASES")
    parser.add_argument("--cases", nargs="+", choices=cases, metavar="CASE", help="all by default: %(choices)s")
    repeats = f"timed repeats per case, at least {LEAST_REPEATS} ({LEAST_TURNS} for a table)"
    parser.add_argument("--repeats", type=int, default=30, help=repeats)
    parser.add_argument("--sampling", action="store_true", help="what steps cost beyond their passes, by shape")
    parser.add_argument("--training", action="store_true", help="what steps of training cost beyond the bare model's")
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="of --sampling, --training, --grids; all by default")
    parser.add_argument("--blocks", action="store_true", help="what blocks and caches cost, beside Fast-dLLM's loops")
    grids = "model of 6x6 Sudoku: time and validity of single grids, beside Fast-dLLM's loops"
    parser.add_argument("--grids", metavar="MODEL", help=grids)
    parser.add_argument("--draw", nargs=2, metavar=("PAGE", "RECORD"), help="write the table of a record into a page")
    parser.add_argument("--warmup", type=int, default=3, help="untimed repeats before them")
    parser.add_argument("--min_seconds", type=float, default=0.2, help="least length of a repeat")
    parser.add_argument("--threads", type=int, help="of each process; they take turns; as many as torch by default")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="where")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"], help="bfloat16 by autocast")
    shape = parser.add_argument_group("the model and its input")
    for name, value in SHAPE.items():
        shape.add_argument(f"--{name}", type=int, default=value, help=f"default: {value}")
    return parser


def record_parser() -> ActParser:
    """The flags of `scripts/record_results.py`."""
    parser = ActParser(act=ACTS["record"])
    parser.add_argument("--root", default=".", help="folder that holds README.md and docs/")
    parser.add_argument(
        "--report", nargs="+", help="report of evaluate to be recorded first; several are parts of one comparison"
    )
    parser.add_argument("--name", help="what to call its record")
    parser.add_argument("--note", nargs="*", default=[], metavar="KEY=VALUE", help="machine, command, commit ...")
    return parser


def document_parser() -> ActParser:
    """The flags of `scripts/document_settings.py`."""
    parser = ActParser(act=ACTS["document"])
    parser.add_argument("--root", default=".", help="folder that holds docs/")
    return parser
