-- Which of the codes ($2) of these types ($1) this database does not have.
SELECT said.type, said.code
FROM unnest($1::text[], $2::text[]) said(type, code)
LEFT JOIN nomenclature n USING (type, code)
WHERE n.id IS NULL
ORDER BY 1, 2
