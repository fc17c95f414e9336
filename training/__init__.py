"""What it takes to make a model: arguments, collator, trainer, callbacks."""
