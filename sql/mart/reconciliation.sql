-- What each broker states beside the ledger as it stood on the statement's day; a security that was reshaped since (split, new symbol, ...) is left out, and so is cash that files do not state.
-- Grain: account_id, security_id
-- account_id       account
-- security_id      security, or USD for cash by trade date, or USD.settled where the broker tells it
-- stated_on        the day that the statement speaks for, not after the day that is booked
-- broker_quantity  shares or dollars
-- ledger_quantity  shares or dollars; empty for USD.settled, which depends on the exchange's calendar
-- cost_usd         what the broker says that the shares cost, USD; empty where it does not
-- has_moved        true where the ledger has rows of the security since the statement
CREATE OR REPLACE VIEW mart.reconciliation AS
WITH said AS (
    SELECT source AS account_id, arg_max(stated_on, delivery_id) AS stated_on, arg_max(row_count, delivery_id) AS row_count
    FROM raw.deliveries WHERE kind = 'positions' GROUP BY source
), compared AS (  -- files that state no position say nothing; a broker that answers with none says that nothing is held
    SELECT account_id, stated_on, booked_to, broker FROM said JOIN core.accounts USING (account_id)
    WHERE stated_on <= booked_to AND (row_count > 0 OR broker <> 'statements')
), stated AS (
    SELECT p.account_id, p.security_id, arg_min(p.quantity, p.line) AS quantity, arg_min(p.cost_usd, p.line) AS cost_usd
    FROM stg.positions AS p JOIN compared USING (account_id) WHERE p.quantity IS NOT NULL GROUP BY ALL
), since AS (
    SELECT * FROM stg.transactions
    WHERE traded_on > (SELECT min(stated_on) FROM compared) AND traded_on <= (SELECT max(booked_to) FROM compared)
        AND transaction_id NOT IN (SELECT transaction_id FROM core.unbooked)
), reshaped AS (
    SELECT unnest([security_id, details ->> 'new_security_id', details ->> 'underlying_id']) AS security_id, traded_on
    FROM since WHERE kind IN ('split', 'merger', 'symbol_change', 'spin_off', 'option_exercise', 'option_assign')
    UNION ALL
    SELECT o.security_id, c.traded_on FROM since AS c JOIN stg.transactions AS o ON o.transaction_id = c.details ->> 'corrects'
), moved AS (
    SELECT account_id, security_id, CASE side WHEN 'buy' THEN quantity ELSE -quantity END AS quantity, traded_on
    FROM since
    WHERE kind IN (
        'trade', 'transfer', 'gift', 'inheritance', 'dividend_reinvested', 'award', 'cash_in_lieu', 'option_open', 'option_close',
        'option_expire', 'short_open', 'short_close'
    )
    UNION ALL
    SELECT details ->> 'to_account_id', security_id, quantity, traded_on FROM since WHERE kind = 'transfer'
), cash AS (
    SELECT c.account_id, 'USD' AS security_id, coalesce(sum(t.amount_usd), 0)::DECIMAL(28, 9) AS quantity
    FROM compared AS c
    LEFT JOIN stg.transactions AS t ON t.account_id = c.account_id AND t.traded_on <= c.stated_on
        AND NOT (t.kind IN ('dividend', 'dividend_reinvested') AND coalesce((SELECT bool_or(is_adjusted) FROM core.latest_prices), false))
        AND t.transaction_id NOT IN (SELECT transaction_id FROM core.unbooked)
    GROUP BY c.account_id
), held AS (
    SELECT account_id, security_id, sum(quantity)::DECIMAL(28, 9) AS quantity FROM (  -- unlike decimals in one UNION lose digits
        SELECT account_id, security_id, quantity FROM core.lots
        UNION ALL
        SELECT m.account_id, m.security_id, -m.quantity FROM moved AS m JOIN compared AS c USING (account_id)
        WHERE m.traded_on > c.stated_on
    ) GROUP BY ALL
    UNION ALL
    SELECT account_id, security_id, quantity FROM cash
), changed AS (
    SELECT DISTINCT c.account_id, r.security_id FROM reshaped AS r JOIN compared AS c ON r.traded_on > c.stated_on
), moved_since AS (
    SELECT DISTINCT m.account_id, m.security_id, true AS has_moved
    FROM moved AS m JOIN compared AS c USING (account_id) WHERE m.traded_on > c.stated_on
)
SELECT account_id, security_id, c.stated_on,
    coalesce(s.quantity, 0)::DECIMAL(28, 9) AS broker_quantity,
    CASE WHEN security_id <> 'USD.settled' THEN coalesce(h.quantity, 0)::DECIMAL(28, 9) END AS ledger_quantity,
    s.cost_usd::DECIMAL(28, 6) AS cost_usd,
    coalesce(m.has_moved, false) AS has_moved
FROM stated AS s
FULL JOIN held AS h USING (account_id, security_id)
JOIN compared AS c USING (account_id)
LEFT JOIN moved_since AS m USING (account_id, security_id)
ANTI JOIN changed USING (account_id, security_id)
WHERE s.quantity IS NOT NULL OR security_id <> 'USD' OR c.broker <> 'statements'
ORDER BY account_id, security_id;
