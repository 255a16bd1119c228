-- Dividends by year, account and security.
-- Grain: year, account_id, security_id
-- year           calendar year
-- account_id     account
-- security_id    security
-- dividends_usd  USD
-- is_in_price    true: the prices are adjusted for them, so they count as income here and never again in a return
CREATE OR REPLACE VIEW mart.dividends AS
SELECT year(traded_on) AS year, account_id, security_id, sum(amount_usd)::DECIMAL(28, 6) AS dividends_usd,
    coalesce((SELECT bool_or(is_adjusted) FROM core.latest_prices), false) AS is_in_price
FROM stg.transactions
WHERE kind = 'dividend'
GROUP BY ALL
ORDER BY ALL;
