-- The taxonomic referential: synthese.cd_nom points at it, sensitivity rules and
-- default nomenclature values are decided by it.

CREATE SCHEMA taxonomie;

CREATE TABLE taxonomie.bib_taxref_habitats (
    id_habitat   integer NOT NULL,
    nom_habitat  varchar(50) NOT NULL,
    desc_habitat text,
    CONSTRAINT pk_bib_taxref_habitats
        PRIMARY KEY (id_habitat)
);

CREATE TABLE taxonomie.bib_taxref_rangs (
    id_rang     char(4) NOT NULL,
    nom_rang    varchar(50) NOT NULL,
    nom_rang_en varchar(50) NOT NULL,
    tri_rang    integer,
    CONSTRAINT pk_bib_taxref_rangs
        PRIMARY KEY (id_rang)
);

CREATE TABLE taxonomie.bib_taxref_statuts (
    id_statut  char(1) NOT NULL,
    nom_statut varchar(50) NOT NULL,
    CONSTRAINT pk_bib_taxref_statuts
        PRIMARY KEY (id_statut)
);

CREATE TABLE taxonomie.t_meta_taxref (
    referencial_name varchar NOT NULL,
    version          integer NOT NULL,
    update_date      timestamp DEFAULT now(),
    CONSTRAINT t_meta_taxref_pkey
        PRIMARY KEY (referencial_name, version)
);

CREATE TABLE taxonomie.taxref (
    cd_nom                integer NOT NULL,
    id_statut             char(1),
    id_habitat            integer,
    id_rang               varchar(10),
    regne                 varchar(20),
    phylum                varchar(50),
    classe                varchar(50),
    ordre                 varchar(50),
    famille               varchar(50),
    sous_famille          varchar(50),
    tribu                 varchar(50),
    cd_taxsup             integer,
    cd_sup                integer,
    cd_ref                integer,
    lb_nom                varchar(250),
    lb_auteur             varchar(500),
    nom_complet           varchar(500),
    nom_complet_html      varchar(500),
    nom_valide            varchar(500),
    nom_vern              varchar(1000),
    nom_vern_eng          varchar(500),
    group1_inpn           varchar(50),
    group2_inpn           varchar(50),
    url                   text,
    group3_inpn           varchar(250),
    cd_ba                 integer,
    nomenclatural_comment varchar(500),
    CONSTRAINT pk_taxref
        PRIMARY KEY (cd_nom),
    CONSTRAINT fk_taxref_bib_taxref_habitats
        FOREIGN KEY (id_habitat) REFERENCES taxonomie.bib_taxref_habitats(id_habitat) ON UPDATE CASCADE,
    CONSTRAINT fk_taxref_bib_taxref_rangs
        FOREIGN KEY (id_rang) REFERENCES taxonomie.bib_taxref_rangs(id_rang) ON UPDATE CASCADE,
    CONSTRAINT taxref_id_statut_fkey
        FOREIGN KEY (id_statut) REFERENCES taxonomie.bib_taxref_statuts(id_statut) ON UPDATE CASCADE
);

CREATE INDEX i_taxref_cd_ref       ON taxonomie.taxref (cd_ref);
CREATE INDEX i_taxref_cd_sup       ON taxonomie.taxref (cd_sup);
CREATE INDEX i_taxref_cd_taxsup    ON taxonomie.taxref (cd_taxsup);
CREATE INDEX i_taxref_group2_inpn  ON taxonomie.taxref (group2_inpn);
CREATE INDEX i_taxref_hierarchy    ON taxonomie.taxref (regne, phylum, classe, ordre, famille);
CREATE INDEX i_trgm_taxref_lb_nom  ON taxonomie.taxref USING gin (lb_nom gin_trgm_ops);

CREATE MATERIALIZED VIEW taxonomie.vm_regne AS
    SELECT DISTINCT regne FROM taxonomie.taxref;
CREATE UNIQUE INDEX i_unique_regne ON taxonomie.vm_regne (regne);

CREATE MATERIALIZED VIEW taxonomie.vm_group1_inpn AS
    SELECT DISTINCT group1_inpn FROM taxonomie.taxref;
CREATE UNIQUE INDEX i_unique_group1_inpn ON taxonomie.vm_group1_inpn (group1_inpn);

CREATE MATERIALIZED VIEW taxonomie.vm_group2_inpn AS
    SELECT DISTINCT group2_inpn FROM taxonomie.taxref;
CREATE UNIQUE INDEX i_unique_group2_inpn ON taxonomie.vm_group2_inpn (group2_inpn);

-- The accepted name of a name, NULL when the name is unknown.
CREATE FUNCTION taxonomie.find_cdref(id integer) RETURNS integer
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT t.cd_ref FROM taxonomie.taxref AS t WHERE t.cd_nom = id);
END
$$;

-- The three below are called by CHECK constraints that add "or the wildcard":
-- they answer, they never raise.
CREATE FUNCTION taxonomie.check_is_regne(mytext text) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN mytext IS NULL
        OR EXISTS (SELECT FROM taxonomie.vm_regne AS r WHERE r.regne = mytext);
END
$$;

CREATE FUNCTION taxonomie.check_is_group2inpn(mytext text) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN mytext IS NULL
        OR EXISTS (SELECT FROM taxonomie.vm_group2_inpn AS g WHERE g.group2_inpn = mytext);
END
$$;

CREATE FUNCTION taxonomie.check_is_group3inpn(mytext text) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN mytext IS NULL
        OR EXISTS (SELECT FROM taxonomie.taxref AS t WHERE t.group3_inpn = mytext);
END
$$;
