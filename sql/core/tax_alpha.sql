-- Every harvest that was filled, followed to today: what it saved, what of that is owed back or kept, what it cost, and how it stands beside a twin that held on to the lots that were sold.
-- Grain: client_order_id
-- client_order_id             the order that sold
-- account_id                  account
-- security_id                 what was sold
-- replacement_id              what was bought; empty: nothing was filled
-- sold_on                     day of the sale
-- short_loss_usd              short-term loss after wash sales, USD; negative is a gain
-- long_loss_usd               long-term loss after wash sales, USD; negative is a gain
-- saved_usd                   tax saved in the year of the sale: its part of what the year's harvests saved together, USD
-- used_usd                    tax that its part carried over has saved in later years, USD
-- carried_usd                 tax that what is carried still may save, at the long-term rate, USD
-- given_back_usd              tax since on the gain that the lower basis made, as parts of the replacement were sold, at the rates of these sales, USD, signed
-- deferred_usd                the same tax where the lower basis lives on, in the replacement or in what was bought for it, at the long-term rate, USD, signed
-- lost_usd                    tax on the loss that a wash sale ended for good, USD
-- permanent_usd               saved, used and carried less given back, deferred and lost: a difference of rates, or a basis that a death stepped up, USD, signed
-- commission_usd              of the sale and the purchase, USD
-- switch_back_short_gain_usd  short-term gain if the replacement were sold at market today, USD, signed; empty without a price
-- switch_back_long_gain_usd   the same, long-term
-- switch_back_tax_usd         tax on both at the marginal rates, USD; negative: a loss that saves tax
-- slippage_usd                what the fills were worse than the closes of their sessions, USD, signed; zero where there is no close of that day yet
-- tracking_usd                what we gained since, less what the lots sold would have, before tax, USD, signed; empty where a price is missing
-- growth_usd                  what the tax saved has grown by since the end of its year, as what was sold grew, before tax, USD, signed; the twin had to sell for it
-- ours_usd                    our side sold at market, after tax, with the tax saved, its growth and what a carryover may save, USD
-- twin_usd                    the lots that were sold, held on and sold at market, after tax at the long-term rate; where we sold for good, sold too, USD
-- alpha_usd                   ours less the twin's, USD, signed
-- tracking_error              of the replacement beside what was sold, by daily closes since, a fraction a year; empty in the first 20 sessions
CREATE OR REPLACE TABLE core.tax_alpha (
    client_order_id VARCHAR NOT NULL,
    account_id VARCHAR NOT NULL,
    security_id VARCHAR NOT NULL,
    replacement_id VARCHAR NOT NULL,
    sold_on DATE NOT NULL,
    short_loss_usd DECIMAL(28, 6) NOT NULL,
    long_loss_usd DECIMAL(28, 6) NOT NULL,
    saved_usd DECIMAL(28, 6) NOT NULL,
    used_usd DECIMAL(28, 6) NOT NULL,
    carried_usd DECIMAL(28, 6) NOT NULL,
    given_back_usd DECIMAL(28, 6) NOT NULL,
    deferred_usd DECIMAL(28, 6) NOT NULL,
    lost_usd DECIMAL(28, 6) NOT NULL,
    permanent_usd DECIMAL(28, 6) NOT NULL,
    commission_usd DECIMAL(28, 6) NOT NULL,
    switch_back_short_gain_usd DECIMAL(28, 6),
    switch_back_long_gain_usd DECIMAL(28, 6),
    switch_back_tax_usd DECIMAL(28, 6),
    slippage_usd DECIMAL(28, 6),
    tracking_usd DECIMAL(28, 6),
    growth_usd DECIMAL(28, 6),
    ours_usd DECIMAL(28, 6),
    twin_usd DECIMAL(28, 6),
    alpha_usd DECIMAL(28, 6),
    tracking_error DOUBLE
);
