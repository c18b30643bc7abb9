"""The list of families."""

from __future__ import annotations

import pytest

from jobs import families, family
from jobs.tracking.family import Tracking


def test_every_kind_leads_to_its_family_and_table() -> None:
    for own in families.FAMILIES:
        for kind in own.kinds:
            assert families.BY_KIND[kind.name] == (own, kind)
            assert families.KINDS[kind.name] is kind
            assert own.owns(kind.name)
            assert own.table(kind.name) in own.facts
        assert not own.owns("nobody.knows")


def test_a_kind_that_stands_twice_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"interaction\.recorded stands twice"):
        family.index((Tracking(), Tracking()))


def test_two_fact_tables_never_share_a_name() -> None:
    tables = [facts.table for own in families.FAMILIES for facts in own.facts]
    assert len(tables) == len(set(tables))
