-- The newest price of every security that had one in the last 30 days, as of the day worked on.
-- Grain: security_id
-- security_id   security
-- session_on    the session it is of
-- price_usd     USD a share
-- previous_usd  price of the session before, USD a share; the same where there is none
-- sessions_old  sessions between it and the day worked on
-- is_adjusted   true where dividends are inside the price already
CREATE OR REPLACE TABLE core.latest_prices (
    security_id VARCHAR NOT NULL,
    session_on DATE NOT NULL,
    price_usd DECIMAL(28, 9) NOT NULL,
    previous_usd DECIMAL(28, 9) NOT NULL,
    sessions_old BIGINT NOT NULL,
    is_adjusted BOOLEAN NOT NULL
);
