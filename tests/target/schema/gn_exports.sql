-- What the export module (gn_module_export 1.8.2) adds to a GeoNature: which views are exports, under which licence,
-- and who may read them. For databases that stand for a partner's; a target has no need of it.

CREATE SCHEMA gn_exports;

CREATE TABLE gn_exports.t_licences (
    id_licence   serial,
    name_licence varchar(100) NOT NULL,
    url_licence  varchar(500) NOT NULL,
    CONSTRAINT pk_gn_exports_t_licences
        PRIMARY KEY (id_licence)
);

CREATE TABLE gn_exports.t_exports (
    id             serial,
    label          text NOT NULL,
    schema_name    text NOT NULL,
    view_name      text NOT NULL,
    "desc"         text,
    geometry_field varchar(255),
    geometry_srid  integer,
    public         boolean NOT NULL DEFAULT false,
    id_licence     integer NOT NULL,
    view_pk_column varchar NOT NULL,
    CONSTRAINT t_exports_pkey
        PRIMARY KEY (id),
    CONSTRAINT uniq_label
        UNIQUE (label),
    CONSTRAINT fk_gn_exports_t_exports_id_licence
        FOREIGN KEY (id_licence) REFERENCES gn_exports.t_licences(id_licence)
);

-- The module gives each pair a token of 32 hexadecimal digits, and accepts any that is here for the export.
CREATE TABLE gn_exports.cor_exports_roles (
    id_export integer NOT NULL,
    id_role   integer NOT NULL,
    token     varchar NOT NULL,
    CONSTRAINT cor_exports_roles_pkey
        PRIMARY KEY (id_export, id_role),
    CONSTRAINT fk_cor_exports_roles_id_export
        FOREIGN KEY (id_export) REFERENCES gn_exports.t_exports(id) ON DELETE CASCADE,
    CONSTRAINT fk_cor_exports_roles_id_role
        FOREIGN KEY (id_role) REFERENCES utilisateurs.t_roles(id_role) ON UPDATE CASCADE
);

CREATE TABLE gn_exports.t_export_schedules (
    id_export_schedule serial,
    id_export          integer NOT NULL,
    frequency          integer NOT NULL,
    format             varchar(10) NOT NULL,
    in_process         boolean NOT NULL DEFAULT false,
    CONSTRAINT t_export_schedules_pkey
        PRIMARY KEY (id_export_schedule),
    CONSTRAINT fk_t_export_schedules_id_export
        FOREIGN KEY (id_export) REFERENCES gn_exports.t_exports(id) ON DELETE CASCADE
);

INSERT INTO gn_exports.t_licences (name_licence, url_licence) VALUES
    ('Creative Commons Attribution 1.0 Generic', 'https://spdx.org/licenses/CC-BY-1.0.html'),
    ('ODC Open Database License v1.0', 'https://spdx.org/licenses/ODbL-1.0.html#licenseText'),
    ('Licence Ouverte/Open Licence Version 2.0', 'https://www.etalab.gouv.fr/licence-ouverte-open-licence');
