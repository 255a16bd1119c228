-- Harvests proposed and harvests refused, each with its reason and its number.
-- Grain: account_id, security_id
-- account_id             account
-- security_id            what would be sold
-- quantity               shares
-- lots                   LOT:QTY;LOT:QTY
-- price_usd              close, USD a share
-- basis_usd              USD
-- value_usd              USD
-- short_loss_usd         short-term loss, USD, positive
-- long_loss_usd          long-term loss, USD, positive
-- tax_saved_usd          the loss at the household's marginal rates, USD
-- replacement_id         what would be bought instead; empty if nothing fits
-- replacement_quantity   shares
-- replacement_price_usd  close, USD a share
-- correlation            of daily returns, sold and replacement; 0 without one
-- beta                   of the replacement to what is sold; 0 without one
-- tracking_error         of the swap: standard deviation of the difference of their returns, a fraction a year; 0 without one
-- disallowed_usd         the part of the loss that a purchase would wash, USD, positive
-- permanent_usd          the part of that lost for good, USD
-- unlinked               accounts that nobody sees and that could wash it unseen; empty: every account is seen
-- turns_long_on          the first day on which a part of the short-term loss is long-term; empty: none is short-term
-- benefit_usd            what taking the loss now is expected to be ahead of waiting by, USD of today, signed; 0 where nobody asked
-- is_refused             true: it must not or cannot be done
-- reason                 why it is proposed, or why it is refused
CREATE OR REPLACE TABLE core.proposals (
    account_id VARCHAR NOT NULL,
    security_id VARCHAR NOT NULL,
    quantity DECIMAL(28, 9) NOT NULL,
    lots VARCHAR NOT NULL,
    price_usd DECIMAL(28, 9) NOT NULL,
    basis_usd DECIMAL(28, 6) NOT NULL,
    value_usd DECIMAL(28, 6) NOT NULL,
    short_loss_usd DECIMAL(28, 6) NOT NULL,
    long_loss_usd DECIMAL(28, 6) NOT NULL,
    tax_saved_usd DECIMAL(28, 6) NOT NULL,
    replacement_id VARCHAR NOT NULL,
    replacement_quantity DECIMAL(28, 9) NOT NULL,
    replacement_price_usd DECIMAL(28, 9) NOT NULL,
    correlation DOUBLE NOT NULL,
    beta DOUBLE NOT NULL,
    tracking_error DOUBLE NOT NULL,
    disallowed_usd DECIMAL(28, 6) NOT NULL,
    permanent_usd DECIMAL(28, 6) NOT NULL,
    unlinked VARCHAR NOT NULL,
    turns_long_on DATE,
    benefit_usd DECIMAL(28, 6) NOT NULL,
    is_refused BOOLEAN NOT NULL,
    reason VARCHAR NOT NULL
);
