//! A message in GeoNature's bell: a row of gn_notifications.t_notifications for each chosen role. The table has no
//! default for code_status nor creation_date (GeoNature 2.17). In a transaction, as the channel's owner.

use pgrx::prelude::*;

use super::channel::Channel;
use super::letter::Letter;
use super::payload;
use crate::error::Failure;
use crate::harvest;
use crate::postgres;

/// The roles, by number or identifiant; a group stands for its members. Those that are not found are told.
const ROLES: &str = "
    WITH RECURSIVE wanted AS (
        SELECT w.name, r.id_role
        FROM unnest($1) w(name)
        LEFT JOIN utilisateurs.t_roles r ON r.identifiant = w.name OR r.id_role::text = w.name),
    member AS (
        SELECT id_role FROM wanted WHERE id_role IS NOT NULL
        UNION
        SELECT c.id_role_utilisateur FROM utilisateurs.cor_roles c JOIN member m ON c.id_role_groupe = m.id_role)
    SELECT coalesce((SELECT array_agg(DISTINCT r.id_role) FROM member m JOIN utilisateurs.t_roles r USING (id_role)
                     WHERE NOT coalesce(r.groupe, false)), '{}'),
           (SELECT string_agg(w.name, ', ') FROM wanted w WHERE w.id_role IS NULL)";

const MESSAGE: &str = "
    INSERT INTO gn_notifications.t_notifications (id_role, title, content, url, code_status, creation_date)
    SELECT id_role, $2, $3, $4, 'UNREAD', localtimestamp FROM unnest($1) id_role";

/// Rings for a letter.
pub fn deliver(
    channel: &Channel,
    roles: &[String],
    link: Option<&str>,
    letter: &Letter,
    search_path: &str,
) -> Result<(), Failure> {
    let owner = harvest::role(&channel.owner)?.ok_or_else(|| {
        Failure::new(
            "42704",
            format!(
                "role \"{}\", which owns the channel, does not exist",
                channel.owner
            ),
        )
        .hint("Drop the channel and add it again.")
    })?;
    postgres::as_role(owner, search_path, || {
        let here = Spi::get_one::<bool>(
            "SELECT to_regclass('gn_notifications.t_notifications') IS NOT NULL",
        )?;
        if here != Some(true) {
            return Err(
                Failure::new("55000", "this database has no notifications of GeoNature")
                    .detail("There is no table gn_notifications.t_notifications.")
                    .hint("Use another kind of channel, or upgrade GeoNature."),
            );
        }
        let (found, missing) = Spi::connect(|client| -> Result<_, Failure> {
            let row = client
                .select(ROLES, Some(1), &[roles.to_vec().into()])?
                .first();
            Ok((
                row.get::<Vec<i32>>(1)?.unwrap_or_default(),
                row.get::<String>(2)?,
            ))
        })?;
        if found.is_empty() {
            let what = missing.unwrap_or_else(|| "the groups have no members".to_owned());
            return Err(Failure::new("42704", "no role of utilisateurs.t_roles would be told")
                .detail(format!("Not found, or empty: {what}."))
                .hint("Add the channel again with identifiants or numbers: SELECT id_role, identifiant FROM utilisateurs.t_roles;"));
        }
        let (title, content) = payload::bell(letter);
        Spi::run_with_args(
            MESSAGE,
            &[found.into(), title.into(), content.into(), link.into()],
        )?;
        Ok(())
    })
}

/// With what PostgreSQL's own words leave out.
pub fn explained(failure: Failure, channel: &Channel) -> Failure {
    match failure.sqlstate.as_str() {
        "42501" => failure
            .detail(format!(
                "The bell is rung as role \"{}\", which owns the channel.",
                channel.owner
            ))
            .hint("GRANT it INSERT on gn_notifications.t_notifications with USAGE of its sequence, and SELECT on utilisateurs.t_roles and utilisateurs.cor_roles."),
        _ => failure,
    }
}
