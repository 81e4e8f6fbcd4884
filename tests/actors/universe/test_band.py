"""Bands of space, as the game divides it."""

import pytest

from actors.universe.band import shown_security, space_band

FORGE, POCHVEN, WORMHOLES, ABYSS = 10_000_002, 10_000_070, 11_000_001, 12_000_005


@pytest.mark.parametrize(
    ("security_status", "band"),
    [
        (1.0, "high"),
        (0.45, "high"),
        (0.449999, "low"),
        (0.05, "low"),
        (0.0001, "low"),
        (0.0, "null"),
        (-0.0001, "null"),
        (-1.0, "null"),
    ],
)
def test_known_space_is_divided_by_the_security_that_the_game_shows(
    security_status: float, band: str
) -> None:
    assert space_band(FORGE, security_status) == band


@pytest.mark.parametrize(
    ("region_id", "band"), [(POCHVEN, "pochven"), (WORMHOLES, "wormhole"), (ABYSS, "abyssal")]
)
@pytest.mark.parametrize("security_status", [-1.0, 0.9])
def test_other_space_is_told_by_its_region(
    region_id: int, band: str, security_status: float
) -> None:
    assert space_band(region_id, security_status) == band


def test_void_has_no_band_of_its_own() -> None:
    """As the filter's description says."""
    assert space_band(14_000_005, -0.99) == "null"


@pytest.mark.parametrize(
    ("security_status", "shown"),
    [(0.945913, 0.9), (0.95, 1.0), (0.25, 0.3), (0.01, 0.1), (0.0, 0.0), (-0.05, 0.0), (-0.99, -1)],
)
def test_security_is_rounded_as_shown(security_status: float, shown: float) -> None:
    assert shown_security(security_status) == pytest.approx(shown)
