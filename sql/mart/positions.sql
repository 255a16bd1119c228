-- What the household holds, by account, at the latest price.
-- Grain: account_id, security_id
-- account_id   account
-- security_id  security
-- asset_class  sector
-- quantity     shares
-- basis_usd    USD
-- value_usd    USD
-- gain_usd     unrealised, USD, signed
CREATE OR REPLACE VIEW mart.positions AS
SELECT l.account_id, l.security_id, any_value(s.asset_class) AS asset_class, sum(l.quantity)::DECIMAL(28, 9) AS quantity,
    sum(l.basis_usd)::DECIMAL(28, 6) AS basis_usd, sum(l.value_usd)::DECIMAL(28, 6) AS value_usd,
    sum(l.gain_usd)::DECIMAL(28, 6) AS gain_usd
FROM mart.lot_ladder AS l
LEFT JOIN stg.securities AS s USING (security_id)
GROUP BY l.account_id, l.security_id;
