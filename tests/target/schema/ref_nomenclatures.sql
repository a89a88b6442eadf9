-- Controlled vocabularies. Nearly every column of an observation points at a row
-- of t_nomenclatures, and a CHECK verifies that this row is of the right type: the
-- functions below are called 18 times for each observation written, which is most
-- of what a write costs. They are plpgsql on purpose, as in the real thing.

CREATE SCHEMA ref_nomenclatures;

CREATE FUNCTION ref_nomenclatures.get_id_nomenclature_type(mytype varchar) RETURNS integer
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN (SELECT t.id_type
              FROM ref_nomenclatures.bib_nomenclatures_types AS t
             WHERE t.mnemonique = mytype);
END
$$;

CREATE FUNCTION ref_nomenclatures.get_id_nomenclature(mytype varchar, mycdnomenclature varchar) RETURNS integer
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN (SELECT n.id_nomenclature
              FROM ref_nomenclatures.t_nomenclatures AS n
             WHERE n.id_type = ref_nomenclatures.get_id_nomenclature_type(mytype)
               AND n.cd_nomenclature = mycdnomenclature);
END
$$;

CREATE FUNCTION ref_nomenclatures.get_cd_nomenclature(myidnomenclature integer) RETURNS varchar
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN (SELECT n.cd_nomenclature
              FROM ref_nomenclatures.t_nomenclatures AS n
             WHERE n.id_nomenclature = myidnomenclature);
END
$$;

CREATE FUNCTION ref_nomenclatures.get_nomenclature_label(myidnomenclature integer) RETURNS varchar
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN (SELECT n.label_default
              FROM ref_nomenclatures.t_nomenclatures AS n
             WHERE n.id_nomenclature = myidnomenclature);
END
$$;

-- NULL is of every type. A wrong type raises (SQLSTATE P0001) rather than answering
-- false (our assumption: a writer should bear P0001 and 23514 alike), and names what
-- would have been accepted. Collecting all nomenclatures of the
-- type is not the fast way: it is what brings a call to the 20 µs or so that one costs
-- in a real GeoNature, and tests of speed would be worth nothing without it.
CREATE FUNCTION ref_nomenclatures.check_nomenclature_type_by_mnemonique(id integer, mytype varchar) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    expected_type integer := ref_nomenclatures.get_id_nomenclature_type(mytype);
    accepted      integer[];
BEGIN
    SELECT array_agg(n.id_nomenclature ORDER BY n.cd_nomenclature)
      INTO accepted
      FROM ref_nomenclatures.t_nomenclatures AS n
      JOIN ref_nomenclatures.bib_nomenclatures_types AS t USING (id_type)
     WHERE t.id_type = expected_type;
    IF id IS NULL OR id = ANY (accepted) THEN
        RETURN true;
    END IF;
    RAISE EXCEPTION 'nomenclature % is not of type %, which has %', id, mytype, accepted;
END
$$;

CREATE TABLE ref_nomenclatures.bib_nomenclatures_types (
    id_type            serial,
    mnemonique         varchar(255),
    label_default      varchar(255) NOT NULL,
    definition_default text,
    label_fr           varchar(255) NOT NULL,
    definition_fr      text,
    label_en           varchar(255),
    definition_en      text,
    label_es           varchar(255),
    definition_es      text,
    label_de           varchar(255),
    definition_de      text,
    label_it           varchar(255),
    definition_it      text,
    source             varchar(50),
    statut             varchar(20),
    meta_create_date   timestamp DEFAULT now(),
    meta_update_date   timestamp DEFAULT now(),
    CONSTRAINT pk_bib_nomenclatures_types
        PRIMARY KEY (id_type),
    CONSTRAINT unique_bib_nomenclatures_types_mnemonique
        UNIQUE (mnemonique)
);

CREATE TABLE ref_nomenclatures.t_nomenclatures (
    id_nomenclature    serial,
    id_type            integer NOT NULL,
    cd_nomenclature    varchar(255) NOT NULL,
    mnemonique         varchar(255),
    label_default      varchar(255) NOT NULL,
    definition_default text,
    label_fr           varchar(255) NOT NULL,
    definition_fr      text,
    label_en           varchar(255),
    definition_en      text,
    label_es           varchar(255),
    definition_es      text,
    label_de           varchar(255),
    definition_de      text,
    label_it           varchar(255),
    definition_it      text,
    source             varchar(50),
    statut             varchar(20),
    id_broader         integer,
    hierarchy          varchar(255),
    meta_create_date   timestamp DEFAULT now(),
    meta_update_date   timestamp,
    active             boolean NOT NULL DEFAULT true,
    CONSTRAINT pk_t_nomenclatures
        PRIMARY KEY (id_nomenclature),
    CONSTRAINT unique_id_type_cd_nomenclature
        UNIQUE (id_type, cd_nomenclature),
    CONSTRAINT fk_t_nomenclatures_id_broader
        FOREIGN KEY (id_broader) REFERENCES ref_nomenclatures.t_nomenclatures(id_nomenclature),
    CONSTRAINT fk_t_nomenclatures_id_type
        FOREIGN KEY (id_type) REFERENCES ref_nomenclatures.bib_nomenclatures_types(id_type) ON UPDATE CASCADE
);

