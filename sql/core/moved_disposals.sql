-- Disposals that changed because a transaction came late or was restated since the last run.
-- Grain: trade_id, lot_id, slice, change
-- trade_id   the sale
-- lot_id     the lot
-- slice      1, 2, ... within the sale
-- change     was, or is now
-- quantity   shares
-- basis_usd  USD
-- gain_usd   USD, signed
-- term       short or long
CREATE OR REPLACE TABLE core.moved_disposals (
    trade_id VARCHAR NOT NULL,
    lot_id VARCHAR NOT NULL,
    slice BIGINT NOT NULL,
    change VARCHAR NOT NULL,
    quantity DECIMAL(28, 9) NOT NULL,
    basis_usd DECIMAL(28, 6) NOT NULL,
    gain_usd DECIMAL(28, 6) NOT NULL,
    term VARCHAR NOT NULL
);
