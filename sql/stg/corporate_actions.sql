-- What companies do to their shares, by the market's feed, in our names and units; a row that was delivered again changed is there twice, the latest counts.
-- Grain: delivery_id, line
-- delivery_id      the delivery
-- line             its line
-- source           the price source
-- action_id        the source's own id
-- kind             split, dividend, spin_off, merger or symbol_change
-- security_id      security
-- ex_on            the ex-date: who holds the shares before it is concerned
-- payable_on       the day on which it is paid; empty where the source does not say
-- new_shares       of the ratio: so many new shares
-- old_shares       for so many old ones
-- new_security_id  the new symbol, or what is received; empty where there is none
-- cash_usd         USD a share; empty where there is none
-- is_readable      false where a ratio or an amount is there and cannot be read
-- payload          the row as it came
-- payload_hash     digest of the payload
CREATE OR REPLACE VIEW stg.corporate_actions AS
WITH named AS (
    SELECT
        delivery_id, line, source, payload, payload_hash,
        trim(payload ->> 'id') AS action_id,
        trim(payload ->> 'kind') AS kind,
        coalesce(trim(payload ->> 'symbol'), '') AS security_id,
        TRY_CAST(trim(payload ->> 'on') AS DATE) AS ex_on,
        TRY_CAST(nullif(trim(payload ->> 'payable_on'), '') AS DATE) AS payable_on,
        coalesce(trim(payload ->> 'ratio'), '') AS ratio,
        coalesce(trim(payload ->> 'new_symbol'), '') AS new_security_id,
        coalesce(trim(payload ->> 'cash_usd'), '') AS cash
    FROM raw.corporate_actions
), read AS (
    SELECT *,
        TRY_CAST(split_part(ratio, ':', 1) AS DECIMAL(28, 9)) AS new_shares,
        CASE WHEN contains(ratio, ':') THEN TRY_CAST(split_part(ratio, ':', 2) AS DECIMAL(28, 9)) WHEN ratio <> '' THEN 1 END AS old_shares,
        TRY_CAST(cash AS DECIMAL(28, 9)) AS cash_usd
    FROM named
)
SELECT
    delivery_id, line, source, action_id, kind, security_id, ex_on, payable_on, new_shares, old_shares, new_security_id, cash_usd,
    (ratio = '' OR coalesce(new_shares > 0 AND old_shares > 0, false)) AND (cash = '' OR cash_usd IS NOT NULL) AS is_readable,
    payload, payload_hash
FROM read;
