-- Where is the household off its targets, by how much of how wide a band, and what is locked?
SELECT asset_class, round(weight, 4) AS weight, target_weight, round(drift, 4) AS drift, round(band, 4) AS band, is_outside,
    locked_usd, locked
FROM core.drift ORDER BY abs(drift) DESC;
