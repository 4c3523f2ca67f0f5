"""What a text message says about being texted: out, start, help, nothing, or: let somebody look.

Pure and deterministic. The rules are data, a file per language under ``words``, each with the
source that it rests on. Nothing here knows a provider, a tenant's database or HTTP.
"""

from prefs.keywords.reading import (
    LONGEST,
    VERSION,
    BadRules,
    Reading,
    Says,
    read,
    source_of,
    yes_in,
)
from prefs.keywords.spelling import normal

__all__ = [
    "LONGEST",
    "VERSION",
    "BadRules",
    "Reading",
    "Says",
    "normal",
    "read",
    "source_of",
    "yes_in",
]
