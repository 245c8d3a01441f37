"""The clock on the wall of a simulated host, for those that ask for a date: `datetime.now`, ``time.gmtime``.

They ask the machine in C, past ``time.time``. The classes that stand in for `datetime.datetime` and `datetime.date`
make what they stand for, so that nothing of them is left in the values.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_Datetime = datetime.datetime
_Date = datetime.date


def _let_libraries_see_the_usual_classes() -> None:
    """Have cryptography ask for `datetime.datetime` now: it does so once, in Rust, at first use, and keeps what it got.

    What it got while something stood in would count nothing else as a date, then and ever after.
    """
    now = _Datetime.now(datetime.UTC)
    crl = x509.CertificateRevocationListBuilder().issuer_name(x509.Name([])).last_update(now).next_update(now)
    crl.sign(Ed25519PrivateKey.generate(), None)


_let_libraries_see_the_usual_classes()


class _StandsFor(type):
    """Of a class that counts as the one it stands for; classes derived from it count as themselves."""

    def __call__(cls, *args: Any, **options: Any) -> Any:
        usual = cls.__bases__[0]
        return usual(*args, **options) if usual in (_Datetime, _Date) else super().__call__(*args, **options)

    def __instancecheck__(cls, instance: object) -> bool:
        usual = cls.__bases__[0]
        return isinstance(instance, usual) if usual in (_Datetime, _Date) else super().__instancecheck__(instance)

    def __subclasscheck__(cls, other: type) -> bool:
        usual = cls.__bases__[0]
        return issubclass(other, usual) if usual in (_Datetime, _Date) else super().__subclasscheck__(other)


def stand_ins(wall: Callable[[], float]) -> list[tuple[object, str, object]]:
    """Return what to exchange: an object, the name of an attribute, and what to put there.

    Args:
        wall: Seconds since 1970.
    """

    class Datetime(_Datetime, metaclass=_StandsFor):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return super().fromtimestamp(wall(), tz)

        @classmethod
        def utcnow(cls) -> Any:
            return super().fromtimestamp(wall(), datetime.UTC).replace(tzinfo=None)

        @classmethod
        def today(cls) -> Any:
            return super().fromtimestamp(wall())

    class Date(_Date, metaclass=_StandsFor):
        @classmethod
        def today(cls) -> Any:
            return super().fromtimestamp(wall())

    for stand_in, usual in ((Datetime, _Datetime), (Date, _Date)):
        stand_in.__name__, stand_in.__qualname__, stand_in.__module__ = usual.__name__, usual.__name__, "datetime"
    return [
        (datetime, "datetime", Datetime),
        (datetime, "date", Date),
        *((time, name, _of_now(getattr(time, name), wall)) for name in ("gmtime", "localtime", "ctime")),
        (time, "asctime", _formatting(time.asctime, wall)),
        (time, "strftime", _formatting(time.strftime, wall)),
    ]


def _of_now(usual: Callable[..., Any], wall: Callable[[], float]) -> Callable[..., Any]:
    return lambda seconds=None: usual(wall() if seconds is None else seconds)


def _formatting(usual: Callable[..., str], wall: Callable[[], float]) -> Callable[..., str]:
    def formatted(*args: Any) -> str:
        return usual(*args) if args and not isinstance(args[-1], str) else usual(*args, _localtime(wall()))

    return formatted


_localtime = time.localtime
