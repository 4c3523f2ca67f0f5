"""The sentences that people read, taken from templates and code, and the catalogues of them."""

import sys
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from prefs import languages

ROOT = Path(__file__).parent.parent
WHERE = [("web/templates/docs.html", "ignore"), ("**.html", "jinja2.ext:babel_extract")]
KEYWORDS: dict[str, None] = dict.fromkeys(("say", "N_", "_", "gettext"))


def said() -> Catalog:
    """Every sentence, with where it is said."""
    found = Catalog()
    for file, line, sentence, _, _ in extract_from_dir(
        ROOT / "prefs",
        method_map=[*WHERE, ("**.py", "python")],
        keywords=KEYWORDS,
    ):
        found.add(sentence, locations=[(f"prefs/{file}", line)])
    return found


def catalogue(code: str) -> Catalog:
    file = languages.HERE / f"{code}.po"
    if not file.exists():
        return Catalog(locale=code)
    with file.open("rb") as stream:
        return read_po(stream, locale=code)


def main(new: list[str]) -> None:
    sentences = said()
    for code in sorted({*languages.ALL, *new} - {languages.DEFAULT}):
        kept = catalogue(code)
        whole = Catalog(locale=code)
        for message in sentences:
            if message.id:
                before = kept.get(message.id)
                whole.add(message.id, before.string if before else "")
        with (languages.HERE / f"{code}.po").open("wb") as file:
            write_po(file, whole, width=100, no_location=True, omit_header=True)
        missing = [m.id for m in whole if m.id and not m.string]
        print(f"{code}: {len(missing)} to translate", *missing[:5], sep="\n  ")


if __name__ == "__main__":
    main(sys.argv[1:])
