-- Realized gains by month and term after wash sales, and the losses that these disallowed.
-- Grain: year, month, series
-- year        tax year
-- month       1 to 12
-- series      Short-term, Long-term, or Disallowed loss
-- amount_usd  USD; a gain is signed, a disallowed loss is positive
CREATE OR REPLACE VIEW mart.gains_by_month AS
SELECT year(sold_on) AS year, month(sold_on) AS month, CASE term WHEN 'short' THEN 'Short-term' ELSE 'Long-term' END AS series,
    sum(gain_usd)::DECIMAL(28, 6) AS amount_usd
FROM core.disposals
GROUP BY ALL
UNION ALL
SELECT year(sold_on), month(sold_on), 'Disallowed loss', sum(adjustment_usd)::DECIMAL(28, 6)
FROM core.disposals
GROUP BY ALL
ORDER BY ALL;
