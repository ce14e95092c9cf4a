"""Results as Parquet: a schema for each task, the same in all files of a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilebert.base import extras
from mobilebert.inference.predictor import Predictor

if TYPE_CHECKING:
    import pyarrow


def schema(task: str, predictor: Predictor, texts: int) -> "pyarrow.Schema":
    """The Arrow schema of a task's documents (``commands.predict.view``), behind their ``id``.

    Args:
        task: ``"qa"``, ``"classify"`` or ``"ner"``.
        predictor: whose labels are columns of ``scores``.
        texts: of a row, one or two.
    """
    arrow = extras.load("pyarrow")
    text, place, number = arrow.string(), arrow.int32(), arrow.float64()
    if task == "qa":
        answer = {"text": text, "start": place, "end": place, "probability": number, "score": number}
        answers = arrow.struct({**answer, "sentence": arrow.list_(place)}.items())
        fields = {"question": text, "answer": text, "answers": arrow.list_(answers), "null_odds": number}
        fields["windows"] = arrow.list_(arrow.list_(place))
    elif task == "classify":
        scores = arrow.struct([(label, number) for label in predictor.config.id2label.values()])
        has_several = predictor.config.problem_type == "multi_label_classification"
        fields = {"text": text, **({"text_pair": text} if texts == 2 else {}), "label": text}
        fields |= {**({"labels": arrow.list_(text)} if has_several else {}), "score": number, "scores": scores}
    else:
        entity = {"text": text, "type": text, "start": place, "end": place, "score": number}
        fields = {"text": text, "entities": arrow.list_(arrow.struct(entity.items()))}
    return arrow.schema({"id": text, **fields}.items())


def write(path: Path, documents: Sequence[dict[str, Any]], kind: "pyarrow.Schema") -> None:
    """Write documents; ``kind`` is their ``schema``."""
    arrow, parquet = extras.load("pyarrow"), extras.load("pyarrow.parquet")
    parquet.write_table(arrow.Table.from_pylist(list(documents), kind), path, compression="zstd")
