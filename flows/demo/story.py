"""What the demo household did, as tables: who holds what, what was bought and sold, what was paid in.

Every row is an intention; `make` turns it into a row at that day's close. The default day is Friday
2022-10-14, so that orders fill on Monday 2022-10-17; what matters on that day is noted in the rows.
"""

SECURITIES = """
AAPL  Apple Inc.                  Information Technology
AMD   Advanced Micro Devices      Information Technology
BAC   Bank of America Corp.       Financials
BBY   Best Buy Co.                Consumer Discretionary
CVX   Chevron Corp.               Energy
GE    General Electric Co.        Industrials
HD    The Home Depot              Consumer Discretionary
JNJ   Johnson & Johnson           Health Care
JPM   JPMorgan Chase & Co.        Financials
KO    The Coca-Cola Company       Consumer Staples
LLY   Eli Lilly and Company       Health Care
MRK   Merck & Co.                 Health Care
MSFT  Microsoft Corp.             Information Technology
PEP   PepsiCo                     Consumer Staples
PFE   Pfizer                      Health Care
PG    Procter & Gamble            Consumer Staples
RRC   Range Resources Corp.       Energy
UNH   UnitedHealth Group          Health Care
WMT   Walmart                     Consumer Staples
XOM   Exxon Mobil Corp.           Energy
"""

# Each account and the letter its row ids begin with.
ACCOUNTS = {"taxable-fifo": "F", "taxable-picked": "P", "ira": "I", "roth-spouse": "R"}

# Money in and out: on the first session on or after `day`, every so many months from first to last.
# account, kind, first, last, every, day, dollars, note
CASH = """
taxable-fifo    deposit     2019-01  2019-01  1  02 114000  moved from a savings account
taxable-fifo    deposit     2019-02  2022-12  1  12   2300  monthly saving
taxable-fifo    fee         2021-03  2021-03  1  22     25  outgoing wire
taxable-fifo    withdrawal  2022-04  2022-04  1  14   6000  toward the income tax of 2021
taxable-picked  deposit     2019-01  2019-01  1  02 115000  moved from a savings account
taxable-picked  deposit     2019-02  2022-12  1  12   2850  monthly saving
ira             deposit     2019-01  2019-01  1  02 138000  rollover from a former employer's plan
ira             fee         2019-12  2022-12  12 12     30  custodian's yearly fee
roth-spouse     deposit     2019-01  2019-01  1  02  27000  moved from a Roth 401(k)
roth-spouse     deposit     2019-02  2022-12  1  12    500  nondeductible contribution, converted
"""

