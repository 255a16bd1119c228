-- Tax that harvests have deferred so far, by year, and what selling the replacements would owe back.
-- Grain: year
-- year              tax year
-- harvests          harvests executed
-- allowed_loss_usd  USD, positive
-- disallowed_usd    USD, positive
-- tax_deferred_usd  an estimate at the marginal rates, USD: a loan without interest, not a gift
-- unused_loss_usd   losses that save nothing this year and are carried over, USD
-- owed_back_usd     tax if the replacements were sold at market, USD
CREATE OR REPLACE VIEW mart.tax_deferred AS
SELECT year(sold_on) AS year, count(*) AS harvests, sum(allowed_loss_usd)::DECIMAL(28, 6) AS allowed_loss_usd,
    sum(disallowed_usd)::DECIMAL(28, 6) AS disallowed_usd, sum(tax_deferred_usd)::DECIMAL(28, 6) AS tax_deferred_usd,
    sum(unused_loss_usd)::DECIMAL(28, 6) AS unused_loss_usd,
    sum(owed_back_usd)::DECIMAL(28, 6) AS owed_back_usd
FROM core.harvests
GROUP BY ALL
ORDER BY ALL;
