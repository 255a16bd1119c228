-- Losses worth harvesting today, and those refused, or left out of the decision, with the reason.
-- Grain: account_id, security_id
-- account_id      account
-- security_id     what would be sold
-- quantity        shares
-- loss_usd        USD, positive
-- loss_rate       loss / basis
-- short_loss_usd  short-term part, USD
-- tax_saved_usd   at the household's marginal rates, USD
-- replacement_id  what would be bought instead
-- correlation     of daily returns
-- beta            of the replacement to what is sold
-- tracking_error  of the swap, a fraction a year
-- disallowed_usd  the part of the loss that a purchase would wash, USD
-- permanent_usd   the part of that lost for good, USD
-- confidence      full; or lowered: an account that is not linked could wash it unseen
-- unlinked        which; empty where the confidence is full
-- turns_long_on   the first day on which a part of the short-term loss is long-term; empty: none is short-term
-- benefit_usd     what taking it now is expected to be ahead of waiting by, USD of today; 0 where the policy does not ask
-- is_refused      true: not to be done
-- reason          why, or why not
CREATE OR REPLACE VIEW mart.harvest_candidates AS
SELECT account_id, security_id, quantity, (short_loss_usd + long_loss_usd)::DECIMAL(28, 6) AS loss_usd,
    (short_loss_usd + long_loss_usd) / basis_usd AS loss_rate, short_loss_usd, tax_saved_usd, replacement_id, correlation,
    beta, tracking_error, disallowed_usd, permanent_usd, CASE WHEN unlinked = '' THEN 'full' ELSE 'lowered' END AS confidence, unlinked,
    turns_long_on, benefit_usd, is_refused OR refusal IS NOT NULL AS is_refused, coalesce('left out: ' || refusal, reason) AS reason
FROM core.proposals
LEFT JOIN (SELECT proposal, any_value(refusal) AS refusal FROM core.proposed_trades WHERE method = 'harvest' AND refusal <> '' GROUP BY proposal)
    ON NOT is_refused AND proposal = 'harvest ' || account_id || ' ' || security_id || ' ' || lots
ORDER BY is_refused, tax_saved_usd DESC;
