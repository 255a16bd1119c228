-- Sales of this tax year and the one before whose lots we meant, with the lots that the broker relieved and what would have come of each.
-- Grain: trade_id
-- trade_id                 the sale
-- account_id               account
-- security_id              security
-- sold_on                  its day
-- quantity                 shares
-- method                   how the lots were meant: fifo, lifo, hifo, lowest_tax, or named (a decision named them)
-- intended_lots            lots meant, LOT:QTY;LOT:QTY
-- relieved_lots            lots relieved, LOT:QTY;LOT:QTY
-- is_possible              false where the lots meant were not there any more; their amounts are then those relieved
-- intended_basis_usd       basis of the lots meant, USD
-- relieved_basis_usd       basis of the lots relieved, USD
-- intended_short_gain_usd  short-term gain with the lots meant, after wash sales, USD, signed
-- intended_long_gain_usd   long-term, USD, signed
-- relieved_short_gain_usd  short-term gain with the lots relieved, after wash sales, USD, signed
-- relieved_long_gain_usd   long-term, USD, signed
-- tax_usd                  tax on the gains relieved less tax on those meant, at the household's marginal rates, USD, signed
CREATE OR REPLACE TABLE core.intended_sales (
    trade_id VARCHAR NOT NULL,
    account_id VARCHAR NOT NULL,
    security_id VARCHAR NOT NULL,
    sold_on DATE NOT NULL,
    quantity DECIMAL(28, 9) NOT NULL,
    method VARCHAR NOT NULL,
    intended_lots VARCHAR NOT NULL,
    relieved_lots VARCHAR NOT NULL,
    is_possible BOOLEAN NOT NULL,
    intended_basis_usd DECIMAL(28, 6) NOT NULL,
    relieved_basis_usd DECIMAL(28, 6) NOT NULL,
    intended_short_gain_usd DECIMAL(28, 6) NOT NULL,
    intended_long_gain_usd DECIMAL(28, 6) NOT NULL,
    relieved_short_gain_usd DECIMAL(28, 6) NOT NULL,
    relieved_long_gain_usd DECIMAL(28, 6) NOT NULL,
    tax_usd DECIMAL(28, 6) NOT NULL
);
