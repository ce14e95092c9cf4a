"""GLUE: its tasks, its files and where they are downloaded from."""
