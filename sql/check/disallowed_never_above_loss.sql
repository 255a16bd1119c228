-- No more is disallowed than was lost, and every disallowed dollar has its match.
SELECT d.trade_id, d.lot_id, d.slice, d.adjustment_usd, d.basis_usd - d.proceeds_usd AS loss_usd
FROM core.disposals AS d
WHERE d.adjustment_usd > greatest(d.basis_usd - d.proceeds_usd, 0) OR d.permanent_usd > d.adjustment_usd
UNION ALL
SELECT 'all', 'all', 0, disposals.usd, matches.usd
FROM (SELECT coalesce(sum(adjustment_usd), 0) AS usd FROM core.disposals) AS disposals,
    (SELECT coalesce(sum(disallowed_usd), 0) AS usd FROM core.wash_sales) AS matches
WHERE disposals.usd <> matches.usd;
