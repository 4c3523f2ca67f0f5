"""One installation, opened: what every door and command has in its hands."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from prefs.database import Database, Unavailable
from prefs.directory import CurrentDirectory, is_prepared, prepare
from prefs.links import Links
from prefs.policy import Millis
from prefs.settings import BadSetting, Settings


def system_clock() -> Millis:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Installation:
    settings: Settings
    database: Database
    directory: CurrentDirectory
    links: Links
    clock: Callable[[], Millis]

    @classmethod
    def open(cls, settings: Settings, clock: Callable[[], Millis] = system_clock) -> "Installation":
        """Opens what ``settings`` name; without a database, with the directory last seen.

        Raises ``BadSetting`` if the digest secret is not the database's own.
        """
        database = Database(settings.database_url)
        try:
            with suppress(Unavailable):
                with database.reading() as connection:
                    prepared = is_prepared(connection, settings.digest_master)
                if not prepared:
                    with database.writing() as connection:
                        prepare(connection, settings.digest_master)
        except BadSetting:
            database.close()
            raise
        directory = CurrentDirectory(database, settings.digest_master, settings.snapshot)
        return cls(settings, database, directory, Links(settings.signing_keys), clock)
