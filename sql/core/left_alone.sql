-- What the newest rebalance, or cut of a margin account, would have sold or brought back and left alone, money that it could not raise, and why.
-- Grain: method, account_id, asset_class, security_id, reason
-- method       who looked: bands, cash_flow, index or leverage
-- account_id   account; empty: the household, or every account that follows the index
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
