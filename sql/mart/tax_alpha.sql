-- What harvests have brought so far, by the month and the year in which they sold, beside a twin that held on.
-- Grain: year, month
-- year                 tax year
-- month                1 to 12; 0 is the whole year
-- harvests             harvests filled
-- unpriced             those among them whose market figures nobody knows; they are not in the last seven columns
-- loss_usd             losses after wash sales, USD, positive
-- saved_usd            tax saved in that year, USD
-- used_usd             tax that what was carried over has saved since, USD
-- carried_usd          tax that what is carried still may save, USD
-- given_back_usd       tax since on the lower basis, USD, signed
-- deferred_usd         tax still owed back, USD
-- lost_usd             tax on losses ended for good, USD
-- permanent_usd        what is never given back, USD, signed
-- switch_back_tax_usd  tax if all replacements were sold at market today, USD, signed
-- cost_usd             commissions and slippage, USD
-- tracking_usd         what the replacements gained more than what was sold, USD, signed
-- growth_usd           what the tax saved has grown by since, before tax, USD, signed
-- ours_usd             our side after tax, sold at market, USD
-- twin_usd             the twin's, USD
-- alpha_usd            ours less the twin's, USD, signed
CREATE OR REPLACE VIEW mart.tax_alpha AS
SELECT year, coalesce(month, 0) AS month, count(*) AS harvests, count(*) FILTER (alpha_usd IS NULL) AS unpriced,
    sum(short_loss_usd + long_loss_usd)::DECIMAL(28, 6) AS loss_usd, sum(saved_usd)::DECIMAL(28, 6) AS saved_usd,
    sum(used_usd)::DECIMAL(28, 6) AS used_usd, sum(carried_usd)::DECIMAL(28, 6) AS carried_usd,
    sum(given_back_usd)::DECIMAL(28, 6) AS given_back_usd, sum(deferred_usd)::DECIMAL(28, 6) AS deferred_usd,
    sum(lost_usd)::DECIMAL(28, 6) AS lost_usd, sum(permanent_usd)::DECIMAL(28, 6) AS permanent_usd,
    sum(switch_back_tax_usd)::DECIMAL(28, 6) AS switch_back_tax_usd, sum(commission_usd + slippage_usd)::DECIMAL(28, 6) AS cost_usd,
    sum(tracking_usd)::DECIMAL(28, 6) AS tracking_usd, sum(growth_usd)::DECIMAL(28, 6) AS growth_usd,
    sum(ours_usd)::DECIMAL(28, 6) AS ours_usd, sum(twin_usd)::DECIMAL(28, 6) AS twin_usd,
    sum(alpha_usd)::DECIMAL(28, 6) AS alpha_usd
FROM (SELECT *, year(sold_on) AS year, month(sold_on) AS month FROM core.tax_alpha)
GROUP BY GROUPING SETS ((year, month), (year))
ORDER BY 1, 2;
