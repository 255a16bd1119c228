-- Every harvest that was filled, newest first: what it saved and cost, and how it stands beside the lots that were sold.
-- Grain: client_order_id
-- client_order_id      the order that sold
-- account_id           account
-- sold_on              day of the sale
-- security_id          what was sold
-- replacement_id       what was bought
-- loss_usd             loss after wash sales, USD, positive
-- saved_usd            tax saved in that year, USD
-- used_usd             tax that what was carried over has saved since, USD
-- given_back_usd       tax since on the lower basis, USD, signed
-- deferred_usd         tax still owed back, USD
-- permanent_usd        what is never given back, USD, signed
-- cost_usd             commissions and slippage, USD
-- tracking_usd         what the replacement gained more than what was sold, USD, signed
-- growth_usd           what the tax saved has grown by since, before tax, USD, signed
-- tracking_error       of the pair since, a fraction a year; empty in the first 20 sessions
-- switch_back_tax_usd  tax if the replacement were sold at market today, USD, signed
-- alpha_usd            our side less the twin's, both after tax and sold at market, USD, signed; empty where a price is missing
CREATE OR REPLACE VIEW mart.harvest_alpha AS
SELECT client_order_id, account_id, sold_on, security_id, replacement_id,
    (short_loss_usd + long_loss_usd)::DECIMAL(28, 6) AS loss_usd, saved_usd, used_usd, given_back_usd, deferred_usd, permanent_usd,
    (commission_usd + slippage_usd)::DECIMAL(28, 6) AS cost_usd, tracking_usd, growth_usd, tracking_error, switch_back_tax_usd, alpha_usd
FROM core.tax_alpha
ORDER BY sold_on DESC, client_order_id;
