-- What could be harvested and what it would save, by account.
-- Grain: account_id
-- account_id     account
-- loss_usd       losses that may be harvested today, USD, positive
-- tax_saved_usd  USD
-- refused_usd    losses that may not, USD, positive
CREATE OR REPLACE VIEW mart.tax_losses_available AS
SELECT account_id, coalesce(sum(loss_usd) FILTER (NOT is_refused), 0)::DECIMAL(28, 6) AS loss_usd,
    coalesce(sum(tax_saved_usd) FILTER (NOT is_refused), 0)::DECIMAL(28, 6) AS tax_saved_usd,
    coalesce(sum(loss_usd) FILTER (is_refused), 0)::DECIMAL(28, 6) AS refused_usd
FROM mart.harvest_candidates
GROUP BY ALL
ORDER BY ALL;
