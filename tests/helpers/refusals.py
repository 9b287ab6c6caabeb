"""The one line with which a call of the library is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from featvis.errors import FeatvisError


def refusal(call: Callable[..., object], *arguments: Any, **options: Any) -> str:
    """The message of the FeatvisError that this call raises, which must be one line."""
    with pytest.raises(FeatvisError) as caught:
        call(*arguments, **options)
    message = str(caught.value)
    assert message
    assert "\n" not in message
    return message


def answer_or_line(call: Callable[..., object], *arguments: Any, **options: Any) -> object:
    """What a call gives, or the one line with which it refuses; anything else is raised."""
    try:
        return call(*arguments, **options)
    except FeatvisError as error:
        message = str(error)
    assert "\n" not in message
    return message
