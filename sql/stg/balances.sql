-- What each broker said of its account besides the positions, of its latest delivery: equity_usd, buying_power_usd, long_usd, short_usd, options_level, is_blocked, day_trades.
-- Grain: account_id, name
-- delivery_id   the delivery
-- line          its line
-- account_id    account
-- name          what is stated; see the first line for the usual names and their units
-- value         its value, as text
-- stated_on     the day that the broker speaks for
-- payload       the row as it came
-- payload_hash  digest of the payload
CREATE OR REPLACE VIEW stg.balances AS
WITH latest AS (
    SELECT source, max(delivery_id) AS delivery_id, arg_max(stated_on, delivery_id) AS stated_on
    FROM raw.deliveries WHERE kind = 'balances' GROUP BY source
)
SELECT
    b.delivery_id, b.line, b.source AS account_id,
    trim(b.payload ->> 'name') AS name,
    trim(b.payload ->> 'value') AS value,
    latest.stated_on, b.payload, b.payload_hash
FROM raw.balances AS b
JOIN latest USING (source, delivery_id);
