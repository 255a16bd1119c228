"""The content business's checking account, as tables: what comes every month, every quarter, and once."""

from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal

COLUMNS = ["id", "posted_on", "description", "amount_usd", "balance_usd"]

# Varying payouts, January 2021 to December 2022: day, description, one amount a month.
PAYOUTS = [
    (21, "GOOGLE ADSENSE PAYOUT",
     "3912.44 3540.18 3871.02 4105.67 4288.91 4410.35 4377.20 4502.88 4689.13 4951.76 5630.09 6218.55 "
     "4120.37 3988.61 4402.95 4519.40 4633.72 4580.16 4498.83 4611.09 4720.54 4886.27 5511.60 5940.12"),
    (7, "PATREON INC PAYOUT",
     "812.30 824.15 851.77 866.02 880.40 912.66 930.18 948.95 955.20 981.34 1004.81 1022.47 "
     "1041.09 1036.52 1058.73 1077.15 1090.62 1084.38 1102.94 1118.27 1125.70 1143.08 1160.55 1171.92"),
]  # fmt: skip

# description, first, last, every (months), day, amount
REGULAR = """
CLOUDHOST SERVERS                     2021-01  2021-12   1  05    -48.00
CLOUDHOST SERVERS                     2022-01  2022-12   1  05    -56.00
ADOBE CREATIVE CLOUD                  2021-01  2022-12   1  12    -54.99
VERIZON PHONE AND INTERNET            2021-01  2022-12   1  16   -139.98
GUSTO CONTRACTOR PMT VIDEO EDITOR     2021-01  2021-12   1  25   -600.00
GUSTO CONTRACTOR PMT VIDEO EDITOR     2022-01  2022-12   1  25   -675.00
ONLINE TRANSFER TO HOUSEHOLD CHECKING 2021-02  2022-12   1  27  -3900.00
HISCOX BUSINESS INSURANCE             2021-01  2022-12   3  06   -126.40
STRIPE PROCESSING FEES                2021-03  2022-12   3  28    -97.35
SPONSORSHIP ACH CREDIT                2021-02  2022-11   3  18   3500.00
DOMAIN REGISTRAR RENEWAL              2021-04  2022-12  12  13    -38.34
STOCK FOOTAGE LIBRARY YEARLY PLAN     2021-05  2022-12  12  18   -299.00
CITY BUSINESS LICENSE RENEWAL         2021-01  2022-12  12  20    -75.00
ACCOUNTING FIRM RETURN PREPARATION    2021-03  2022-12  12  24   -450.00
"""

# day, amount, description
ONCE = """
2021-01-04   6000.00  ONLINE TRANSFER FROM HOUSEHOLD CHECKING
2021-01-28   -219.99  B&H PHOTO MICROPHONE
2021-03-09    -64.18  RESTAURANT BISTRO CLIENT LUNCH
2021-04-15  -2500.00  IRS USATAXPYMT ESTIMATED TAX
2021-04-15   -500.00  STATE TAX PAYMENT ESTIMATED
2021-05-12    -15.00  BANK WIRE FEE
2021-06-15  -2500.00  IRS USATAXPYMT ESTIMATED TAX
2021-06-15   -500.00  STATE TAX PAYMENT ESTIMATED
2021-08-11   -389.00  B&H PHOTO LIGHTING KIT
2021-09-15  -2500.00  IRS USATAXPYMT ESTIMATED TAX
2021-09-15   -500.00  STATE TAX PAYMENT ESTIMATED
2021-10-14    -42.75  STAPLES OFFICE PAPER AND INK
2021-11-04    -88.60  RESTAURANT GRILL SPONSOR DINNER
2021-12-08   -150.00  META ADS CHANNEL PROMOTION
2022-01-18  -2500.00  IRS USATAXPYMT ESTIMATED TAX
2022-01-18   -500.00  STATE TAX PAYMENT ESTIMATED
2022-02-10   -380.00  CHECK 1043
2022-03-15  -3498.00  B&H PHOTO CAMERA BODY
2022-03-17   -649.00  B&H PHOTO LENS
2022-04-18  -3000.00  IRS USATAXPYMT ESTIMATED TAX
2022-04-18   -600.00  STATE TAX PAYMENT ESTIMATED
2022-05-05   -325.00  CREATOR CONFERENCE REGISTRATION
2022-05-19   -412.60  DELTA AIR LINES
2022-06-15  -3000.00  IRS USATAXPYMT ESTIMATED TAX
2022-06-15   -600.00  STATE TAX PAYMENT ESTIMATED
2022-06-23    -72.45  RESTAURANT TAQUERIA CONFERENCE DINNER
2022-06-24    -31.20  RESTAURANT CAFE CONFERENCE BREAKFAST
2022-06-27   -684.12  MARRIOTT HOTEL
2022-07-12   -200.00  META ADS CHANNEL PROMOTION
2022-08-04    240.00  ACH CREDIT REF 88213
2022-08-17   -118.64  B&H PHOTO MEMORY CARDS
2022-09-08    -36.90  STAPLES OFFICE LABELS
2022-09-15  -3000.00  IRS USATAXPYMT ESTIMATED TAX
2022-09-15   -600.00  STATE TAX PAYMENT ESTIMATED
2022-09-22    -57.13  POS PURCHASE 4471 MARKETPLACE
2022-10-05    -15.00  BANK WIRE FEE
2022-10-12    -59.85  RESTAURANT BISTRO CLIENT LUNCH
2022-11-09   -279.00  B&H PHOTO TRIPOD
2022-12-06   -150.00  META ADS CHANNEL PROMOTION
"""


def lines(session: Callable[[str, int], date]) -> Iterator[list[str]]:
    """The account's lines with a running balance; `session(month, day)` is the first open day from it on."""
    posted = []
    for day, text, amounts in PAYOUTS:
        for n, amount in enumerate(amounts.split()):
            posted.append((session(f"{2021 + n // 12}-{n % 12 + 1:02}", day), text, amount))
    for line in REGULAR.strip().splitlines():
        text, first, last, every, due, amount = line.rsplit(maxsplit=5)
        start, end = (int(month[:4]) * 12 + int(month[5:]) - 1 for month in (first, last))
        for n in range(start, end + 1, int(every)):
            posted.append((session(f"{n // 12}-{n % 12 + 1:02}", int(due)), text, amount))
    for line in ONCE.strip().splitlines():
        on, amount, text = line.split(maxsplit=2)
        posted.append((date.fromisoformat(on), text, amount))
    balance = Decimal(0)
    for n, (at, text, amount) in enumerate(sorted(posted, key=lambda row: row[0]), start=1):
        balance += Decimal(amount)
        yield [f"B-{n:04}", at.isoformat(), text, amount, f"{balance}"]
