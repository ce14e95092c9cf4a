"""Ask a fine-tuned model: answer questions, classify texts, find entities; one, many, or at a prompt."""

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

from mobilebert.base import cli, digests
from mobilebert.base.errors import InputError
from mobilebert.data.texts import LONGEST_TEXT
from mobilebert.inference.engines import ENGINES

HEADS = {"qa": "question-answering", "classify": "sequence-classification", "ner": "token-classification"}
# What asks for one thing, of each command.
_ONE = {"qa": ("question", "context", "context_text"), "classify": ("text", "text_pair"), "ner": ("text",)}

EXAMPLES = """\
  %(prog)s qa --model task/squadv1 --question "Who wrote it?" --context passage.txt
  %(prog)s classify --model task/sst2 --text "A joy to watch."
  %(prog)s ner --model output_ner/best --text "Ada Lovelace lived in London."
  %(prog)s qa --help
"""
QA_EXAMPLES = """\
  %(prog)s --model task/squadv1 --question "Who wrote it?" --context passage.txt
  cat passage.txt | %(prog)s --model task/squadv1 --question "Who wrote it?" --context - --json
  %(prog)s --model task/squadv1 --context passage.txt                     (asks for questions)
  %(prog)s --model task/squadv1 --input dev-v1.1.json --output answers.jsonl
"""
CLASSIFY_EXAMPLES = """\
  %(prog)s --model task/sst2 --text "A joy to watch."
  %(prog)s --model task/mnli --text "A man sleeps." --text_pair "Nobody is awake." --json
  %(prog)s --model task/sst2                                              (asks for texts)
  %(prog)s --model task/sst2 --input reviews.tsv --output classes.jsonl
"""
NER_EXAMPLES = """\
  %(prog)s --model output_ner/best --text "Ada Lovelace lived in London."
  %(prog)s --model output_ner/best                                        (asks for texts)
  %(prog)s --model output_ner/best --input letters.jsonl --output entities.jsonl
"""
QA_DESCRIPTION = """\
Answer questions about a passage.

With --question and a passage: one answer, shown in its sentence. With --input and --output: every question of a file,
one JSON object a line; run again after an interruption, it goes on where it stopped. Otherwise: at a prompt."""
CLASSIFY_DESCRIPTION = """\
Classify a text, or a pair of texts.

With --text: one decision. With --input and --output: every text of a file, one JSON object a line; run again after an
interruption, it goes on where it stopped. Otherwise: at a prompt."""
NER_DESCRIPTION = """\
Find entities in texts of any length: names with their types, by their place in the text.

With --text: one text. With --input and --output: every text of a file, one JSON object a line; run again after an
interruption, it goes on where it stopped. Otherwise: at a prompt."""


def parse_args() -> argparse.Namespace:
    """The command line; ``command`` is a key of ``HEADS``."""
    parser = cli.ArgumentParser(__doc__, EXAMPLES)
    commands = parser.add_subparsers(dest="command", required=True, metavar="|".join(HEADS))

    qa = commands.add_parser(
        "qa", help="answer questions about a passage", description=QA_DESCRIPTION, examples=QA_EXAMPLES
    )
    add_model(qa)
    group = qa.add_argument_group("one question")
    group.add_argument("--question", metavar="TEXT", help="what to ask; without it, questions are asked for")
    passage = group.add_mutually_exclusive_group()
    passage.add_argument(
        "--context",
        metavar="FILE",
        help=f"the passage: a text file, or - for standard input; {LONGEST_TEXT:,} characters at most",
    )
    passage.add_argument("--context_text", metavar="TEXT", help="the passage itself")
    _add_batch(qa, "SQuAD JSON (.json), or .jsonl, .tsv, .csv with columns question and context, and perhaps id")
    add_reading(qa, "qa")
    group = qa.add_argument_group("output")
    add_top_k(group)
    _add_json(group)

    classify = commands.add_parser(
        "classify",
        help="classify texts or pairs of texts",
        description=CLASSIFY_DESCRIPTION,
        examples=CLASSIFY_EXAMPLES,
    )
    add_model(classify)
    group = classify.add_argument_group("one text")
    group.add_argument("--text", help="the text, or the first of a pair; without it, texts are asked for")
    group.add_argument("--text_pair", metavar="TEXT", help="the second text of a pair")
    _add_batch(classify, ".tsv, .csv or .jsonl with named columns, or .txt, one text a line")
    add_columns(classify, "classify")
    add_reading(classify, "classify")
    _add_json(classify.add_argument_group("output"))

    ner = commands.add_parser("ner", help="find entities in texts", description=NER_DESCRIPTION, examples=NER_EXAMPLES)
    add_model(ner)
    group = ner.add_argument_group("one text")
    group.add_argument("--text", help="the text; without it, texts are asked for")
    _add_batch(ner, ".tsv, .csv or .jsonl with named columns, or .txt, one text a line")
    add_columns(ner, "ner")
    add_reading(ner, "ner")
    _add_json(ner.add_argument_group("output"))

    args = parser.parse_args()
    _check(args)
    return args


