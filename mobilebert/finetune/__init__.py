"""The wiring of data, model, training and metrics, one module a benchmark."""
