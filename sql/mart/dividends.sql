-- Dividends by year, account and security.
-- Grain: year, account_id, security_id
-- year           calendar year
-- account_id     account
-- security_id    security
-- dividends_usd  USD; a reinvested one counts as far as its row took no cash for the shares (else it has a row of its own)
-- is_in_price    true: the prices are adjusted for them, so they count as income here and never again in a return
CREATE OR REPLACE VIEW mart.dividends AS
SELECT year(traded_on) AS year, account_id, security_id, sum(
        amount_usd + CASE kind WHEN 'dividend' THEN 0 ELSE round(quantity::DECIMAL(19, 9) * price_usd::DECIMAL(19, 9) + fee_usd, 2) END
    )::DECIMAL(28, 6) AS dividends_usd,
    coalesce((SELECT bool_or(is_adjusted) FROM core.latest_prices), false) AS is_in_price
FROM stg.transactions
WHERE kind IN ('dividend', 'dividend_reinvested')
GROUP BY ALL
ORDER BY ALL;
