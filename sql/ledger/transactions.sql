-- Everything that happened in an account, append-only. A late, corrected or busted row is one more version.
-- Grain: transaction_id, version
-- transaction_id  the source's own id
-- version         1, 2, ... as restated; the highest known version counts
-- account_id      account
-- kind            trade, dividend, interest, deposit, withdrawal, fee, or one of the kinds of docs/lots.md (split, transfer, ...); bust takes the row back
-- side            buy or sell; empty unless a trade
-- security_id     security; empty where none is concerned
-- quantity        shares
-- price_usd       USD a share
-- fee_usd         USD
-- amount_usd      effect on cash, USD, signed
-- traded_on       trade date, New York
-- traded_at       time of day, New York; empty where the source knows the day only
-- lots            lots identified for a sale, LOT:QTY;LOT:QTY; empty is first in, first out
-- delivery_id     the delivery that brought it
-- known_at        when it reached us, UTC
-- payload_hash    digest of the row as it came
-- details         what its kind says besides (ratio, new_security_id, identified_at, ...), as JSON; {} is nothing
CREATE TABLE ledger.transactions (
    transaction_id VARCHAR NOT NULL,
    version INTEGER NOT NULL,
    account_id VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    side VARCHAR NOT NULL,
    security_id VARCHAR NOT NULL,
    quantity DECIMAL(28, 9) NOT NULL,
    price_usd DECIMAL(28, 9) NOT NULL,
    fee_usd DECIMAL(28, 6) NOT NULL,
    amount_usd DECIMAL(28, 6) NOT NULL,
    traded_on DATE NOT NULL,
    traded_at TIME,
    lots VARCHAR NOT NULL,
    delivery_id VARCHAR NOT NULL,
    known_at TIMESTAMP NOT NULL,
    payload_hash VARCHAR NOT NULL,
    details VARCHAR NOT NULL,
    PRIMARY KEY (transaction_id, version)
);
