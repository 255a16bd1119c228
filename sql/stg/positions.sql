-- What each broker said it holds, of its latest delivery. Cash is the security USD.
-- Grain: account_id, security_id
-- delivery_id   the delivery
-- line          its line
-- account_id    account
-- security_id   security, or USD for settled cash
-- quantity      shares, or dollars
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
    p.payload, p.payload_hash
FROM raw.positions AS p
JOIN latest USING (source, delivery_id);
