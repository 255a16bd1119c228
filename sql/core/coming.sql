-- Purchases that are known and not booked yet, in the window of a sale in the next session.
-- Grain: trade_id
-- trade_id     the kind and number of the plan with the day, or the order
-- account_id   account, or the name of one that is not linked
-- security_id  security
-- quantity     shares, at the latest price where the plan is in dollars
-- amount_usd   USD
-- expected_on  the day
-- is_deferred  true in an IRA or the like
CREATE OR REPLACE TABLE core.coming (
    trade_id VARCHAR NOT NULL,
    account_id VARCHAR NOT NULL,
    security_id VARCHAR NOT NULL,
    quantity DECIMAL(28, 9) NOT NULL,
    amount_usd DECIMAL(28, 6) NOT NULL,
    expected_on DATE NOT NULL,
    is_deferred BOOLEAN NOT NULL
);
