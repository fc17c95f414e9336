"""The command `critic-gpt`: its acts, flags and help. Imports neither torch nor Transformers before an act begins."""
