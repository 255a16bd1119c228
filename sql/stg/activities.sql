-- Broker rows in our names and units. A value that cannot be read is null; the contract then sets the row aside.
-- Grain: delivery_id, line
-- delivery_id     the delivery
-- line            its line
-- account_id      account
-- transaction_id  the source's own id
-- kind            trade, dividend, interest, deposit, withdrawal, fee, bust, or one of the kinds of docs/lots.md
-- side            buy or sell; empty unless a trade
-- security_id     security; empty where none is concerned
-- quantity        shares
-- price_usd       USD a share
-- fee_usd         USD
-- amount_usd      effect on cash, USD, signed
-- traded_on       trade date, New York
-- traded_at       time of day, New York; empty where the source gives the day only
-- lots            lots identified for a sale
-- details         what its kind says besides, as JSON; {} is nothing
-- is_exact        false where a number has more decimals than the ledger keeps
-- payload         the row as it came
-- payload_hash    digest of the payload
CREATE OR REPLACE VIEW stg.activities AS
WITH named AS (
    SELECT
        delivery_id, line, source AS account_id,
        trim(payload ->> 'id') AS transaction_id,
        trim(payload ->> 'kind') AS kind,
        coalesce(trim(payload ->> 'side'), '') AS side,
        coalesce(trim(payload ->> 'symbol'), '') AS security_id,
        coalesce(nullif(trim(payload ->> 'quantity'), ''), '0') AS quantity,
        coalesce(nullif(trim(payload ->> 'price_usd'), ''), '0') AS price,
        coalesce(nullif(trim(payload ->> 'fee_usd'), ''), '0') AS fee,
        coalesce(
            nullif(trim(payload ->> 'amount_usd'), ''),
            CASE WHEN trim(payload ->> 'kind') IN (
                'split', 'symbol_change', 'spin_off', 'merger', 'transfer', 'gift', 'inheritance', 'award', 'option_expire', 'correction'
            ) THEN '0' ELSE '' END
        ) AS amount,
        CASE WHEN regexp_matches(payload ->> 'at', '^ *[12][0-9]{3}[^0-9]') THEN trim(payload ->> 'at') END AS happened,  -- never 'infinity'
        coalesce(trim(payload ->> 'lots'), '') AS lots,
        json_merge_patch('{}', json_object(
            'method', nullif(trim(payload ->> 'method'), ''),
            'to_account_id', nullif(trim(payload ->> 'to_account_id'), ''),
            'basis_usd', nullif(trim(payload ->> 'basis_usd'), ''),
            'acquired_on', nullif(trim(payload ->> 'acquired_on'), ''),
            'ratio', nullif(trim(payload ->> 'ratio'), ''),
            'new_security_id', nullif(trim(payload ->> 'new_security_id'), ''),
            'basis_rate', nullif(trim(payload ->> 'basis_rate'), ''),
            'cash_usd', nullif(trim(payload ->> 'cash_usd'), ''),
            'underlying_id', nullif(trim(payload ->> 'underlying_id'), ''),
            'right', nullif(trim(payload ->> 'right'), ''),
            'strike_usd', nullif(trim(payload ->> 'strike_usd'), ''),
            'multiplier', nullif(trim(payload ->> 'multiplier'), ''),
            'underlying_price_usd', nullif(trim(payload ->> 'underlying_price_usd'), ''),
            'corrects', nullif(trim(payload ->> 'corrects'), ''),
            'identified_at', nullif(trim(payload ->> 'identified_at'), ''),
            'quantity', CASE WHEN is_correction THEN nullif(trim(payload ->> 'quantity'), '') END,
            'price_usd', CASE WHEN is_correction THEN nullif(trim(payload ->> 'price_usd'), '') END,
            'fee_usd', CASE WHEN is_correction THEN nullif(trim(payload ->> 'fee_usd'), '') END
        ))::VARCHAR AS details,
        payload, payload_hash
    FROM (SELECT *, coalesce(trim(payload ->> 'kind'), '') = 'correction' AS is_correction FROM raw.activities)
)
SELECT
    delivery_id, line, account_id, transaction_id, kind, side, security_id,
    TRY_CAST(quantity AS DECIMAL(28, 9)) AS quantity,
    TRY_CAST(price AS DECIMAL(28, 9)) AS price_usd,
    TRY_CAST(fee AS DECIMAL(28, 6)) AS fee_usd,
    TRY_CAST(amount AS DECIMAL(28, 6)) AS amount_usd,
    CASE
        WHEN length(happened) = 10 THEN TRY_CAST(happened AS DATE)
        WHEN regexp_matches(happened, '(Z|[+-][0-9]{2}:?[0-9]{2})$')
            THEN timezone('America/New_York', TRY_CAST(happened AS TIMESTAMPTZ))::DATE
        ELSE TRY_CAST(happened AS TIMESTAMP)::DATE
    END AS traded_on,
    CASE
        WHEN length(happened) = 10 THEN NULL
        WHEN regexp_matches(happened, '(Z|[+-][0-9]{2}:?[0-9]{2})$')
            THEN timezone('America/New_York', TRY_CAST(happened AS TIMESTAMPTZ))::TIME
        ELSE TRY_CAST(happened AS TIMESTAMP)::TIME
    END AS traded_at,
    lots, details,
    coalesce(
        TRY_CAST(quantity AS DECIMAL(38, 18)) = TRY_CAST(quantity AS DECIMAL(28, 9))
        AND TRY_CAST(price AS DECIMAL(38, 18)) = TRY_CAST(price AS DECIMAL(28, 9))
        AND TRY_CAST(fee AS DECIMAL(38, 18)) = TRY_CAST(TRY_CAST(fee AS DECIMAL(28, 6)) AS DECIMAL(38, 18))
        AND TRY_CAST(amount AS DECIMAL(38, 18)) = TRY_CAST(TRY_CAST(amount AS DECIMAL(28, 6)) AS DECIMAL(38, 18)),
        true
    ) AS is_exact,
    payload, payload_hash
FROM named;
