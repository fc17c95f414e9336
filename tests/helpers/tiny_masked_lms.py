# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""A tiny random model of every masked-LM type of Transformers, and a tokenizer with a frame."""

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModelForMaskedLM, PreTrainedTokenizerFast
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING


SPECIAL = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
WORDS = [f"w{number}" for number in range(27)]
VOCAB_SIZE = 40  # more rows than tokens
LONGEST = 66

_SMALL = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 37,
    "max_position_embeddings": LONGEST,
    "pad_token_id": 0,
    "type_vocab_size": 2,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_DECODER = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 37,
    "decoder_ffn_dim": 37,
    "decoder_start_token_id": 2,
    "forced_eos_token_id": None,
    "forced_bos_token_id": None,
}
_XLM = {
    "emb_dim": 32,
    "n_layers": 2,
    "n_heads": 2,
    "n_langs": 1,
    "use_lang_emb": False,
    "mask_index": 4,
    "unk_index": 3,
}
_XLM |= {"pad_index": 0, "bos_index": 1, "eos_index": 2}
_PICTURES = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 37}
_PICTURES |= {"image_size": 32, "patch_size": 16}
# In the place of a value: the type has no such field, or derives it.
LEFT_OUT = object()
_PARTS = {**dict.fromkeys(_SMALL, LEFT_OUT), "vision_config": _PICTURES, "image_token_id": 39}
# What a type calls otherwise, or needs beside.
OWN = {
    "albert": {"embedding_size": 16},
    "bart": _DECODER,
    "mbart": _DECODER,
    "mvp": _DECODER,
    "big_bird": {"attention_type": "original_full"},
    "convbert": {"embedding_size": 32, "conv_kernel_size": 3, "head_ratio": 1},
    "deberta": {"relative_attention": True, "position_biased_input": False, "pos_att_type": ["p2c", "c2p"]},
    "deberta-v2": {"relative_attention": True, "position_biased_input": False, "pos_att_type": ["p2c", "c2p"]},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 37},
    "electra": {"embedding_size": 16},
    "esm": {"position_embedding_type": "rotary", "mask_token_id": 4, "token_dropout": False},
    "flaubert": _XLM,
    "xlm": _XLM,
    "funnel": {
        "num_hidden_layers": LEFT_OUT,
        "hidden_size": LEFT_OUT,
        "num_attention_heads": LEFT_OUT,
        "block_sizes": [1, 1],
        "d_model": 32,
        "n_head": 2,
        "d_head": 16,
        "d_inner": 37,
        "num_decoder_layers": 1,
        "cls_token_id": 1,
    },
    "ibert": {"quant_mode": False},
    "longformer": {"attention_window": 8},
    "luke": {"entity_vocab_size": 4, "entity_emb_size": 16},
    "mobilebert": {
        "embedding_size": 32,
        "intra_bottleneck_size": 32,
        "true_hidden_size": 32,
        "num_feedforward_networks": 1,
        "classifier_activation": False,
    },
    "modernbert": {"global_attn_every_n_layers": 2, "local_attention": 16, "cls_token_id": 1, "sep_token_id": 2},
    "perceiver": {
        "d_model": 32,
        "num_latents": 12,
        "d_latents": 32,
        "num_blocks": 1,
        "num_self_attends_per_block": 2,
        "num_self_attention_heads": 2,
        "num_cross_attention_heads": 2,
        "qk_channels": 16,
        "v_channels": 32,
    },
    "reformer": {
        "attn_layers": ["local", "local"],
        "axial_pos_embds": False,
        "attention_head_size": 16,
        "is_decoder": False,
        "feed_forward_size": 37,
        "local_attn_chunk_length": 3,
        "chunk_size_lm_head": 0,
    },
    "rembert": {"input_embedding_size": 16, "output_embedding_size": 16},
    "roc_bert": {
        "pronunciation_vocab_size": 4,
        "shape_vocab_size": 4,
        "pronunciation_embed_dim": 8,
        "shape_embed_dim": 8,
        "enable_pronunciation": False,
        "enable_shape": False,
    },
    "roformer": {"embedding_size": 32},
    "squeezebert": {
        "embedding_size": 32,
        "q_groups": 2,
        "k_groups": 2,
        "v_groups": 2,
        "post_attention_groups": 2,
        "intermediate_groups": 1,
        "output_groups": 1,
        "intermediate_size": 38,
    },
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
    "modernvbert": {**_PARTS, "text_config": {**_SMALL, "cls_token_id": 1, "sep_token_id": 2, "local_attention": 16}},
    "ultravbert": {**_PARTS, "text_config": {**_SMALL, "prediction_head_size": 16, "sliding_window": 8}},
    "ultrabert": {"prediction_head_size": 16, "sliding_window": 8},
    "neomme": {
        "num_key_value_heads": 1,
        "head_dim": 16,
        "embedding_rank": 16,
        "document_token_id": 38,
        "image_token_id": 39,
        "embedding_dim": 16,
        "sliding_window": 8,
    },
    "nystromformer": {"num_landmarks": 8, "segment_means_seq_len": 8},
    "gte": {},
}

MODEL_TYPES = {
    config.model_type: config for config in MODEL_FOR_MASKED_LM_MAPPING if config.model_type != "critic_gpt"
}


def framed_tokenizer() -> PreTrainedTokenizerFast:
    """Words of a small vocabulary between [CLS] and [SEP]."""
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    names = {f"{kind.lower()}_token": f"[{kind}]" for kind in ("PAD", "CLS", "SEP", "UNK", "MASK")}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def tiny_config(model_type: str, **fields):
    """The configuration of a tiny model of a type."""
    given = {**_SMALL, **OWN.get(model_type, {}), **fields}
    return MODEL_TYPES[model_type](**{name: value for name, value in given.items() if value is not LEFT_OUT})


def tiny_masked_lm(model_type: str, seed: int = 0, **fields):
    """A tiny random model of a type, in evaluation mode."""
    torch.manual_seed(seed)
    return AutoModelForMaskedLM.from_config(tiny_config(model_type, **fields)).eval()
