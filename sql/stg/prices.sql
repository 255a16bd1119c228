-- One closing price a security and session: the one delivered last, unless it is no price at all.
-- Grain: security_id, session_on
-- security_id         security
-- session_on          trading day
-- price_usd           what a share is valued and traded at, USD; the adjusted close where the source has no other
-- adjusted_price_usd  close adjusted for splits and dividends: what returns are measured on, USD
-- is_adjusted         true where price_usd itself is adjusted, so that dividends are inside it already
CREATE OR REPLACE VIEW stg.prices AS
SELECT
    symbol AS security_id,
    session_on,
    coalesce(close_usd, adjusted_close_usd)::DECIMAL(18, 6) AS price_usd,
    coalesce(adjusted_close_usd, close_usd)::DECIMAL(18, 6) AS adjusted_price_usd,
    close_usd IS NULL AS is_adjusted
FROM raw.prices
WHERE coalesce(close_usd, adjusted_close_usd) > 0 AND isfinite(coalesce(close_usd, adjusted_close_usd))
QUALIFY row_number() OVER (PARTITION BY symbol, session_on ORDER BY delivery_id DESC) = 1;
