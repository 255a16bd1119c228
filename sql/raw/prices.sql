-- Closing prices as they were delivered; a price that is restated later is one more row.
-- Grain: delivery_id, symbol, session_on
-- delivery_id         the delivery that first brought this price
-- symbol              the source's name of the security
-- session_on          trading day
-- close_usd           closing price, USD a share, as the source gives it
-- adjusted_close_usd  closing price adjusted for splits and dividends, USD a share; the only one some sources have
-- volume              shares traded; empty where the source does not say
CREATE TABLE raw.prices (
    delivery_id VARCHAR NOT NULL,
    symbol VARCHAR NOT NULL,
    session_on DATE NOT NULL,
    close_usd DOUBLE,
    adjusted_close_usd DOUBLE,
    volume BIGINT
);
