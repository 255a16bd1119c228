-- Settled and unsettled cash of every account by the ledger, of the day that is booked.
-- Grain: account_id
-- account_id  account
-- cash_usd    USD; dividends that are inside an adjusted price are left out, they are not cash there
CREATE OR REPLACE VIEW mart.cash AS
SELECT account_id, sum(t.amount_usd)::DECIMAL(28, 6) AS cash_usd
FROM stg.transactions AS t
JOIN core.accounts AS a USING (account_id)
WHERE NOT (t.kind IN ('dividend', 'dividend_reinvested') AND coalesce((SELECT bool_or(is_adjusted) FROM core.latest_prices), false))
    AND t.transaction_id NOT IN (SELECT transaction_id FROM core.unbooked)
    AND t.traded_on <= a.booked_to
GROUP BY account_id;
