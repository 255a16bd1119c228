-- What should stand in another account, what would that save a year, what does it cost now, in how many years is it back, and why is it left?
SELECT move, account_id, sold_class, bought_class, trades, saving_usd, tax_usd, trading_usd, round(break_even_years, 1) AS break_even_years,
    is_proposed, reason FROM core.location_moves ORDER BY move, account_id;
