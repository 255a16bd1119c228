-- Which rows were set aside, and which bank lines wait for a rule?
SELECT source, kind, line::VARCHAR AS line, reason FROM mart.set_aside
UNION ALL
SELECT bank_id, 'bank_lines', bank_line_id, 'no rule matches: ' || description FROM core.expenses WHERE category = 'review';
