-- Every trade that a method proposed for the newest decision, and what the arbiter said.
-- Grain: proposal, leg
-- proposal       the method's own name of it; its trades go together or not at all
-- leg            1, 2, ...
-- method         harvest, hand, ...
-- account_id     account
-- side           buy or sell
-- security_id    security
-- quantity       shares
-- price_usd      close that it was proposed on, USD a share
-- lots           lots meant to be sold, LOT:QTY;LOT:QTY; empty for purchases
-- loss_usd       loss expected at that price, USD, positive; zero for purchases
-- tax_saved_usd  tax that the loss saves this year by the household's marginal rates, USD
-- reason         why it is proposed
-- refusal        why the arbiter left it out; empty: it is in the decision
CREATE OR REPLACE TABLE core.proposed_trades (
    proposal VARCHAR NOT NULL,
    leg BIGINT NOT NULL,
    method VARCHAR NOT NULL,
    account_id VARCHAR NOT NULL,
    side VARCHAR NOT NULL,
    security_id VARCHAR NOT NULL,
    quantity DECIMAL(28, 9) NOT NULL,
    price_usd DECIMAL(28, 9) NOT NULL,
    lots VARCHAR NOT NULL,
    loss_usd DECIMAL(28, 6) NOT NULL,
    tax_saved_usd DECIMAL(28, 6) NOT NULL,
    reason VARCHAR NOT NULL,
    refusal VARCHAR NOT NULL
);
