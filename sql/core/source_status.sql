-- How fresh and how sound every source is for the day.
-- Grain: source, kind
-- source        account, bank or price source
-- kind          activities, positions, balances, bank_lines, prices, securities or corporate_actions
-- stated_on     the last day that the source speaks for; empty if it never spoke
-- max_age_days  how old it may be
-- is_sound      false: accounts concerned take no orders
-- reason        why not, and what to do; empty when sound
-- warning       what is new in what it delivers, and may matter; empty when nothing is
CREATE OR REPLACE TABLE core.source_status (
    source VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    stated_on DATE,
    max_age_days BIGINT NOT NULL,
    is_sound BOOLEAN NOT NULL,
    reason VARCHAR NOT NULL,
    warning VARCHAR NOT NULL
);
