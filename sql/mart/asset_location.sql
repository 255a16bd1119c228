-- What stands in which account, what it costs a year there, and where it would stand best.
-- Grain: account_id, asset_class
-- account_id     account
-- asset_class    asset class
-- value_usd      market value, USD
-- after_tax_usd  the same after the tax that is due when it is taken out, USD
-- ideal_usd      after tax, USD: where it would cost least a year; empty: see reason
-- too_much_usd   after_tax_usd - ideal_usd: positive where it stands badly, negative where it belongs
-- planned_usd    after tax, USD: after the moves that are proposed
-- cost_usd       what it costs there, USD a year; empty: its yields are not known
-- reason         what holds a move back; empty: nothing does
CREATE OR REPLACE VIEW mart.asset_location AS
SELECT account_id, asset_class, value_usd, after_tax_usd, ideal_usd, (after_tax_usd - ideal_usd)::DECIMAL(28, 6) AS too_much_usd,
    planned_usd, round(after_tax_usd::DOUBLE * cost_rate, 2) AS cost_usd, reason
FROM core.location
ORDER BY account_id, asset_class;
