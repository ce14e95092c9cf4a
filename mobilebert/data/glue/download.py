"""Where GLUE's official files are, with their checksums, and how they come into GLUE's folders."""

from pathlib import Path

from mobilebert.data.download import RemoteFile, extract, fetch
from mobilebert.data.glue.tasks import Task

_OFFICIAL = "https://dl.fbaipublicfiles.com/glue/data"
_FIRST_HOME = "https://firebasestorage.googleapis.com/v0/b/mtl-sentence-representations.appspot.com/o/data%2F"
_SENTEVAL = "https://dl.fbaipublicfiles.com/senteval/senteval_data"


def _glue(name: str, size: int, sha256: str, token: str | None = None) -> RemoteFile:
    mirrors = (f"{_FIRST_HOME}{name}?alt=media&token={token}",) if token else ()
    return RemoteFile(name, (f"{_OFFICIAL}/{name}", *mirrors), f"sha256:{sha256}", size)


def _senteval(name: str, size: int, sha256: str) -> RemoteFile:
    return RemoteFile(name, (f"{_SENTEVAL}/{name}",), f"sha256:{sha256}", size)


# Sizes and SHA-256 are those that Hugging Face's and TensorFlow's data set indices record for these addresses; those
# of AX.tsv and mrpc_dev_ids.tsv were also computed here from the files, the archives could not be fetched here.
# The mirror of a file is the address that GLUE had first; its QQP archive is another one than today's.
FILES: dict[str, tuple[RemoteFile, ...]] = {
    "cola": (
        _glue(
            "CoLA.zip", 376971, "f212fcd832b8f7b435fb991f101abf89f96b933ab400603bf198960dfc32cbff",
            "46d5e637-3411-4188-bc44-5809b5bfb5f4",
        ),
    ),
    "sst2": (
        _glue(
            "SST-2.zip", 7439277, "d67e16fb55739c1b32cdce9877596db1c127dc322d93c082281f64057c16deaa",
            "aabc5f6b-e466-44a2-b9b4-cf6337f84ac8",
        ),
    ),
    "mrpc": (
        _senteval(
            "msr_paraphrase_train.txt", 1047044, "60a9b09084528f0673eedee2b69cb941920f0b8cd0eeccefc464a98768457f89"
        ),
        _senteval(
            "msr_paraphrase_test.txt", 441275, "a04e271090879aaba6423d65b94950c089298587d9c084bf9cd7439bd785f784"
        ),
        _glue(
            "mrpc_dev_ids.tsv", 6222, "971d7767d81b997fd9060ade0ec23c4fc31cbb226a55d1bd4a1bac474eb81dc7",
            "ec5c0836-31d5-48f4-b431-7480817f1adc",
        ),
    ),
    "stsb": (
        _glue(
            "STS-B.zip", 802872, "e60a6393de5a8b5b9bac5020a1554b54e3691f9d600b775bd131e613ac179c85",
            "bddb94a7-8706-4e0d-a694-1109e12273b5",
        ),
    ),
    "qqp": (_glue("QQP-clean.zip", 41696084, "40e7c862c04eb26ee04b67fd900e76c45c6ba8e6d8fab4f8f1f8072a1a3fbae0"),),
    "mnli": (
        _glue(
            "MNLI.zip", 312783507, "e7c1d896d26ed6caf700110645df426cc2d8ebf02a5ab743d5a5c68ac1c83633",
            "50329ea1-e339-40e2-809c-10c40afff3ce",
        ),
    ),
    "qnli": (
        _glue(
            "QNLIv2.zip", 10627589, "e634e78627a29adaecd4f955359b22bf5e70f2cbd93b493f2d624138a0c0e5f5",
            "6fdcf570-0fc5-4631-8456-9505272d1601",
        ),
    ),
    "rte": (
        _glue(
            "RTE.zip", 697150, "6bf86de103ecd335f3441bd43574d23fef87ecc695977a63b82d5efb206556ee",
            "5efa7e85-a0bb-4f19-8ea2-9e1840f077fb",
        ),
    ),
    "wnli": (
        _glue(
            "WNLI.zip", 28999, "ae0e8e4d16f4d46d4a0a566ec7ecceccfd3fbfaa4a7a4b4e02848c0f2561ac46",
            "068ad0a0-ded7-4bd7-99a5-5e00222e0faf",
        ),
    ),
    "ax": (_glue("AX.tsv", 222257, "0e13510b1bb14436ff7e2ee82338f0efb0133ecf2e73507a697dc210db3f05fd"),),
}  # fmt: skip


def fetch_task(task: Task, folder: str | Path, *, progress: bool = True) -> Path:
    """Return the folder of a task's official files below ``folder``, downloading what is not there.

    Args:
        task: from ``mobilebert.data.glue.tasks.TASKS``.
        folder: holds one folder a task, named as GLUE names it.
        progress: show a bar on standard error.

    Raises:
        InputError: no address gave a file with the right checksum, or an archive lacks a member.
    """
    target = Path(folder) / task.folder
    for file in FILES[task.name]:
        if not file.name.endswith(".zip"):
            fetch(file, target, progress=progress)
            continue
        wanted = {names[0] for names in task.splits.values()}
        missing = sorted(name for name in wanted if not (target / name).exists())
        if not missing:
            continue
        archive = fetch(file, target, progress=progress)
        for name in missing:
            extract(archive, f"{task.folder}/{name}", target / name)
        archive.unlink()  # MNLI's is 300 MB; the extracted files are what is read
    return target