# Buying a little at a time, in dollars, on the first session on or after the 15th.
# account, symbol, first, last, every (months), dollars
PLANS = """
taxable-fifo    AAPL  2019-02  2020-12  2  1600
taxable-fifo    MSFT  2019-02  2020-06  2  1400
taxable-fifo    UNH   2019-03  2020-09  3  1600
taxable-fifo    LLY   2019-03  2020-12  3   900
taxable-fifo    JNJ   2019-02  2021-02  4  1800
taxable-fifo    MRK   2019-04  2021-04  4  1500
taxable-fifo    HD    2019-02  2019-10  2  3000
taxable-fifo    BBY   2019-02  2019-10  4  3000
taxable-fifo    KO    2019-03  2020-06  3  2000
taxable-fifo    PEP   2019-04  2020-10  3  1500
taxable-fifo    PG    2019-02  2020-05  3  1800
taxable-fifo    WMT   2019-03  2020-06  3  1700
taxable-fifo    CVX   2020-07  2021-07  2  1200
taxable-fifo    XOM   2020-05  2021-08  3  1200
taxable-picked  AAPL  2019-02  2020-10  2  1500
taxable-picked  MSFT  2019-03  2020-05  2  1200
taxable-picked  JPM   2020-04  2020-11  1  1900
taxable-picked  BAC   2020-05  2020-12  1  1000
taxable-picked  HD    2019-03  2019-09  3  2000
taxable-picked  BBY   2019-03  2019-09  3  2600
taxable-picked  UNH   2019-02  2020-08  3  1500
taxable-picked  LLY   2019-02  2020-11  3   900
taxable-picked  MRK   2019-05  2021-05  4  2000
taxable-picked  PFE   2020-01  2020-10  3  1700
taxable-picked  KO    2019-02  2020-02  3  1300
taxable-picked  PEP   2019-03  2020-06  3  1500
taxable-picked  PG    2019-04  2020-04  3  1700
taxable-picked  WMT   2019-02  2020-05  3  1500
taxable-picked  XOM   2020-04  2021-04  2  1300
taxable-picked  CVX   2020-05  2021-05  3  1500
ira             AAPL  2019-02  2019-08  3  2500
ira             MSFT  2019-02  2019-08  3  4000
ira             JPM   2019-03  2019-09  3  4000
ira             BAC   2019-03  2019-09  3  2500
ira             HD    2019-02  2019-08  3  3000
ira             XOM   2019-09  2020-01  2  5500
ira             CVX   2019-09  2020-01  2  3000
ira             UNH   2019-03  2019-09  3  3000
ira             JNJ   2019-03  2019-09  3  3000
ira             KO    2019-04  2019-10  3  3000
ira             PG    2019-04  2019-10  3  3000
ira             GE    2019-10  2020-08  5  5500
roth-spouse     AAPL  2019-02  2020-08  3  1000
roth-spouse     UNH   2019-03  2020-09  3   900
roth-spouse     LLY   2020-01  2020-10  3   700
roth-spouse     PEP   2019-02  2020-11  3   900
roth-spouse     WMT   2019-04  2020-07  3   900
roth-spouse     XOM   2020-10  2021-07  3  1200
roth-spouse     HD    2019-03  2019-12  3   900
roth-spouse     BAC   2020-03  2020-12  3   800
"""

# Single orders in whole shares. `lots` names purchases by day (`2021-11-16:25`: 25 shares of that day's).
# account, day, side, symbol, shares, lots or -, note
ORDERS = """
taxable-fifo    2019-03-15  buy   AMD    60  -  old lots: gains, and first in line under FIFO
taxable-fifo    2019-06-17  buy   AMD    40  -  old lots: gains, and first in line under FIFO
taxable-fifo    2019-07-01  buy   CVX   100  -  -
taxable-fifo    2020-03-12  sell  CVX   100  -  sold in the fall of the market
taxable-fifo    2020-04-06  buy   CVX   100  -  bought back 25 days later: a wash sale within the account
taxable-fifo    2021-06-01  buy   BAC   200  -  the oldest lot: a loss that FIFO reaches
taxable-fifo    2021-11-01  buy   JPM    60  -  the only lot: a loss the Roth IRA's purchase spoils
taxable-fifo    2021-11-16  sell  MSFT   30  -  long-term gain, across several lots
taxable-fifo    2021-11-16  buy   AMD    30  -  new lots: losses that FIFO does not reach
taxable-fifo    2021-11-30  buy   RRC   200  -  -
taxable-fifo    2022-02-08  buy   MRK   100  -  -
taxable-fifo    2022-03-29  buy   AMD    30  -  new lots: losses that FIFO does not reach
taxable-fifo    2022-06-07  sell  RRC   200  -  short-term gain
taxable-fifo    2022-06-21  buy   WMT    60  -  -
taxable-fifo    2022-07-14  buy   BAC   200  -  -
taxable-picked  2021-01-11  buy   AMD    60  -  -
taxable-picked  2021-05-14  sell  AMD    60  2021-01-11:60  a loss that the IRA's purchase takes for good
taxable-picked  2021-06-01  buy   PG     20  -  a small loss, below both thresholds
taxable-picked  2021-08-17  sell  AAPL   60  2019-02-15:20;2019-04-15:20;2019-06-17:20  long-term, three lots
taxable-picked  2021-10-26  buy   GE     65  -  a loss without a peer
taxable-picked  2021-11-16  buy   MSFT   25  -  a loss, clean
taxable-picked  2021-12-28  buy   HD     40  -  a loss, clean
taxable-picked  2022-01-04  buy   MSFT   20  -  a loss, clean
taxable-picked  2022-02-08  buy   BAC   250  -  a loss, clean
taxable-picked  2022-03-22  buy   HD     60  -  -
taxable-picked  2022-04-26  buy   KO    150  -  a loss, clean
taxable-picked  2022-06-08  sell  XOM    50  2020-04-15:30;2020-06-15:20  long-term gain
taxable-picked  2022-06-14  sell  HD     60  2022-03-22:60  a loss, half of it washed
taxable-picked  2022-06-16  buy   AAPL   60  -  -
taxable-picked  2022-06-21  buy   LLY    25  -  -
taxable-picked  2022-06-28  buy   HD     30  -  the rebuy: a gain at cost, a loss once adjusted for the wash
taxable-picked  2022-08-16  buy   PEP    70  -  -
taxable-picked  2022-09-30  sell  PEP    70  2022-08-16:70  a loss: PEP may not be bought before 2022-10-31
taxable-picked  2022-10-03  buy   MRK    80  -  -
ira             2021-02-16  buy   RRC   400  -  -
ira             2021-05-24  buy   AMD    60  -  ten days after the loss sale: that loss is gone for good
roth-spouse     2022-09-26  buy   JPM    60  -  spoils the JPM loss in the joint account
roth-spouse     2022-10-28  buy   LLY     4  -  after the default day
"""

