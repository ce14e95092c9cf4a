"""The native engine: csrc/ is a library in C, ``build`` compiles it, ``library`` calls it."""
