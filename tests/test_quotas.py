"""How much one person, and all together, may ask of a public page."""

from __future__ import annotations

import pytest

from explorer.quotas import AT_ONCE, FULL_ROOM, HOUR, LIMITS, Disk, Limit, OverQuota, Quotas, size_of


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def quotas(clock) -> Quotas:
    return Quotas(True, {"flag": Limit("flags", 3, 5, HOUR), "photo": LIMITS["photo"]}, clock)


def test_one_person_has_their_share_and_no_more(quotas):
    for _ in range(3):
        quotas.take("flag", "ana")
    with pytest.raises(OverQuota, match="3 flags an hour"):
        quotas.take("flag", "ana")
    quotas.take("flag", "ben")


def test_all_together_have_a_share_as_well(quotas):
    quotas.take("flag", "ana", 3)
    quotas.take("flag", "ben", 2)
    with pytest.raises(OverQuota, match="all together"):
        quotas.take("flag", "carla")


def test_what_is_refused_is_not_counted(quotas):
    with pytest.raises(OverQuota):
        quotas.take("flag", "ana", 4)
    quotas.take("flag", "ana", 3)


def test_a_share_comes_back_with_time_and_what_is_old_is_forgotten(quotas, clock):
    quotas.take("flag", "ana", 3)
    clock.now = HOUR + 1
    quotas.take("flag", "ana", 3)
    clock.now = 3 * HOUR
    quotas.take("flag", "ben")
    assert ("flag", "by ben") in quotas.taken and sum(map(len, quotas.taken.values())) == 3


def test_long_work_is_one_at_a_time_for_a_person_and_ends_with_an_error_too(quotas):
    with pytest.raises(RuntimeError), quotas.turn("photo", "ana"):
        with pytest.raises(OverQuota, match="already"), quotas.turn("photo", "ana"):
            pass
        with quotas.turn("photo", "ben"):
            pass
        raise RuntimeError
    with quotas.turn("photo", "ana"):
        pass


def test_long_work_of_all_is_bounded(quotas):
    names = [str(number) for number in range(AT_ONCE["photo"][2])]
    turns = [quotas.turn("photo", name) for name in names]
    for turn in turns:
        turn.__enter__()
    with pytest.raises(OverQuota, match="Others wait"), quotas.turn("photo", "one more"):
        pass
    for turn in turns:
        turn.__exit__(None, None, None)


def test_a_laptop_counts_nothing():
    quotas = Quotas(False)
    for _ in range(10_000):
        quotas.take("flag", "ana")
    with quotas.turn("photo", "ana"), quotas.turn("photo", "ana"):
        assert not quotas.taken


def test_a_full_disk_is_told_before_more_comes(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 600)
    (tmp_path / "link").symlink_to("/etc")
    disk = Disk(2000, tmp_path)
    assert 600 <= size_of(tmp_path) < 1000
    disk.check(1000)
    with pytest.raises(OverQuota, match="disk of this public page is full"):
        disk.check(1000)


def test_a_private_room_has_its_share_of_the_disk_and_says_whose_is_full(tmp_path):
    (tmp_path / "run").write_bytes(b"x" * 1500)
    with pytest.raises(OverQuota, match="Your private room is full: delete a run or a dataset"):
        Disk(1000, tmp_path, full=FULL_ROOM).check()
