-- What each asset class costs a year in each kind of account, and whether foreign tax puts it into a taxable one.
-- Grain: asset_class
-- asset_class          asset class that is held or wanted, and whose yields are known
-- taxable_rate         tax on a dollar in a taxable account, a fraction a year; below zero where foreign tax is credited against other tax
-- traditional_rate     the same on a dollar after tax in a traditional account
-- roth_rate            the same in a Roth account
-- withheld_rate        foreign tax on a dollar, a fraction a year, in whatever account; an IRA has nothing to credit it against
-- withholding_rate     foreign tax on a dollar of its dividends; empty: none
-- break_even_rate      withholding from which on it is a better taxable holding than US stocks; empty: nothing is withheld
-- is_better_taxable    true: it is, by its tax and the credit that the household really gets; empty: nothing is withheld
CREATE OR REPLACE TABLE core.class_costs (
    asset_class VARCHAR NOT NULL,
    taxable_rate DOUBLE NOT NULL,
    traditional_rate DOUBLE NOT NULL,
    roth_rate DOUBLE NOT NULL,
    withheld_rate DOUBLE NOT NULL,
    withholding_rate DOUBLE,
    break_even_rate DOUBLE,
    is_better_taxable BOOLEAN
);
