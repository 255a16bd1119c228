"""The limit of an order: a little worse than the price that it was decided on, so that it fills, and no worse."""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

DOLLAR = Decimal(1)
TICK, SMALL_TICK = Decimal("0.01"), Decimal("0.0001")


def collar(side: str, price_usd: Decimal, rate: Decimal) -> Decimal:
    """The worst price that an order takes, on the tick that an exchange accepts.

    Law      17 CFR 242.612: quotes of a dollar or more in cents, below it in hundredths of a cent.
    Units    USD a share; rate is a fraction.
    Omits    the half-cent ticks of some securities: a cent is a multiple of them.

    >>> collar("buy", Decimal("100.01"), Decimal("0.02")), collar("sell", Decimal("100.01"), Decimal("0.02"))
    (Decimal('102.01'), Decimal('98.01'))
    >>> collar("sell", Decimal("0.50"), Decimal("0.001"))
    Decimal('0.4995')
    """
    if side == "buy":
        limit = price_usd * (1 + rate)
        return limit.quantize(TICK if limit >= DOLLAR else SMALL_TICK, ROUND_FLOOR)
    limit = price_usd * (1 - rate)
    return limit.quantize(TICK if limit >= DOLLAR else SMALL_TICK, ROUND_CEILING)
