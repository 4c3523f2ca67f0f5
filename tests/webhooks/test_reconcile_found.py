"""A run over Twilio's list that was told a wrong time loses nothing."""

import pytest

from prefs import progress
from prefs.installation import Installation
from prefs.policy import written
from tests.conftest import Clock
from tests.webhooks.test_reconcile import (
    DAY,
    HOUR,
    MINUTE,
    Run,
    cursor,
    hook,
    is_out,
    linked,
    now,
    reconcile,
    slept,
    twilio_api,
)
from tests.webhooks.twilio_api import ACCOUNT, TwilioApi

__all__ = ["hook", "linked", "reconcile", "slept", "twilio_api"]

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_a_first_run_told_to_begin_in_the_future_keeps_no_later_run_from_hearing(
    reconcile: Run, twilio_api: TwilioApi, linked: Installation, clock: Clock
) -> None:
    reconcile(since=clock() + 365 * DAY)
    clock.forward(minutes=10)
    twilio_api.lists("STOP", clock() - 5 * MINUTE)
    reconcile()
    assert is_out(linked)


def test_a_run_while_our_clock_was_ahead_keeps_no_later_run_from_hearing(
    reconcile: Run, twilio_api: TwilioApi, linked: Installation, clock: Clock
) -> None:
    tenant = now(linked)
    with linked.database.writing() as connection:
        progress.move(connection, tenant.id, cursor(ACCOUNT), written(clock() + 30 * DAY))
    twilio_api.lists("STOP", clock() - HOUR // 2)
    reconcile()
    assert is_out(linked)
