-- The bell of the web interface: a row of t_notifications is a message. An alert of
-- the harvest is delivered there.

CREATE SCHEMA gn_notifications;

CREATE TABLE gn_notifications.bib_notifications_categories (
    code        varchar NOT NULL,
    label       varchar,
    description text,
    id_module   integer,
    id_object   integer,
    id_action   integer,
    CONSTRAINT bib_notifications_categories_pkey
        PRIMARY KEY (code),
    CONSTRAINT bib_notifications_categories_id_module_fkey
        FOREIGN KEY (id_module) REFERENCES gn_commons.t_modules(id_module)
);

CREATE TABLE gn_notifications.bib_notifications_methods (
    code        varchar NOT NULL,
    label       varchar,
    description text,
    CONSTRAINT bib_notifications_methods_pkey
        PRIMARY KEY (code)
);

CREATE TABLE gn_notifications.bib_notifications_templates (
    code_category varchar NOT NULL,
    code_method   varchar NOT NULL,
    content       text,
    CONSTRAINT bib_notifications_templates_pkey
        PRIMARY KEY (code_category, code_method),
    CONSTRAINT bib_notifications_templates_code_category_fkey
        FOREIGN KEY (code_category) REFERENCES gn_notifications.bib_notifications_categories(code),
    CONSTRAINT bib_notifications_templates_code_method_fkey
        FOREIGN KEY (code_method) REFERENCES gn_notifications.bib_notifications_methods(code)
);

CREATE TABLE gn_notifications.t_notifications (
    id_notification serial,
    id_role         integer NOT NULL,
    title           varchar,
    content         text,
    url             varchar,
    code_status     varchar,
    creation_date   timestamp,
    CONSTRAINT t_notifications_pkey
        PRIMARY KEY (id_notification),
    CONSTRAINT t_notifications_id_role_fkey
        FOREIGN KEY (id_role) REFERENCES utilisateurs.t_roles(id_role)
);

CREATE TABLE gn_notifications.t_notifications_rules (
    id            serial,
    id_role       integer,
    code_method   varchar NOT NULL,
    code_category varchar NOT NULL,
    subscribed    boolean NOT NULL DEFAULT true,
    CONSTRAINT t_notifications_rules_pkey
        PRIMARY KEY (id),
    CONSTRAINT un_role_method_category
        UNIQUE (id_role, code_method, code_category),
    CONSTRAINT t_notifications_rules_code_category_fkey
        FOREIGN KEY (code_category) REFERENCES gn_notifications.bib_notifications_categories(code),
    CONSTRAINT t_notifications_rules_code_method_fkey
        FOREIGN KEY (code_method) REFERENCES gn_notifications.bib_notifications_methods(code),
    CONSTRAINT t_notifications_rules_id_role_fkey
        FOREIGN KEY (id_role) REFERENCES utilisateurs.t_roles(id_role)
);
