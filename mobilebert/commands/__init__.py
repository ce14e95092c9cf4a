"""The commands, one module each: ``parse_args`` is the command line, ``main`` does what it says.

``VERBS`` is the table behind ``python -m mobilebert VERB`` and the console command ``mobilebert``.
"""

# Verb -> the module whose ``main`` it calls, and what its help says. Modules are imported when they are called.
VERBS = {
    "download": ("mobilebert.base.hub", "fetch a checkpoint from a Hugging Face hub"),
    "convert": ("mobilebert.commands.convert", "convert a checkpoint from PyTorch to Paddle, or back"),
    "compare": ("mobilebert.commands.compare", "prove that a checkpoint and its conversion are the same function"),
    "compare-tokenizer": ("mobilebert.commands.compare_tokenizer", "prove that the tokenizer is the reference's"),
    "train": ("mobilebert.commands.train", "train on a table of your own, or on one of the data sets below"),
    "squad": ("mobilebert.commands.squad", "train, evaluate, predict: SQuAD v1.1 and v2.0"),
    "glue": ("mobilebert.commands.glue", "train, evaluate, predict: GLUE, and texts of your own"),
    "ner": ("mobilebert.commands.ner", "train, evaluate, predict: named entities, and other tags of words"),
    "pretrain-data": ("mobilebert.commands.pretrain_data", "make rows for pre-training out of text"),
    "pretrain": ("mobilebert.commands.pretrain", "pre-train on text, or go on with a checkpoint"),
    "distill": ("mobilebert.commands.distill", "pre-train with a teacher: knowledge transfer layer by layer"),
    "export": ("mobilebert.commands.export", "make a fine-tuned checkpoint small and fast"),
    "predict": ("mobilebert.commands.predict", "ask a fine-tuned model: answers, classes and entities"),
    "bulk": ("mobilebert.commands.bulk", "the same for tables of any size, on all cores or many machines"),
    "doctor": (
        "mobilebert.commands.doctor",
        "say what this machine and this installation are, to paste into a question",
    ),
    "demo": ("mobilebert.commands.demo", "ask models on a web page"),
}
