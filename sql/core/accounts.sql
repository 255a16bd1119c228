-- The accounts of the household, as portfolio.toml describes them.
-- Grain: account_id
-- account_id   account
-- name         what the household calls it
-- type         taxable, traditional_ira, roth_ira, ...
-- owner        self, spouse or joint
-- broker       simulated, statements, ...
-- relief       fifo_only: the broker sells first in, first out; on_order: it takes lots with the order; after_trade: after it, until a deadline; average: average cost of funds
-- method       the lots that we intend: fifo, lifo, hifo or lowest_tax
-- mode         dry_run: orders are shown, never sent; auto: sent within the gates
-- is_deferred  true in an IRA or another account whose basis does not matter for tax
-- booked_to    the day that lots and cash are of
CREATE OR REPLACE TABLE core.accounts (
    account_id VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    type VARCHAR NOT NULL,
    owner VARCHAR NOT NULL,
    broker VARCHAR NOT NULL,
    relief VARCHAR NOT NULL,
    method VARCHAR NOT NULL,
    mode VARCHAR NOT NULL,
    is_deferred BOOLEAN NOT NULL,
    booked_to DATE NOT NULL
);
