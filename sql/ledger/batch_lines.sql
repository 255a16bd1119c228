-- The trades of each decision.
-- Grain: batch_id, line
-- batch_id       the decision
-- line           1, 2, ...
-- pair           lines of one pair (a harvest and its replacement, a move between accounts) go together or not at all; counted over all accounts, by session and kind
-- method         who proposed it: harvest, bands, ...; several, separated by commas, where their trades were netted
-- side           buy or sell
-- security_id    security
-- quantity       shares
-- price_usd      close that it was decided on, USD a share
-- lots           lots that the broker is told, with the order or after the trade, LOT:QTY;LOT:QTY; empty: it takes none
-- loss_usd       loss expected at that price, USD, positive; zero for buys
-- tax_saved_usd  tax that the loss saves this year by the household's marginal rates, USD
-- reason         why, in one sentence
-- intended_lots  lots that we mean to sell, LOT:QTY;LOT:QTY; empty for buys
-- relieved_lots  lots that the broker relieves if it is told nothing more, LOT:QTY;LOT:QTY; empty for buys
CREATE TABLE ledger.batch_lines (
    batch_id VARCHAR NOT NULL,
    line INTEGER NOT NULL,
    pair INTEGER NOT NULL,
    method VARCHAR NOT NULL,
    side VARCHAR NOT NULL,
    security_id VARCHAR NOT NULL,
    quantity DECIMAL(28, 9) NOT NULL,
    price_usd DECIMAL(28, 9) NOT NULL,
    lots VARCHAR NOT NULL,
    loss_usd DECIMAL(28, 6) NOT NULL,
    tax_saved_usd DECIMAL(28, 6) NOT NULL,
    reason VARCHAR NOT NULL,
    intended_lots VARCHAR NOT NULL,
    relieved_lots VARCHAR NOT NULL,
    PRIMARY KEY (batch_id, line)
);
