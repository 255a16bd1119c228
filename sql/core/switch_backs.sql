-- Replacements that harvests brought and that are still held: does it pay to go back to what was sold?
-- Grain: account_id, security_id, back_to_id, harvested_on
-- account_id      account
-- security_id     what is held instead
-- back_to_id      what was sold at a loss
-- lots            the replacement's lots, LOT:QTY;LOT:QTY
-- quantity        shares of them still held
-- value_usd       at the latest price, USD
-- gain_usd        unrealised, USD, signed
-- harvested_on    day of the harvest
-- tracking_error  of what is held against what was sold, a fraction a year
-- tax_now_usd     this year's tax on switching back, after the switches before it, USD; negative: it saves
-- now_usd         cost of switching back now: tax, losses used up, spread, USD
-- later_usd       cost of waiting until the gain is long-term, and switching then, USD; null where nothing would turn
-- keep_usd        cost of keeping the replacement, USD
-- is_proposed     true: it is proposed
-- reason          why, or why not, in words and numbers
CREATE OR REPLACE TABLE core.switch_backs (
    account_id VARCHAR NOT NULL,
    security_id VARCHAR NOT NULL,
    back_to_id VARCHAR NOT NULL,
    lots VARCHAR NOT NULL,
    quantity DECIMAL(28, 9) NOT NULL,
    value_usd DECIMAL(28, 6) NOT NULL,
    gain_usd DECIMAL(28, 6) NOT NULL,
    harvested_on DATE NOT NULL,
    tracking_error DOUBLE NOT NULL,
    tax_now_usd DECIMAL(28, 6) NOT NULL,
    now_usd DECIMAL(28, 6) NOT NULL,
    later_usd DECIMAL(28, 6),
    keep_usd DECIMAL(28, 6) NOT NULL,
    is_proposed BOOLEAN NOT NULL,
    reason VARCHAR NOT NULL
);
