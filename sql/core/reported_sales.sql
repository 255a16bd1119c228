-- Every sale in a taxable account as Form 8949 says it beside the broker's 1099-B: a row for each piece that neither view cuts.
-- Grain: trade_id, slice
-- trade_id               the sale
-- slice                  1, 2, ... within the sale
-- lot_id                 the lot that the household's books sold
-- broker_lot_id          the lot that the broker relieved
-- account_id             account
-- security_id            security
-- quantity               shares
-- acquired_on            column (b)
-- sold_on                column (c)
-- proceeds_usd           column (d), USD
-- basis_usd              column (e): as the broker reports it where it reports one, else the right one, USD
-- adjustment_code        column (f): B, T, W in alphabetical order
-- adjustment_usd         column (g): one net amount, USD, signed
-- permanent_usd          the part of the disallowed loss that no basis will give back, USD
-- gain_usd               column (h), USD, signed
-- term                   short or long
-- is_provisional         a loss that a purchase may still wash
-- is_reported            true where the broker reports the basis to the IRS (a covered security)
-- box                    of Form 8949, A to L
-- right_basis_usd        the basis by the household's own books, USD
-- disallowed_usd         the loss disallowed by the household's own books, USD, positive
-- broker_basis_usd       box 1e, USD
-- broker_disallowed_usd  box 1g, USD, positive
-- broker_term            box 2: short or long
-- note                   where the two views differ, in a sentence; empty where they agree
CREATE OR REPLACE TABLE core.reported_sales (
    trade_id VARCHAR NOT NULL,
    slice BIGINT NOT NULL,
    lot_id VARCHAR NOT NULL,
    broker_lot_id VARCHAR NOT NULL,
    account_id VARCHAR NOT NULL,
    security_id VARCHAR NOT NULL,
    quantity DECIMAL(28, 9) NOT NULL,
    acquired_on DATE NOT NULL,
    sold_on DATE NOT NULL,
    proceeds_usd DECIMAL(28, 6) NOT NULL,
    basis_usd DECIMAL(28, 6) NOT NULL,
    adjustment_code VARCHAR NOT NULL,
    adjustment_usd DECIMAL(28, 6) NOT NULL,
    permanent_usd DECIMAL(28, 6) NOT NULL,
    gain_usd DECIMAL(28, 6) NOT NULL,
    term VARCHAR NOT NULL,
    is_provisional BOOLEAN NOT NULL,
    is_reported BOOLEAN NOT NULL,
    box VARCHAR NOT NULL,
    right_basis_usd DECIMAL(28, 6) NOT NULL,
    disallowed_usd DECIMAL(28, 6) NOT NULL,
    broker_basis_usd DECIMAL(28, 6) NOT NULL,
    broker_disallowed_usd DECIMAL(28, 6) NOT NULL,
    broker_term VARCHAR NOT NULL,
    note VARCHAR NOT NULL
);
