-- Gains and losses by tax year, account and term, in Form 8949's words.
-- Grain: year, account_id, term
-- year             tax year
-- account_id       account
-- term             short or long
-- sales            rows of Form 8949
-- proceeds_usd     USD
-- basis_usd        USD
-- disallowed_usd   wash sales, USD, positive
-- permanent_usd    the part lost for good, USD
-- gain_usd         USD, signed
-- provisional_usd  losses among it that a purchase may still wash, USD, positive
CREATE OR REPLACE VIEW mart.realized_gains AS
SELECT year(sold_on) AS year, account_id, term, count(*) AS sales, sum(proceeds_usd)::DECIMAL(28, 6) AS proceeds_usd,
    sum(basis_usd)::DECIMAL(28, 6) AS basis_usd, sum(adjustment_usd)::DECIMAL(28, 6) AS disallowed_usd,
    sum(permanent_usd)::DECIMAL(28, 6) AS permanent_usd, sum(gain_usd)::DECIMAL(28, 6) AS gain_usd,
    coalesce(sum(-gain_usd) FILTER (is_provisional), 0)::DECIMAL(28, 6) AS provisional_usd
FROM core.disposals
GROUP BY ALL
ORDER BY ALL;
