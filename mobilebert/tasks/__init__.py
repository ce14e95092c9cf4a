"""What the model is trained and evaluated for, one module a task."""
