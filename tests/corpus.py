"""The labelled texts in ``tests/texts``, and how well the rules read them: bin/corpus.

``seen`` was at hand when the rules were written. ``unseen`` was written by people who did not
know the rules, and nobody who wrote rules has looked at it: its figures are the honest ones, of
those texts that are not among the seen ones too.
"""

import csv
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from prefs import keywords
from prefs.keywords import Says
from prefs.keywords.spelling import normal

TEXTS = Path(__file__).parent / "texts"


class Labelled(NamedTuple):
    """One text, and what people who speak the language say that it says."""

    language: str
    says: Says
    text: str
    source: str


class Measured(NamedTuple):
    """Of the outs: how many of those told were right, how many of all were told, and how many
    were told or held for somebody to read."""

    texts: int
    precision: float
    recall: float
    held: float
    right: float
    wrong: list[tuple[Labelled, Says]]


def texts(part: str) -> Iterator[Labelled]:
    """The texts of ``seen``, or those of ``unseen`` that do not stand in ``seen`` as well.

    Whoever writes such texts hits upon some of the same ones. Of those no figure tells anything.
    """
    seen = {normal(one.text) for one in _labelled("seen")} if part == "unseen" else set()
    return (one for one in _labelled(part) if normal(one.text) not in seen)


def _labelled(part: str) -> Iterator[Labelled]:
    for path in sorted((TEXTS / part).glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                yield Labelled(path.stem, Says(row["says"]), row["text"], row["source"])


def measured(labelled: Iterable[Labelled]) -> Measured:
    found: Counter[str] = Counter()
    wrong: list[tuple[Labelled, Says]] = []
    for one in labelled:
        says = keywords.read(one.text).says
        found["texts"] += 1
        found["right"] += says is one.says
        found["told"] += says is Says.OUT
        found["outs"] += one.says is Says.OUT
        found["hits"] += says is one.says is Says.OUT
        found["held"] += one.says is Says.OUT and says in (Says.OUT, Says.REVIEW)
        if says is not one.says:
            wrong.append((one, says))
    return Measured(
        found["texts"],
        found["hits"] / (found["told"] or 1),
        found["hits"] / (found["outs"] or 1),
        found["held"] / (found["outs"] or 1),
        found["right"] / (found["texts"] or 1),
        wrong,
    )


def main() -> None:
    """Prints the figures per language; with ``--wrong seen``, each text read otherwise."""
    wrong = sys.argv[2:3] if sys.argv[1:2] == ["--wrong"] else []
    print(f"rules {keywords.VERSION}\n")
    for part in ("seen", "unseen"):
        all_of_it = list(texts(part))
        print(f"{part:10} texts  out: precision  recall  heard or held   all five: right")
        for language in [*sorted({one.language for one in all_of_it}), "all"]:
            mine = [one for one in all_of_it if language in ("all", one.language)]
            m = measured(mine)
            figures = f"{m.precision:14.1%}  {m.recall:6.1%}  {m.held:13.1%}  {m.right:15.1%}"
            print(f"  {language:8} {m.texts:5}  {figures}")
            if part in wrong and language != "all":
                for one, says in m.wrong:
                    print(f"      {one.says} read as {says}: {one.text!r}")
        print()


if __name__ == "__main__":
    main()
