-- How far each margin account is from a margin call, and what must be sold so that a bad fall brings none.
-- Grain: account_id
-- account_id       a margin account, or one that owes cash or shares
-- long_usd         market value held, USD
-- short_usd        market value owed, USD, positive
-- equity_usd       long - short + cash, USD
-- gross            (long + short) / equity; 0 without equity
-- net              (long - short) / equity; 0 without equity
-- requirement_usd  maintenance margin today, USD: the rule's, or the policy's where it is stricter
-- fall_to_call     longs down and shorts up by this fraction would bring a margin call; 1: none can
-- max_leverage     long exposure to equity that stands the policy's fall
-- cut_usd          market value to be sold or bought back, USD, rounded up to the cent; 0: all may stay
-- reason           in words and numbers
CREATE OR REPLACE TABLE core.leverage (
    account_id VARCHAR NOT NULL,
    long_usd DECIMAL(28, 6) NOT NULL,
    short_usd DECIMAL(28, 6) NOT NULL,
    equity_usd DECIMAL(28, 6) NOT NULL,
    gross DOUBLE NOT NULL,
    net DOUBLE NOT NULL,
    requirement_usd DECIMAL(28, 6) NOT NULL,
    fall_to_call DOUBLE NOT NULL,
    max_leverage DOUBLE NOT NULL,
    cut_usd DECIMAL(28, 6) NOT NULL,
    reason VARCHAR NOT NULL
);
