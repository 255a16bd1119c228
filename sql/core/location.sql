-- Where every asset class stands, where it would stand best, and where the moves that are proposed leave it.
-- Grain: account_id, asset_class
-- account_id     account
-- asset_class    asset class that is held there, or would best be; cash stays where it is and is left out
-- value_usd      market value, USD
-- after_tax_usd  the same after the tax that is due when it is taken out, USD; of a taxable or Roth account the same
-- ideal_usd      after tax, USD: where the targets (without targets what is held) cost least a year; empty: see reason
-- planned_usd    after tax, USD: after the moves that cost no tax or pay for it
-- cost_rate      what a dollar after tax of the class costs there, a fraction a year; empty: its yields are not known
-- reason         what holds a move back; empty: nothing does
CREATE OR REPLACE TABLE core.location (
    account_id VARCHAR NOT NULL,
    asset_class VARCHAR NOT NULL,
    value_usd DECIMAL(28, 6) NOT NULL,
    after_tax_usd DECIMAL(28, 6) NOT NULL,
    ideal_usd DECIMAL(28, 6),
    planned_usd DECIMAL(28, 6) NOT NULL,
    cost_rate DOUBLE,
    reason VARCHAR NOT NULL
);
