-- The household's weights against its targets, and what of it cannot be traded today.
-- Grain: asset_class
-- asset_class    sector, security that a target names by itself, or Cash
-- value_usd      market value in all accounts, USD
-- weight         fraction of the household
-- target_weight  fraction wanted
-- drift          weight - target_weight
-- band           drift allowed either way, absolute: by the policy, scaled by volatility where it says so
-- is_outside     true when the drift is larger than the band
-- locked_usd     the part of the value that may not be sold today, USD
-- locked         what may not be traded today and why: a wash window, do-not-trade, no price, an account that takes no orders
CREATE OR REPLACE TABLE core.drift (
    asset_class VARCHAR NOT NULL,
    value_usd DECIMAL(28, 6) NOT NULL,
    weight DOUBLE NOT NULL,
    target_weight DOUBLE NOT NULL,
    drift DOUBLE NOT NULL,
    band DOUBLE NOT NULL,
    is_outside BOOLEAN NOT NULL,
    locked_usd DECIMAL(28, 6) NOT NULL,
    locked VARCHAR NOT NULL
);
