"""Thin entry points; their names are the acts: prepare_data, train, calibrate, generate, evaluate, benchmark."""
