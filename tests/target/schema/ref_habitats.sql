-- Habitats: synthese.cd_hab points at them. The model was not recorded beyond the key;
-- the columns kept here are the ones that a reader expects.

CREATE SCHEMA ref_habitats;

CREATE TABLE ref_habitats.typoref (
    cd_typo          serial,
    cd_table         varchar(255),
    lb_nom_typo      varchar(100),
    nom_jeu_donnees  varchar(255),
    CONSTRAINT pk_typoref
        PRIMARY KEY (cd_typo)
);

CREATE TABLE ref_habitats.habref (
    cd_hab             serial,
    fg_validite        varchar(20) NOT NULL,
    cd_typo            integer NOT NULL,
    lb_code            varchar(50),
    lb_hab_fr          varchar(500),
    lb_hab_fr_complet  varchar(500),
    lb_hab_en          varchar(500),
    niveau             integer,
    cd_hab_sup         integer,
    CONSTRAINT pk_habref
        PRIMARY KEY (cd_hab),
    CONSTRAINT fk_typoref
        FOREIGN KEY (cd_typo) REFERENCES ref_habitats.typoref(cd_typo) ON UPDATE CASCADE
);

CREATE INDEX i_habref_lb_code ON ref_habitats.habref (lb_code);
