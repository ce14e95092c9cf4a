"""Token rows through an engine, and answers and classes from texts."""
