"""The console commands, one module each: ``parse_args`` is the command line, ``main`` does what it says."""
