# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""A tokenizer written in Python, with an unknown token; it does not tell where its tokens stand."""

from transformers import PreTrainedTokenizer


class Words(PreTrainedTokenizer):
    """Words, joined by `glue`; without one, characters. `capitals` changes what it reads."""

    def __init__(self, words=("a", "rose", "is", "no", "A"), glue=" ", capitals=False, **kwargs):
        self.words = {token: i for i, token in enumerate(["[PAD]", "[MASK]", "[UNK]", *words])}
        self.glue, self.capitals = glue, capitals
        super().__init__(pad_token="[PAD]", mask_token="[MASK]", unk_token="[UNK]", **kwargs)

    @property
    def vocab_size(self):
        return len(self.words)

    def get_vocab(self):
        return dict(self.words)

    def _tokenize(self, text, **kwargs):
        text = text.upper() if self.capitals else text
        return text.split() if self.glue else list(text)

    def _convert_token_to_id(self, token):
        return self.words.get(token, 2)

    def _convert_id_to_token(self, index):
        return list(self.words)[index]

    def convert_tokens_to_string(self, tokens):
        return self.glue.join(tokens)