CREATE TABLE ref_nomenclatures.cor_nomenclatures_relations (
    id_nomenclature_l integer NOT NULL,
    id_nomenclature_r integer NOT NULL,
    relation_type     varchar(250) NOT NULL,
    CONSTRAINT pk_cor_nomenclatures_relations
        PRIMARY KEY (id_nomenclature_l, id_nomenclature_r, relation_type),
    CONSTRAINT fk_cor_nomenclatures_relations_id_nomenclature_l
        FOREIGN KEY (id_nomenclature_l) REFERENCES ref_nomenclatures.t_nomenclatures(id_nomenclature),
    CONSTRAINT fk_cor_nomenclatures_relations_id_nomenclature_r
        FOREIGN KEY (id_nomenclature_r) REFERENCES ref_nomenclatures.t_nomenclatures(id_nomenclature)
);

CREATE TABLE ref_nomenclatures.cor_taxref_nomenclature (
    id_nomenclature  integer NOT NULL,
    regne            varchar(255) NOT NULL,
    group2_inpn      varchar(255) NOT NULL,
    meta_create_date timestamp DEFAULT now(),
    meta_update_date timestamp,
    group3_inpn      varchar(255) NOT NULL DEFAULT 'all',
    CONSTRAINT pk_cor_taxref_nomenclature
        PRIMARY KEY (id_nomenclature, regne, group2_inpn, group3_inpn),
    CONSTRAINT fk_cor_taxref_nomenclature_id_nomenclature
        FOREIGN KEY (id_nomenclature) REFERENCES ref_nomenclatures.t_nomenclatures(id_nomenclature) ON UPDATE CASCADE
);

ALTER TABLE ref_nomenclatures.cor_taxref_nomenclature
    ADD CONSTRAINT check_cor_taxref_nomenclature_isgroup2inpn
        CHECK (taxonomie.check_is_group2inpn(group2_inpn) OR (group2_inpn = 'all')) NOT VALID,
    ADD CONSTRAINT check_cor_taxref_nomenclature_isgroup3inpn
        CHECK (taxonomie.check_is_group3inpn(group3_inpn) OR (group3_inpn = 'all')) NOT VALID,
    ADD CONSTRAINT check_cor_taxref_nomenclature_isregne
        CHECK (taxonomie.check_is_regne(regne) OR (regne = 'all')) NOT VALID;

CREATE TABLE ref_nomenclatures.defaults_nomenclatures_value (
    mnemonique_type varchar(255) NOT NULL,
    id_organism     integer NOT NULL,
    id_nomenclature integer NOT NULL,
    CONSTRAINT pk_defaults_nomenclatures_value
        PRIMARY KEY (mnemonique_type, id_organism),
    CONSTRAINT fk_defaults_nomenclatures_value_id_nomenclature
        FOREIGN KEY (id_nomenclature) REFERENCES ref_nomenclatures.t_nomenclatures(id_nomenclature) ON UPDATE CASCADE,
    CONSTRAINT fk_defaults_nomenclatures_value_id_organism
        FOREIGN KEY (id_organism) REFERENCES utilisateurs.bib_organismes(id_organisme) ON UPDATE CASCADE,
    CONSTRAINT fk_defaults_nomenclatures_value_mnemonique_type
        FOREIGN KEY (mnemonique_type) REFERENCES ref_nomenclatures.bib_nomenclatures_types(mnemonique) ON UPDATE CASCADE
);

ALTER TABLE ref_nomenclatures.defaults_nomenclatures_value
    ADD CONSTRAINT check_defaults_nomenclatures_value_is_nomenclature_in_type
        CHECK (ref_nomenclatures.check_nomenclature_type_by_mnemonique(id_nomenclature, mnemonique_type)) NOT VALID;

CREATE INDEX i_t_nomenclatures_id_type                ON ref_nomenclatures.t_nomenclatures (id_type);
CREATE INDEX i_t_nomenclatures_cd_nomenclature        ON ref_nomenclatures.t_nomenclatures (cd_nomenclature);
CREATE INDEX i_bib_nomenclatures_types_mnemonique     ON ref_nomenclatures.bib_nomenclatures_types (mnemonique);

-- The default of a type for an organism, else for the organism named ALL.
-- Declared immutable (our assumption, spec/ does not record volatility): an INSERT … SELECT
-- that leaves the column out pays for it once at planning, not at each row.
CREATE FUNCTION ref_nomenclatures.get_default_nomenclature_value(
    mytype        varchar,
    myidorganism  integer DEFAULT NULL
) RETURNS integer
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN (SELECT d.id_nomenclature
              FROM ref_nomenclatures.defaults_nomenclatures_value AS d
              JOIN utilisateurs.bib_organismes AS o ON o.id_organisme = d.id_organism
             WHERE d.mnemonique_type = mytype
               AND (d.id_organism = myidorganism OR o.nom_organisme = 'ALL')
             ORDER BY d.id_organism = myidorganism DESC NULLS LAST
             LIMIT 1);
END
$$;

CREATE TRIGGER tri_meta_dates_change_bib_nomenclatures_types
    BEFORE INSERT OR UPDATE ON ref_nomenclatures.bib_nomenclatures_types
    FOR EACH ROW EXECUTE FUNCTION public.fct_trg_meta_dates_change();

CREATE TRIGGER tri_meta_dates_change_t_nomenclatures
    BEFORE INSERT OR UPDATE ON ref_nomenclatures.t_nomenclatures
    FOR EACH ROW EXECUTE FUNCTION public.fct_trg_meta_dates_change();

CREATE TRIGGER tri_meta_dates_change_cor_taxref_nomenclature
    BEFORE INSERT OR UPDATE ON ref_nomenclatures.cor_taxref_nomenclature
    FOR EACH ROW EXECUTE FUNCTION public.fct_trg_meta_dates_change();
