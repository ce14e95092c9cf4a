"""Text to rows for pre-training: masked language modelling and next sentence prediction, by BERT's rules.

files -> ``sources.py`` -> documents -> ``blocks.py`` -> token ids -> ``pairs.py`` -> rows -> ``masking.py`` -> masks ->
``shards.py`` -> a folder -> ``rows.py`` -> batches. ``make.py`` is the run that does all but the last.
"""
