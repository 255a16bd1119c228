-- Bank lines in our names and units; a line that was delivered again changed is there twice, the latest counts.
-- Grain: delivery_id, line
-- delivery_id   the delivery
-- line          its line
-- bank_id       bank account
-- bank_line_id  the bank's own id
-- posted_on     posting date
-- description   the bank's words
-- amount_usd    USD, positive into the account
-- payload       the line as it came
-- payload_hash  digest of the payload
CREATE OR REPLACE VIEW stg.bank_lines AS
SELECT
    delivery_id, line, source AS bank_id,
    trim(payload ->> 'id') AS bank_line_id,
    CASE WHEN regexp_matches(payload ->> 'posted_on', '^ *[12][0-9]{3}[^0-9]') THEN TRY_CAST(payload ->> 'posted_on' AS DATE) END AS posted_on,
    trim(payload ->> 'description') AS description,
    TRY_CAST(payload ->> 'amount_usd' AS DECIMAL(28, 6)) AS amount_usd,
    payload, payload_hash
FROM raw.bank_lines;
