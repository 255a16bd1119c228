-- What does each asset class cost a year in a taxable, a traditional and a Roth account, and does foreign tax make it a better taxable holding than US stocks?
SELECT asset_class, round(taxable_rate, 6) AS taxable_rate, round(traditional_rate, 6) AS traditional_rate, roth_rate, withheld_rate,
    withholding_rate, round(break_even_rate, 4) AS break_even_rate, is_better_taxable FROM core.class_costs ORDER BY taxable_rate DESC;
