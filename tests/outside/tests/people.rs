//! Roles of a test's own, and what they may do.

use gn_harvest_outside::{Database, describe, rows};

/// Makes a role of this test's own, that can connect; roles belong to the whole cluster.
pub fn role(database: &Database, name: &str) -> String {
    let role = format!("{name}_{}", database.name);
    database.run(&format!("CREATE ROLE {role} LOGIN"));
    role
}

/// Runs statements as a role; panics when one fails.
pub fn as_role(database: &Database, role: &str, sql: &str) {
    if let Err(error) = database.connect_as(role).batch_execute(sql) {
        panic!("{sql}, as {role}: {}", describe(&error));
    }
}

/// What a statement that fails for a role says.
pub fn error_as(database: &Database, role: &str, sql: &str) -> String {
    match database.connect_as(role).batch_execute(sql) {
        Ok(()) => panic!("{sql}, as {role}: no error"),
        Err(error) => describe(&error),
    }
}

/// The one value of a query of a role; "" for null.
pub fn value_as(database: &Database, role: &str, sql: &str) -> String {
    let mut rows = rows(&mut database.connect_as(role), sql);
    assert_eq!(rows.len(), 1, "{sql}: {} rows", rows.len());
    let row = rows.remove(0);
    row.into_values().next().flatten().unwrap_or_default()
}
