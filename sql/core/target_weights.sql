-- Target weights of the household and how they came: [targets] as they are, or what a method of [risk_targets] made of them.
-- Grain: asset_class
-- asset_class      as [targets] names it, or Cash
-- method           fixed, risk_parity, volatility_target or sharpe_tilt
-- base_weight      fraction that [targets] names
-- target_weight    fraction wanted; Cash is negative where the household may borrow and does
-- volatility       of the class, a fraction a year; null where it was not measured
-- risk_share       part of the variance of the targets that it carries; they add up to 1; null where it was not measured
-- expected_return  shrunk mean, a fraction a year; null but for sharpe_tilt
-- sessions         sessions of prices behind it
-- is_fallback      true: the method could not be done, and [targets] stand
-- reason           why this weight, in words and numbers
CREATE OR REPLACE TABLE core.target_weights (
    asset_class VARCHAR NOT NULL,
    method VARCHAR NOT NULL,
    base_weight DOUBLE NOT NULL,
    target_weight DOUBLE NOT NULL,
    volatility DOUBLE,
    risk_share DOUBLE,
    expected_return DOUBLE,
    sessions BIGINT NOT NULL,
    is_fallback BOOLEAN NOT NULL,
    reason VARCHAR NOT NULL
);