# Declared per share: symbol, ex-dividend day, payment day, dollars.
DIVIDENDS = """
KO    2021-03-12  2021-04-01  0.42
KO    2021-06-14  2021-07-01  0.42
KO    2021-09-14  2021-10-01  0.42
KO    2021-11-30  2021-12-15  0.42
KO    2022-03-14  2022-04-01  0.44
KO    2022-06-14  2022-07-01  0.44
KO    2022-09-15  2022-10-03  0.44
KO    2022-11-30  2022-12-15  0.44
MSFT  2021-02-17  2021-03-11  0.56
MSFT  2021-05-19  2021-06-10  0.56
MSFT  2021-08-18  2021-09-09  0.56
MSFT  2021-11-17  2021-12-09  0.62
MSFT  2022-02-16  2022-03-10  0.62
MSFT  2022-05-18  2022-06-09  0.62
MSFT  2022-08-17  2022-09-08  0.62
MSFT  2022-11-16  2022-12-08  0.68
JPM   2021-01-05  2021-02-01  0.90
JPM   2021-04-05  2021-04-30  0.90
JPM   2021-07-02  2021-08-02  0.90
JPM   2021-10-05  2021-11-01  1.00
JPM   2022-01-05  2022-01-31  1.00
JPM   2022-04-05  2022-05-02  1.00
JPM   2022-07-05  2022-08-01  1.00
JPM   2022-10-05  2022-10-31  1.00
XOM   2021-02-09  2021-03-10  0.87
XOM   2021-05-12  2021-06-10  0.87
XOM   2021-08-12  2021-09-10  0.87
XOM   2021-11-10  2021-12-10  0.88
XOM   2022-02-09  2022-03-10  0.88
XOM   2022-05-12  2022-06-10  0.88
XOM   2022-08-11  2022-09-09  0.88
XOM   2022-11-14  2022-12-09  0.91
PG    2021-01-21  2021-02-16  0.7907
PG    2021-04-22  2021-05-17  0.8698
PG    2021-07-22  2021-08-16  0.8698
PG    2021-10-21  2021-11-15  0.8698
PG    2022-01-20  2022-02-15  0.8698
PG    2022-04-21  2022-05-16  0.9133
PG    2022-07-21  2022-08-15  0.9133
PG    2022-10-20  2022-11-15  0.9133
"""

# Yearly rate of the money-market sweep in each month of 2022, paid on the first session on or after the 13th.
SWEEP = {
    1: "0.0001", 2: "0.0001", 3: "0.0010", 4: "0.0025", 5: "0.0050", 6: "0.0080",
    7: "0.0120", 8: "0.0170", 9: "0.0200", 10: "0.0250", 11: "0.0310", 12: "0.0350",
}  # fmt: skip

# The fee on sales under Section 31 of the Exchange Act, dollars per million, from each day on.
SECTION_31 = {"2019-04-16": "20.70", "2020-02-18": "22.10", "2021-02-25": "5.10", "2022-05-14": "22.90"}
