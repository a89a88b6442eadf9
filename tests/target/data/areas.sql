-- Areas over 80 km by 80 km of the Alps (Lambert-93, x 880000..960000, y 6400000..6480000),
-- which holds longitudes 5.40 to 6.20 and latitudes 44.75 to 45.25: a region, departments,
-- 1600 municipalities, three grids and natural areas. Grids are plain squares as in reality;
-- the borders of the others have a vertex every few metres, because the price of a link
-- between an observation and an area is the number of vertices of that area.

INSERT INTO ref_geo.bib_areas_types (type_code, type_name, type_desc, size_hierarchy) VALUES
    ('REG',     'Régions', 'Régions administratives', 200000),
    ('DEP',     'Départements', 'Départements', 80000),
    ('COM',     'Communes', 'Communes', 5000),
    ('M10',     'Mailles10*10', 'Mailles de 10 km', 10000),
    ('M5',      'Mailles5*5', 'Mailles de 5 km', 5000),
    ('M1',      'Mailles1*1', 'Mailles de 1 km', 1000),
    ('ZNIEFF1', 'ZNIEFF1', 'Zones naturelles d''intérêt de type I', 4000);

-- Square cells of a side, numbered i to the east and j to the north, with one vertex
-- every "step" metres of border.
CREATE FUNCTION pg_temp.cells(x0 integer, y0 integer, side integer, per_row integer, step float8)
RETURNS TABLE (i integer, j integer, geom geometry, centroid geometry)
LANGUAGE sql AS $$
    SELECT i, j,
           ST_Multi(ST_Segmentize(cell, step)),
           ST_Centroid(cell)
      FROM generate_series(0, per_row - 1) AS i,
           generate_series(0, per_row - 1) AS j,
           ST_MakeEnvelope(x0 + i * side, y0 + j * side, x0 + (i + 1) * side, y0 + (j + 1) * side, 2154) AS cell
$$;

CREATE FUNCTION pg_temp.id_type(code text) RETURNS integer
LANGUAGE sql AS $$ SELECT id_type FROM ref_geo.bib_areas_types WHERE type_code = code $$;

INSERT INTO ref_geo.l_areas (id_type, area_code, area_name, geom, centroid, source)
SELECT pg_temp.id_type('REG'), '84', 'Auvergne-Rhône-Alpes', geom, centroid, 'essai'
  FROM pg_temp.cells(880000, 6400000, 80000, 1, 32);

INSERT INTO ref_geo.l_areas (id_type, area_code, area_name, geom, centroid, source)
SELECT pg_temp.id_type('DEP'),
       (ARRAY['26', '38', '05', '73'])[1 + 2 * i + j],
       (ARRAY['Drôme', 'Isère', 'Hautes-Alpes', 'Savoie'])[1 + 2 * i + j],
       geom, centroid, 'essai'
  FROM pg_temp.cells(880000, 6400000, 40000, 2, 32);

-- Codes 90000 to 91599: 90000 + 40 i + j
INSERT INTO ref_geo.l_areas (id_type, area_code, area_name, geom, centroid, source)
SELECT pg_temp.id_type('COM'),
       lpad((90000 + i * 40 + j)::text, 5, '0'),
       (ARRAY['Saint-Étienne', 'La Chapelle', 'Villeneuve', 'Le Château', 'Saint-André', 'Vallouise', 'Les Côtes', 'Aiguillères',
              'Bézaudun', 'Crévoux', 'Réotier', 'Forêt-Saint-Julien', 'L''Épine', 'Pré-Maçon', 'Sainte-Eulalie', 'Châteauroux',
              'Névache', 'Orcières', 'Prébois', 'Œyreluy'])[1 + i % 20]
       || (ARRAY['-le-Haut', '-lès-Gap', '-en-Vercors', '-d''Oisans', '-sur-Drac', '-de-Bœuf', '-les-Prés', '-en-Dévoluy'])[1 + j % 8]
       || CASE WHEN i / 20 + j / 8 > 0 THEN ' ' || (i / 20 * 5 + j / 8 + 1) ELSE '' END,
       geom, centroid, 'essai'
  FROM pg_temp.cells(880000, 6400000, 2000, 40, 16);

