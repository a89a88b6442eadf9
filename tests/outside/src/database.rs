//! A database and what it answers, as text: tests compare what a user would see.

use std::collections::BTreeMap;

use postgres::{Client, Config, NoTls, SimpleQueryMessage};

use crate::Cluster;

/// A row by column name; null is None.
pub type Row = BTreeMap<String, Option<String>>;

pub struct Database<'c> {
    pub cluster: &'c Cluster,
    pub name: String,
    own: bool,
}

impl<'c> Database<'c> {
    pub fn existing(cluster: &'c Cluster, name: &str) -> Self {
        Database {
            cluster,
            name: name.to_owned(),
            own: false,
        }
    }

    /// Dropped with the value.
    pub fn own(cluster: &'c Cluster, name: String) -> Self {
        Database {
            cluster,
            name,
            own: true,
        }
    }

    /// A session of its own.
    pub fn connect(&self) -> Client {
        self.connect_as("postgres")
    }

    pub fn connect_as(&self, role: &str) -> Client {
        let mut config = Config::new();
        let host = self.cluster.host();
        config
            .host(&host)
            .port(self.cluster.port().parse().expect("a port"))
            .user(role)
            .dbname(&self.name);
        config
            .connect(NoTls)
            .unwrap_or_else(|error| panic!("no connection to {}: {error}", self.name))
    }

    /// Runs statements in a session of their own; panics when one fails.
    pub fn run(&self, sql: &str) {
        if let Err(error) = self.connect().batch_execute(sql) {
            panic!("{sql}: {}", describe(&error));
        }
    }

    /// What a failing statement says: SQLSTATE, message, detail, hint.
    pub fn error(&self, sql: &str) -> String {
        match self.connect().batch_execute(sql) {
            Ok(()) => panic!("{sql}: no error"),
            Err(error) => describe(&error),
        }
    }

    pub fn rows(&self, sql: &str) -> Vec<Row> {
        rows(&mut self.connect(), sql)
    }

    /// The one row of a query.
    pub fn row(&self, sql: &str) -> Row {
        let mut rows = self.rows(sql);
        assert_eq!(rows.len(), 1, "{sql}: {} rows", rows.len());
        rows.remove(0)
    }

    /// The one value of a query; "" for null.
    pub fn value(&self, sql: &str) -> String {
        let row = self.row(sql);
        assert_eq!(row.len(), 1, "{sql}: {} columns", row.len());
        row.into_values().next().flatten().unwrap_or_default()
    }

    pub fn number(&self, sql: &str) -> i64 {
        self.value(sql)
            .parse()
            .unwrap_or_else(|_| panic!("{sql}: not a number"))
    }

    /// Waits until a query says true; panics after the deadline.
    pub fn wait_until(&self, seconds: u64, sql: &str) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(seconds);
        let mut client = self.connect();
        loop {
            let found = rows(&mut client, sql);
            if found
                .first()
                .and_then(|row| row.values().next().cloned().flatten())
                .as_deref()
                == Some("t")
            {
                return;
            }
            assert!(
                std::time::Instant::now() < deadline,
                "not true after {seconds} s: {sql}"
            );
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        if self.own && !std::thread::panicking() {
            let _ = Database::existing(self.cluster, "postgres")
                .connect()
                .batch_execute(&format!(
                    "DROP DATABASE IF EXISTS {} WITH (FORCE)",
                    self.name
                ));
        }
    }
}

/// The rows of a query in a session.
pub fn rows(client: &mut Client, sql: &str) -> Vec<Row> {
    let messages = client
        .simple_query(sql)
        .unwrap_or_else(|error| panic!("{sql}: {}", describe(&error)));
    messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(
                row.columns()
                    .iter()
                    .enumerate()
                    .map(|(i, column)| (column.name().to_owned(), row.get(i).map(str::to_owned)))
                    .collect(),
            ),
            _ => None,
        })
        .collect()
}

/// An error as psql would show it.
pub fn describe(error: &postgres::Error) -> String {
    match error.as_db_error() {
        None => error.to_string(),
        Some(error) => {
            let part = |name: &str, text: Option<&str>| {
                text.map(|text| format!("\n{name}: {text}"))
                    .unwrap_or_default()
            };
            format!(
                "{}: {}{}{}",
                error.code().code(),
                error.message(),
                part("DETAIL", error.detail()),
                part("HINT", error.hint())
            )
        }
    }
}
