-- What the newest rebalance would have sold or brought back and left alone, and why.
-- Grain: method, account_id, asset_class, security_id, reason
-- method       who looked: bands, cash_flow or index
-- account_id   account; empty: the household
-- asset_class  class of the targets
-- security_id  security; empty: the whole class
-- value_usd    what was left alone, USD
-- reason       why
CREATE OR REPLACE TABLE core.left_alone (
    method VARCHAR NOT NULL,
    account_id VARCHAR NOT NULL,
    asset_class VARCHAR NOT NULL,
    security_id VARCHAR NOT NULL,
    value_usd DECIMAL(28, 6) NOT NULL,
    reason VARCHAR NOT NULL
);