def add_model(parser: cli.ArgumentParser, threads: str = "of the engine (default: its own choice)") -> None:
    """Add which model is asked, and what runs it; ``threads`` is the help of that flag."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model", "--model_name_or_path", metavar="MODEL", required=True,
        help="a fine-tuned checkpoint, a folder that export.py wrote, or a hub name",
    )  # fmt: skip
    group.add_argument(
        "--engine", choices=ENGINES, help="what runs it (default: the fastest that the folder has files for)"
    )
    group.add_argument("--threads", type=int, help=threads)
    digests.add_flag(group)


def add_columns(parser: cli.ArgumentParser, command: str) -> None:
    """Add which columns of a table are the texts."""
    if command == "classify":
        parser.add_argument(
            "--text_column", nargs="+", metavar="COLUMN",
            help="of --input: one column, or two for pairs (default: those that were trained on, or well-known names)",
        )  # fmt: skip
    elif command == "ner":
        parser.add_argument("--text_column", metavar="COLUMN", help="of --input (default: sentence or text)")


def add_reading(parser: cli.ArgumentParser, command: str) -> None:
    """Add how a model reads; ``reading`` has the options that come of it."""
    group = parser.add_argument_group("how to read (default: as the model was trained)")
    if command == "classify":
        group.add_argument("--max_seq_length", type=int, help="tokens; what is longer is cut off")
        group.add_argument("--threshold", type=float, help="several labels a text: probability above which it has one")
        return
    what = "question and window together" if command == "qa" else "a window"
    group.add_argument("--max_seq_length", type=int, help=f"tokens of {what}")
    group.add_argument("--doc_stride", type=int, help="tokens that neighbouring windows share")
    if command == "ner":
        return
    group.add_argument("--max_answer_length", type=int, help="tokens")
    none = group.add_mutually_exclusive_group()
    none.add_argument(
        "--allow_no_answer", action="store_true", default=None, help="an answer may be none, as in SQuAD v2.0"
    )
    none.add_argument(
        "--always_answer", dest="allow_no_answer", action="store_false", default=None, help="the opposite"
    )
    group.add_argument("--null_score_diff_threshold", type=float, help="no answer where its odds exceed this")
    group.add_argument(
        "--whole_words", action=argparse.BooleanOptionalAction,
        help="answers neither begin nor end inside a word (default: yes, but for --input no, as evaluations)",
    )  # fmt: skip


def add_top_k(group: argparse._ArgumentGroup) -> None:
    """Add how many answers a question has."""
    group.add_argument("--top_k", type=int, default=3, help="answers to show, the best and its runners-up")


def _add_batch(parser: cli.ArgumentParser, formats: str) -> None:
    group = parser.add_argument_group("a file of them")
    group.add_argument("--input", metavar="FILE", help=f"{formats}; .gz too")
    group.add_argument("--output", metavar="FILE", help="JSON lines; what is there already is not computed again")
    group.add_argument("--overwrite", action="store_true", help="begin --output anew")


def _add_json(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--json", action="store_true", help="for programs: one JSON object a line")


def _check(args: argparse.Namespace) -> None:
    """Refuse flags that do not go together, before anything is loaded.

    Raises:
        InputError: two ways to ask at once, or half of one.
    """
    given = [f"--{name}" for name in _ONE[args.command] if getattr(args, name) is not None]
    if args.input is not None and given:
        raise InputError(f"--input is a file of them, {given[0]} is for one; leave one of the two out")
    if (args.input is None) != (args.output is None):
        raise InputError("--input and --output go together: the file to read, the file to write")
    if args.input is None and args.overwrite:
        raise InputError("--overwrite is for --output")
    if args.command != "qa":
        if args.input is None and args.text_column:
            raise InputError("--text_column names columns of --input")
        if args.command == "classify" and args.text is None and args.text_pair is not None:
            raise InputError("--text_pair is the second text of a pair; give --text too")
        return
    has_passage = args.context is not None or args.context_text is not None
    if args.question is not None and not has_passage:
        raise InputError("--question about what? give the passage: --context FILE (- for standard input)")
    if args.question is None and args.context == "-":
        raise InputError(
            "--context - takes the passage from standard input, where questions come from: give --question"
        )
    if args.input is None and not has_passage and not (sys.stdin and sys.stdin.isatty()):
        raise InputError("questions about what? give the passage: --context FILE")


def main() -> None:
    """Parse, and do what was asked."""
    args = parse_args()
    os.environ.setdefault("MOBILEBERT_QUIET", "setup")  # the line about threads is for training
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a character

    from mobilebert.commands.predict import batch as predict_batch
    from mobilebert.commands.predict.session import AnsweringSession, ClassifyingSession, EntitySession, Model
    from mobilebert.inference.source import read_source

    source = read_source(args.model, HEADS[args.command])
    source.require(HEADS[args.command])
    model = Model(source, args.engine, args.threads, args.verify)
    if args.command == "qa" and args.input is not None:
        options = reading(args)
        cli.say(predict_batch.answer_file(model, Path(args.input), Path(args.output), args.overwrite, options))
    elif args.command == "qa":
        options = {**_reading(args), "whole_words": args.whole_words is not False}
        session = AnsweringSession(model, args.top_k, options, args.json)
        session.take_passage(args.context, args.context_text)
        session.run(args.question)
    elif args.command == "ner":
        if args.input is None:
            EntitySession(model, reading(args), args.json).run(args.text)
            return
        files = Path(args.input), Path(args.output)
        cli.say(predict_batch.entities_file(model, *files, args.overwrite, args.text_column, reading(args)))
    elif args.input is not None:
        files = Path(args.input), Path(args.output)
        cli.say(predict_batch.classify_file(model, *files, args.overwrite, args.text_column, reading(args)))
    else:
        ClassifyingSession(model, reading(args), args.json).run(args.text, args.text_pair)


def reading(args: argparse.Namespace) -> dict:
    """The options of ``Predictor``'s method for a file of rows; ``args.command`` says which method."""
    if args.command == "classify":
        return {"max_seq_length": args.max_seq_length, "threshold": args.threshold}
    if args.command == "ner":
        return {"max_seq_length": args.max_seq_length, "doc_stride": args.doc_stride}
    # Whole words are named only where they were asked for: an output that is there already was begun without.
    return {"top_k": args.top_k, **_reading(args), **({"whole_words": True} if args.whole_words else {})}


def _reading(args: argparse.Namespace) -> dict:
    """The options of ``Predictor.read`` that the command line has."""
    names = "allow_no_answer null_score_diff_threshold max_answer_length max_seq_length doc_stride"
    return {name: getattr(args, name) for name in names.split()}


def run() -> NoReturn:
    """The console command."""
    cli.run(main)
