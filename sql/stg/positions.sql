-- What each broker said it holds, of its latest delivery. Cash by trade date is the security USD, settled cash USD.settled.
-- Grain: account_id, security_id
-- delivery_id   the delivery
-- line          its line
-- account_id    account
-- security_id   security, or USD or USD.settled for cash
-- quantity      shares, or dollars
-- cost_usd      what the broker says that they cost, USD; empty where it does not
-- is_cost_read  false where a cost is there and cannot be read
-- payload       the row as it came
-- payload_hash  digest of the payload
CREATE OR REPLACE VIEW stg.positions AS
WITH latest AS (
    SELECT source, max(delivery_id) AS delivery_id FROM raw.deliveries WHERE kind = 'positions' GROUP BY source
)
SELECT
    p.delivery_id, p.line, p.source AS account_id,
    trim(p.payload ->> 'symbol') AS security_id,
    TRY_CAST(p.payload ->> 'quantity' AS DECIMAL(28, 9)) AS quantity,
    TRY_CAST(nullif(trim(p.payload ->> 'cost_usd'), '') AS DECIMAL(28, 6)) AS cost_usd,
    coalesce(trim(p.payload ->> 'cost_usd'), '') = '' OR TRY_CAST(p.payload ->> 'cost_usd' AS DECIMAL(28, 6)) IS NOT NULL AS is_cost_read,
    p.payload, p.payload_hash
FROM raw.positions AS p
JOIN latest USING (source, delivery_id);
