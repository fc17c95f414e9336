"""What one does with a trained model, as Transformers pipelines."""
