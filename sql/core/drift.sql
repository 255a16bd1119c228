-- The household's weights against its targets.
-- Grain: asset_class
-- asset_class    sector, or Cash
-- value_usd      market value in all accounts, USD
-- weight         fraction of the household
-- target_weight  fraction wanted
-- drift          weight - target_weight
-- band           drift allowed, absolute
-- is_outside     true when the drift is larger than the band
CREATE OR REPLACE TABLE core.drift (
    asset_class VARCHAR NOT NULL,
    value_usd DECIMAL(28, 6) NOT NULL,
    weight DOUBLE NOT NULL,
    target_weight DOUBLE NOT NULL,
    drift DOUBLE NOT NULL,
    band DOUBLE NOT NULL,
    is_outside BOOLEAN NOT NULL
);
