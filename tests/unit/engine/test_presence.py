"""When silence counts as loss: promise 2."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from argosy.engine.presence import (
    Verdict,
    judge,
    silence_needed,
    silence_to_end,
    stop_within,
)
from argosy.model.ids import MachineId
from argosy.model.silence import MARGIN, SHORTEST_STOP
from argosy.model.unit import Requirements, WhenCutOff
from argosy.settings import PresenceSettings

SETTINGS = PresenceSettings()
LONG = timedelta(hours=1)
M = [MachineId(f"{number:032x}") for number in range(12)]


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def verdict(
    absent_for: Mapping[MachineId, timedelta],
    *,
    hosting: list[MachineId] = M,
    limits: Mapping[MachineId, set[timedelta]] | None = None,
    known_braked: frozenset[MachineId] = frozenset(),
    known_lost: frozenset[MachineId] = frozenset(),
    trusted_for: timedelta = LONG,
) -> Verdict:
    return judge(
        absent_for=absent_for,
        hosting={machine: {SETTINGS.lost_after} for machine in hosting} | dict(limits or {}),
        known_lost=known_lost,
        known_braked=known_braked,
        trusted_for=trusted_for,
        settings=SETTINGS,
    )


def test_a_machine_is_lost_twenty_seconds_after_its_last_heartbeat() -> None:
    # Its lease took the first nine of them.
    assert verdict({M[0]: seconds(10.9)}).lost == frozenset()
    assert verdict({M[0]: seconds(11)}).lost == {M[0]}


def test_the_engine_looks_again_when_the_verdict_could_change() -> None:
    assert verdict({M[0]: seconds(4), M[1]: seconds(9)}).look_again_after == seconds(2)
    assert verdict({}).look_again_after is None


def test_a_new_leader_waits_a_full_window_before_it_believes_in_a_loss() -> None:
    early = verdict({M[0]: seconds(15)}, trusted_for=seconds(15))
    assert early == Verdict(lost=frozenset(), look_again_after=seconds(5))
    assert verdict({M[0]: seconds(20)}, trusted_for=seconds(20)).lost == {M[0]}


def test_nothing_moves_when_over_a_third_vanish_together() -> None:
    five = {machine: seconds(60) for machine in M[:5]}
    found = verdict(five)
    assert found.lost == frozenset()
    assert found.braked == set(five)


def test_a_third_is_not_over_a_third() -> None:
    four = {machine: seconds(60) for machine in M[:4]}
    assert verdict(four).lost == set(four)


def test_one_machine_of_two_may_be_lost() -> None:
    assert verdict({M[0]: seconds(60)}, hosting=M[:2]).lost == {M[0]}


def test_machines_that_died_one_after_the_other_do_not_brake() -> None:
    lost = frozenset(M[:7])
    absent = {machine: seconds(600) for machine in lost} | {M[8]: seconds(30)}
    assert verdict(absent, known_lost=lost).lost == lost | {M[8]}


def test_the_brake_lets_go_when_the_machines_come_back() -> None:
    few = {machine: seconds(60) for machine in M[:2]}
    assert verdict(few).lost == set(few)


def test_a_machine_that_is_back_is_not_lost() -> None:
    assert verdict({}, known_lost=frozenset(M[:1])).lost == frozenset()


def test_a_machine_that_hosts_nothing_is_lost_whatever_the_brake_says_of_others() -> None:
    silent = dict.fromkeys(M[:8], LONG)
    found = verdict(silent, hosting=M[1:])
    assert found.lost == {M[0]}
    assert found.braked == set(M[1:8])


def test_units_that_say_so_may_move_before_their_machine_is_lost_and_after() -> None:
    limits = {M[0]: {seconds(12), SETTINGS.lost_after, seconds(300)}}
    early = verdict({M[0]: seconds(3)}, limits=limits)
    assert early.silent == {M[0]: seconds(12)}
    assert early.lost == frozenset()
    assert early.look_again_after == seconds(8)
    lost = verdict({M[0]: seconds(11)}, limits=limits)
    assert lost.silent == {M[0]: seconds(20)}
    assert lost.lost == {M[0]}
    late = verdict({M[0]: seconds(291)}, limits=limits, known_lost=frozenset(M[:1]))
    assert late.silent == {M[0]: seconds(300)}
    assert late.look_again_after is None


def test_what_the_engine_before_believed_holds_until_this_one_can_judge() -> None:
    silent = dict.fromkeys(M[:6], seconds(1))
    found = verdict(
        silent,
        known_lost=frozenset(M[:1]),
        known_braked=frozenset(M[1:6]),
        trusted_for=seconds(1),
    )
    assert found.lost == {M[0]}
    assert found.silent == {M[0]: SETTINGS.lost_after}
    assert found.braked == set(M[1:6])


@given(
    st.one_of(st.none(), st.integers(1, 600).map(seconds)),
    st.sampled_from(WhenCutOff),
    st.builds(
        PresenceSettings,
        heartbeat_every=st.integers(1, 10).map(seconds),
        suspect_after=st.integers(3, 60).map(seconds),
        lost_after=st.integers(5, 120).map(seconds),
    ),
)
def test_a_unit_that_must_not_run_twice_has_ended_before_it_may_move(
    move_after: timedelta | None, when_cut_off: WhenCutOff, settings: PresenceSettings
) -> None:
    needs = Requirements(move_after=move_after, when_cut_off=when_cut_off)
    needed = silence_needed(needs, settings)
    within = stop_within(needs, settings)
    assert needed >= (move_after or settings.lost_after)
    assert (within is None) is (when_cut_off is WhenCutOff.KEEP)
    if within is not None:
        # A server answers for two thirds of its lease's life at most, and an agent counts from when it asked.
        assert settings.suspect_after * 2 / 3 + within + MARGIN == needed
        assert within / 3 >= SHORTEST_STOP
        assert within * 2 / 3 >= settings.heartbeat_every * 2
        assert silence_to_end(within.total_seconds(), settings) - needed < seconds(0.001)


@given(
    st.dictionaries(st.sampled_from(M), st.integers(0, 60).map(seconds)),
    st.frozensets(st.sampled_from(M)),
    st.integers(0, 60).map(seconds),
)
def test_no_more_than_a_third_is_ever_lost_in_one_verdict(
    absent_for: dict[MachineId, timedelta],
    known_lost: frozenset[MachineId],
    trusted_for: timedelta,
) -> None:
    found = verdict(absent_for, known_lost=known_lost, trusted_for=trusted_for)
    newly = found.lost - known_lost
    assert len(newly) <= max(1, len(M) / 3)
    assert found.lost <= absent_for.keys()
    assert not newly or trusted_for >= SETTINGS.patience
