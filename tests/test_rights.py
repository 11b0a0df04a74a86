"""Who may do what: on a laptop everybody everything, on a public page everybody compares and flags."""

from __future__ import annotations

import pytest

from explorer import rights
from explorer.rights import NOBODY, NotAllowed, Person
from explorer.settings import Settings

SPACE = {"SYSTEM": "spaces", "SPACE_AUTHOR_NAME": "Ana", "OAUTH_CLIENT_ID": "id"}
STRANGER, ANA, BEN = Person(visitor="v"), Person("ana"), Person("ben")


@pytest.mark.parametrize("act", [*rights.OWNERS, *rights.VISITORS])
def test_on_a_laptop_everybody_may_do_everything(act):
    assert rights.from_environment({}).may(NOBODY, act)


@pytest.mark.parametrize("act", rights.VISITORS)
def test_on_a_public_page_everybody_compares_and_flags(act):
    assert rights.from_environment(SPACE).may(STRANGER, act)


@pytest.mark.parametrize("act", rights.OWNERS)
def test_on_a_public_page_only_the_author_and_those_listed_do_the_rest(act):
    rules = rights.from_environment({**SPACE, "EXPLORER_OWNERS": "Carla, ,dora"})
    assert all(rules.may(Person(name), act) for name in ("ana", "ANA", "carla", "Dora"))
    assert not any(rules.may(person, act) for person in (NOBODY, STRANGER, BEN, Person("")))


def test_off_a_space_nobody_is_an_owner_by_saying_so():
    rules = rights.from_environment({"EXPLORER_PUBLIC": "1", "EXPLORER_OWNERS": "ana", "SPACE_AUTHOR_NAME": "ana"})
    assert rules.public and not rules.may(ANA, "train")


def test_a_space_is_public_unless_told_otherwise():
    assert Settings.from_environment(SPACE).public
    assert not Settings.from_environment({**SPACE, "EXPLORER_PUBLIC": "0"}).public
    assert not Settings.from_environment({}).public


@pytest.mark.parametrize(("person", "says"), [(STRANGER, "sign in"), (BEN, "ben can compare and flag here")])
def test_a_closed_door_says_what_to_do_instead(person, says):
    with pytest.raises(NotAllowed, match=says) as told:
        rights.from_environment(SPACE).check(person, "train")
    assert "duplicate this Space" in str(told.value) and "on your machine" in str(told.value)


def test_an_act_nobody_has_heard_of_is_a_mistake_in_the_program_and_not_allowed():
    for rules in (rights.from_environment({}), rights.from_environment(SPACE)):
        with pytest.raises(KeyError):
            rules.may(ANA, "everything")
