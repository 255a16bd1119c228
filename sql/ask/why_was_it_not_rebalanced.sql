-- Which classes are outside their bands, or positions of a margin account above its limits, and were left alone, and why?
SELECT asset_class, account_id, security_id, value_usd, method, reason FROM core.left_alone ORDER BY asset_class, value_usd DESC;
