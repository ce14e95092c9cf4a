"""The official scores of SQuAD and GLUE. Imports without Paddle."""
