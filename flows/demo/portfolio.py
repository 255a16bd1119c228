"""The demo household's `portfolio.toml`, as text."""

PORTFOLIO = """\
# A household made up for the demo, on real prices. Copy this file and point it at your own accounts.

[household]
name = "The demo household"
filing_status = "mfj"              # married filing jointly
taxable_income_usd = 210000        # ordinary taxable income expected for the year, before the portfolio
state_rate = 0.05                  # what the state takes of a gain
linked = true                      # every account of the household is listed below

# Where prices come from, and which securities there are with their sectors.
[prices]
source = "skfolio"                 # 20 stocks, 1990-2022; adjusted for splits and dividends
securities = "securities.csv"
replay_from = 2022-10-14            # the prices end in the past: begin on this day, then one session a trading day

# One block an account. A wash sale looks through all of them, whoever owns them.
[[accounts]]
id = "taxable-fifo"
name = "Joint taxable account at a broker that relieves FIFO only"
type = "taxable"                   # taxable, traditional_ira, roth_ira, ...
owner = "joint"                    # self, spouse, joint
broker = "simulated"
relief = "fifo_only"               # fifo_only: oldest shares go first; on_order: the order may name its lots
activities = "taxable-fifo.csv"
max_age_days = 5                   # older than this, and the account counts as unknown

[[accounts]]
id = "taxable-picked"
name = "Taxable account at a broker that sells the lots it is told"
type = "taxable"
owner = "self"
broker = "simulated"
relief = "on_order"
activities = "taxable-picked.csv"
max_age_days = 5

[[accounts]]
id = "ira"
name = "Traditional IRA"
type = "traditional_ira"
owner = "self"
broker = "simulated"
relief = "fifo_only"
activities = "ira.csv"
max_age_days = 5

[[accounts]]
id = "roth-spouse"
name = "Roth IRA of the spouse"
type = "roth_ira"
owner = "spouse"
broker = "simulated"
relief = "fifo_only"
activities = "roth-spouse.csv"
max_age_days = 5

# Purchases that are known to come count as if they were made: a loss that one of them would wash is not harvested.
# kind: reinvestment, payroll, vesting, recurring or order; quantity or amount_usd; on = a day, or every = "week",
# "month" or "quarter" with first = a day (and until = a day).
[[future]]
account = "roth-spouse"
security = "LLY"
kind = "recurring"
quantity = 4
on = 2022-10-28

# An account that the household knows of and that is not listed above lowers the confidence; linked is false then.
# [[unlinked]]
# name = "401(k) of the spouse"
# type = "401k"
# owner = "spouse"
# can_hold = ["VTI", "BND"]        # leave it out: any

# Substantially identical securities are one: share classes, and what you say is one yourself.
# [identical]
# GOOG = "alphabet"
# GOOGL = "alphabet"

# Funds on one index: the books keep them apart (law_policy.same_index_washes), a harvest is kept clear of all of them.
# [same_index]
# SPY = "S&P 500"
# VOO = "S&P 500"

# The checking account of the small business: its lines become Schedule C.
[[banks]]
id = "business-checking"
lines = "bank.csv"
max_age_days = 10

# The weight of each sector in the whole household; they add up to 1.
[targets]
"Information Technology" = 0.24
"Health Care" = 0.23
"Consumer Staples" = 0.17
"Financials" = 0.12
"Consumer Discretionary" = 0.11
"Energy" = 0.10
"Industrials" = 0.03

# How far a sector may stray before it is brought back.
[bands]
absolute = 0.05

# When a loss is worth taking: either is enough.
[harvest]
min_loss_usd = 1000
min_loss_rate = 0.05

# What may stand in for a stock sold at a loss: one of its sector that moves enough like it.
[replacement]
min_correlation = 0.5
beta_range = [0.6, 1.4]
lookback_sessions = 504

# How risk is measured, and the fall from the peak that raises an alert.
[risk]
lookback_sessions = 252
var_confidence = 0.95
max_drawdown = 0.20
risk_free_rate = 0.02

# What no order may do, whatever was proposed.
[gates]
max_order_weight = 0.10            # of the account
max_daily_turnover = 0.25          # of the household
max_price_age_sessions = 1
max_price_move = 0.35
max_washed_usd = 50                # of its loss that a trade may wash: this much,
max_washed_rate = 0.02             # or this part of it, whichever is more
max_permanent_usd = 50             # of it that may be lost for good (bought in an IRA)

# What each line of the bank account is. The first match wins; the text is looked for in the description,
# ignoring case. A line that no rule matches goes to a list for a person to read.
[[expenses.rules]]
match = "GOOGLE ADSENSE"
category = "gross_receipts"
business_share = 1.0

[[expenses.rules]]
match = "PATREON"
category = "gross_receipts"
business_share = 1.0

[[expenses.rules]]
match = "SPONSORSHIP"
category = "gross_receipts"
business_share = 1.0

[[expenses.rules]]
match = "CLOUDHOST"
category = "hosting"
business_share = 1.0

[[expenses.rules]]
match = "DOMAIN REGISTRAR"
category = "domain"
business_share = 1.0

[[expenses.rules]]
match = "ADOBE"
category = "software_subscription"
business_share = 1.0

[[expenses.rules]]
match = "STOCK FOOTAGE"
category = "software_subscription"
business_share = 1.0

[[expenses.rules]]
match = "STRIPE PROCESSING"
category = "platform_fees"
business_share = 1.0

[[expenses.rules]]
match = "GUSTO CONTRACTOR"
category = "contract_labor"
business_share = 1.0

[[expenses.rules]]
match = "HISCOX"
category = "insurance"
business_share = 1.0

[[expenses.rules]]
match = "ACCOUNTING FIRM"
category = "legal_professional"
business_share = 1.0

[[expenses.rules]]
match = "STAPLES"
category = "office"
business_share = 1.0

[[expenses.rules]]
match = "MEMORY CARDS"             # before the rule for the shop they come from
category = "supplies"
business_share = 1.0

[[expenses.rules]]
match = "CAMERA BODY"              # over $2,500: depreciated or expensed under section 179
category = "equipment"
business_share = 1.0

[[expenses.rules]]
match = "B&H PHOTO"                # each item under $2,500
category = "equipment_de_minimis"
business_share = 1.0

[[expenses.rules]]
match = "BUSINESS LICENSE"
category = "taxes_licenses"
business_share = 1.0

[[expenses.rules]]
match = "META ADS"
category = "advertising"
business_share = 1.0

[[expenses.rules]]
match = "CONFERENCE REGISTRATION"
category = "education"
business_share = 1.0

[[expenses.rules]]
match = "RESTAURANT"
category = "meals_restaurant"
business_share = 1.0

[[expenses.rules]]
match = "DELTA AIR"
category = "travel"
business_share = 1.0

[[expenses.rules]]
match = "MARRIOTT"
category = "travel"
business_share = 1.0

[[expenses.rules]]
match = "VERIZON"
category = "utilities_phone_internet"
business_share = 0.6               # the rest is the household's

[[expenses.rules]]
match = "WIRE FEE"
category = "bank_fees"
business_share = 1.0

[[expenses.rules]]
match = "HOUSEHOLD CHECKING"       # what the owner puts in and takes out
category = "personal"
business_share = 0.0

[[expenses.rules]]
match = "ESTIMATED"                # income tax of the household, federal and state
category = "personal"
business_share = 0.0
"""
