-- The ledger as it stands: of every transaction the highest version, busted ones left out.
-- Grain: transaction_id
-- transaction_id  the source's own id
-- version         how often it was stated
-- account_id      account
-- kind            trade, dividend, interest, deposit, withdrawal, fee, or one of the kinds of docs/lots.md
-- side            buy or sell; empty unless a trade
-- security_id     security; empty where none is concerned
-- quantity        shares
-- price_usd       USD a share
-- fee_usd         USD
-- amount_usd      effect on cash, USD, signed
-- traded_on       trade date, New York
-- traded_at       time of day, New York; empty where the source knows the day only
-- lots            lots identified for a sale; empty is first in, first out
-- known_at        when this version reached us, UTC
-- details         what its kind says besides, as JSON
CREATE OR REPLACE VIEW stg.transactions AS
SELECT
    transaction_id, version, account_id, kind, side, security_id, quantity, price_usd, fee_usd, amount_usd, traded_on,
    traded_at, lots, known_at, details
FROM (
    SELECT * FROM ledger.transactions
    QUALIFY row_number() OVER (PARTITION BY transaction_id ORDER BY version DESC) = 1
)
WHERE kind <> 'bust';