INSERT INTO ref_geo.li_municipalities (id_municipality, id_area, insee_com, nom_com, insee_dep, nom_reg, insee_reg)
SELECT a.area_code, a.id_area, a.area_code, a.area_name, d.area_code, 'Auvergne-Rhône-Alpes', '84'
  FROM ref_geo.l_areas AS a
  JOIN ref_geo.l_areas AS d ON d.id_type = pg_temp.id_type('DEP') AND d.geom && a.centroid
 WHERE a.id_type = pg_temp.id_type('COM');

-- National grids are named by the kilometres of their south-west corner.
INSERT INTO ref_geo.l_areas (id_type, area_code, area_name, geom, centroid, source)
SELECT pg_temp.id_type(grid.code), cell_code, cell_code, geom, centroid, 'essai'
  FROM (VALUES ('M10', 10, 8), ('M5', 5, 16)) AS grid(code, km, per_row),
       pg_temp.cells(880000, 6400000, grid.km * 1000, grid.per_row, 1e9) AS c,
       format('%skmL93E%sN%s', grid.km, 880 + c.i * grid.km, 6400 + c.j * grid.km) AS cell_code;

-- The 1 km grid covers the middle 50 km by 50 km, and is in use in its southern half only.
INSERT INTO ref_geo.l_areas (id_type, area_code, area_name, geom, centroid, source, enable)
SELECT pg_temp.id_type('M1'), cell_code, cell_code, geom, centroid, 'essai', j < 25
  FROM pg_temp.cells(895000, 6415000, 1000, 50, 1e9) AS c,
       format('1kmL93E%sN%s', 895 + c.i, 6415 + c.j) AS cell_code;

INSERT INTO ref_geo.li_grids (id_grid, id_area, cxmin, cxmax, cymin, cymax)
SELECT area_code, id_area, ST_XMin(geom), ST_XMax(geom), ST_YMin(geom), ST_YMax(geom)
  FROM ref_geo.l_areas
 WHERE id_type IN (pg_temp.id_type('M10'), pg_temp.id_type('M5'), pg_temp.id_type('M1'));

-- Natural areas: 200 lobed outlines, every tenth out of use.
INSERT INTO ref_geo.l_areas (id_type, area_code, area_name, geom, centroid, source, enable)
SELECT pg_temp.id_type('ZNIEFF1'),
       (820030000 + n)::text,
       (ARRAY['Éboulis', 'Tourbière', 'Forêt', 'Pelouses', 'Étang', 'Gorges', 'Crêtes', 'Adret'])[1 + n % 8]
       || (ARRAY[' du Grand Séchoir', ' de la Bérarde', ' des Écouges', ' de l''Aiguille', ' du Vénéon'])[1 + n % 5] || ' n° ' || n,
       ST_Multi(outline), ST_Centroid(outline), 'essai', n % 10 <> 0
  FROM generate_series(1, 200) AS n,
       LATERAL (SELECT ST_MakePolygon(ST_AddPoint(line, ST_StartPoint(line))) AS outline
                  FROM (SELECT ST_SetSRID(ST_MakeLine(ST_MakePoint(
                                   884000 + (n * 7919) % 72000 + radius * cos(radians(degree)),
                                   6404000 + (n * 6007) % 72000 + radius * sin(radians(degree))) ORDER BY degree), 2154) AS line
                          FROM generate_series(0, 359) AS degree,
                               LATERAL (SELECT (300 + n * 37 % 900)
                                             * (1 + 0.25 * sin(radians(3 * degree + n)) + 0.12 * sin(radians(11 * degree)))
                                            AS radius) AS r) AS l) AS p;
