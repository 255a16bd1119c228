-- How fresh is every source, and which one holds something up?
SELECT * FROM core.source_status ORDER BY is_sound, source;
