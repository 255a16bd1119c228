-- Every open lot with its gain or loss today and the day on which it turns long-term.
-- Grain: lot_id, slice
-- account_id      account
-- security_id     security
-- lot_id          the purchase
-- slice           part of the lot, in the order in which it would be sold
-- acquired_on     day of purchase
-- quantity        shares
-- basis_usd       USD
-- value_usd       at the latest price, USD
-- gain_usd        unrealised, USD, signed
-- gain_rate       gain / basis
-- term_today      short or long, if it were sold on the last run's day
-- long_term_from  first day of a long-term sale
-- is_deferred     true in an IRA or the like
CREATE OR REPLACE VIEW mart.lot_ladder AS
SELECT
    l.account_id, l.security_id, l.lot_id, l.slice, l.acquired_on, l.quantity, l.basis_usd,
    round(l.quantity::DECIMAL(19, 9) * p.price_usd::DECIMAL(19, 9), 2)::DECIMAL(28, 6) AS value_usd,
    round(l.quantity::DECIMAL(19, 9) * p.price_usd::DECIMAL(19, 9), 2)::DECIMAL(28, 6) - l.basis_usd AS gain_usd,
    (l.quantity::DECIMAL(19, 9) * p.price_usd::DECIMAL(19, 9) - l.basis_usd) / nullif(l.basis_usd, 0) AS gain_rate,
    CASE WHEN l.long_term_from <= (SELECT as_of FROM mart.today) THEN 'long' ELSE 'short' END AS term_today,
    l.long_term_from, l.is_deferred
FROM core.lots AS l
LEFT JOIN core.latest_prices AS p USING (security_id)
ORDER BY l.account_id, l.security_id, l.acquired_on, l.lot_id, l.slice;
