-- Harvests that were executed: tax deferred, and what would be owed back.
-- Grain: client_order_id
-- client_order_id   the order that sold
-- account_id        account
-- security_id       what was sold
-- replacement_id    what was bought
-- sold_on           day of the sale
-- allowed_loss_usd  loss that the law allows, USD, positive
-- disallowed_usd    loss disallowed, USD, positive
-- tax_deferred_usd  tax saved now, at the marginal rates, USD
-- unused_loss_usd  part of the allowed loss that saves nothing this year and is carried over, USD
-- owed_back_usd     tax if the replacement were sold at market, USD
CREATE OR REPLACE TABLE core.harvests (
    client_order_id VARCHAR NOT NULL,
    account_id VARCHAR NOT NULL,
    security_id VARCHAR NOT NULL,
    replacement_id VARCHAR NOT NULL,
    sold_on DATE NOT NULL,
    allowed_loss_usd DECIMAL(28, 6) NOT NULL,
    disallowed_usd DECIMAL(28, 6) NOT NULL,
    tax_deferred_usd DECIMAL(28, 6) NOT NULL,
    unused_loss_usd DECIMAL(28, 6) NOT NULL,
    owed_back_usd DECIMAL(28, 6) NOT NULL
);
