-- Where is the household off its targets?
SELECT asset_class, round(weight, 4) AS weight, target_weight, round(drift, 4) AS drift, is_outside FROM core.drift ORDER BY abs(drift) DESC;
