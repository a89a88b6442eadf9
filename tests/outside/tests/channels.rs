//! Channels: what each receiver gets, once, in its language, of what it may know; and what happens when it is not there.

use std::time::Duration;

use gn_harvest_outside::{Database, rows};
use postgres::fallible_iterator::FallibleIterator;

use crate::mailbox::{LOGIN, MailServer, Security, silent_port};
use crate::people::*;
use crate::receiver::Receiver;
use crate::support::*;

/// A source that is not there, and so never harvested: alerts about it are raised by hand.
fn quiet_source(database: &Database, name: &str) {
    database.run(&format!(
        "SELECT gn_harvest.add_source('{}', 'https://geonature.example.org', 3)",
        name.replace('\'', "''")
    ));
}

/// Raises an alert as a rule does.
fn raise(database: &Database, source: &str, rule: &str, error: &str) {
    database.run(&format!(
        "SELECT gn_harvest.raise_alert(id, NULL, '{rule}', jsonb_build_object('error', $e${error}$e$), NULL) FROM gn_harvest.source WHERE name = '{}'",
        source.replace('\'', "''")
    ));
}

fn clear(database: &Database, source: &str, rule: &str) {
    database.run(&format!(
        "SELECT gn_harvest.clear_alert(id, NULL, ARRAY['{rule}'], true) FROM gn_harvest.source WHERE name = '{}'",
        source.replace('\'', "''")
    ));
}

/// Sends what waits; how many events went, how many wait still.
fn send(database: &Database) -> (i64, i64) {
    let row = database.row("SELECT * FROM gn_harvest.send_alerts()");
    (number(&row, "sent"), number(&row, "waiting"))
}

/// As time would: what waits after a failure or a message is due.
fn let_time_pass(database: &Database) {
    database.run("UPDATE gn_harvest.channel SET next_try_at = NULL, last_sent_at = NULL");
}

fn mail_channel(database: &Database, port: u16, options: &str) {
    database.run(&format!(
        "SELECT gn_harvest.add_channel('mail', 'email', host => 'localhost', port => {port}, sender => 'Plateforme é <sinp@example.org>',
             recipients => '{{un@example.org,\"Deux é <deux@example.org>\"}}'{options})"
    ));
}

fn test(database: &Database, channel: &str) -> String {
    let row = database.row(&format!(
        "SELECT * FROM gn_harvest.test_channel('{channel}')"
    ));
    let parts = ["worked", "error", "hint"].map(|column| text(&row, column).to_owned());
    parts.join(" | ")
}

#[test]
fn a_failing_run_and_its_recovery_are_told_by_notify_and_successes_are_not() {
    let database = cluster().database();
    let partner = partner(20);
    add_source(&database, "CEN é", &partner, 3, "retry_budget => 0");
    database.run("SELECT gn_harvest.add_channel('nagios', 'notify', listen => 'Alertes é', language => 'fr')");
    let mut session = database.connect();
    session
        .batch_execute("LISTEN \"Alertes é\"")
        .expect("listening");
    let mut next = |what: &str| -> serde_json::Value {
        let notification = session
            .notifications()
            .timeout_iter(Duration::from_secs(60))
            .next()
            .expect("a connection")
            .unwrap_or_else(|| panic!("no notification: {what}"));
        assert_eq!(notification.channel(), "Alertes é");
        serde_json::from_str(notification.payload()).expect("JSON")
    };
    run_well(&database, "CEN é", "auto");
    breakdown(&partner);
    let failed = run(&database, "CEN é", "auto");
    // Nobody calls for it: the run has it sent.
    let told = next("of the failure");
    assert_eq!(told["event"], "opened");
    assert_eq!(told["rule"], "run_failed");
    assert_eq!(told["severity"], "warning");
    assert_eq!(told["source"], "CEN é");
    assert_eq!(told["run"], number(&failed, "run"));
    let message = told["message"].as_str().expect("a message");
    assert!(
        message.starts_with("La dernière moisson a échoué : "),
        "{message}"
    );
    run(&database, "CEN é", "auto");
    partner.clear_faults();
    run_well(&database, "CEN é", "auto");
    let told = next("of the recovery");
    assert_eq!(
        (told["event"].as_str(), told["rule"].as_str()),
        (Some("resolved"), Some("run_failed"))
    );
    assert!(told["resolved_at"].is_string());
    // The second failure was the same alert, and successes are not told.
    database.wait_until(
        60,
        "SELECT count(*) = 2 AND bool_and(sent_at IS NOT NULL) FROM gn_harvest.alert_delivery",
    );
    assert_eq!(test(&database, "nagios"), "t |  | ");
    assert_eq!(next("of the test")["event"], "test");
}

#[test]
fn a_mail_goes_through_whatever_the_security_and_says_why_when_it_does_not() {
    let database = cluster().database();
    quiet_source(&database, "L'Aulne – été");
    raise(&database, "L'Aulne – été", "run_failed", "before");
    for (security, tls) in [
        (Security::None, "none"),
        (Security::StartTls, "starttls"),
        (Security::Implicit, "implicit"),
    ] {
        let server = MailServer::start(security);
        let authority = server.authority.replace('\'', "''");
        let login = match security {
            Security::None => String::new(),
            _ => format!(
                ", login => '{}', password => '{}'",
                LOGIN.0,
                LOGIN.1.replace('\'', "''")
            ),
        };
        mail_channel(
            &database,
            server.port,
            &format!(", tls => '{tls}', language => 'fr', ca_certificate => '{authority}'{login}"),
        );
        assert_eq!(test(&database, "mail"), "t |  | ", "{tls}");
        let mails = server.mails();
        assert_eq!(mails.len(), 1, "{tls}: a test, and nothing of before");
        assert_eq!(
            mails[0].header("Subject"),
            "[gn_harvest] essai du canal « mail »"
        );
        assert_eq!(
            mails[0].login.as_deref(),
            (security != Security::None).then_some(LOGIN.0)
        );
        raise(
            &database,
            "L'Aulne – été",
            "export_gone",
            "l'export 3 n'est plus là",
        );
        assert_eq!(send(&database), (1, 0), "{tls}");
        let mail = &server.mails()[1];
        assert_eq!(mail.sender, "sinp@example.org");
        assert_eq!(mail.recipients, ["un@example.org", "deux@example.org"]);
        assert_eq!(
            mail.header("Subject"),
            "[gn_harvest] L'Aulne – été : alerte critique"
        );
        assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
        let text = mail.text();
        assert!(text.contains("CRITIQUE – L'Aulne – été : L'export n'existe plus chez le partenaire : l'export 3 n'est plus là"), "{text}");
        assert!(
            text.contains(&format!("Moissons de la base {} :", database.name)),
            "{text}"
        );
        database.run("SELECT gn_harvest.drop_channel('mail'); SELECT gn_harvest.clear_alert(id, NULL, '{export_gone}', false) FROM gn_harvest.source");
        if security != Security::None {
            // Without its authority it is not trusted.
            mail_channel(&database, server.port, &format!(", tls => '{tls}'{login}"));
            let said = test(&database, "mail");
            assert!(
                said.starts_with("f | no secure connection to localhost:")
                    && said.contains("ca_certificate"),
                "{said}"
            );
            database.run("SELECT gn_harvest.drop_channel('mail')");
            mail_channel(
                &database,
                server.port,
                &format!(
                    ", tls => '{tls}', ca_certificate => '{authority}', login => 'robot', password => 'wrong-secret'"
                ),
            );
            let said = test(&database, "mail");
            assert!(
                said.starts_with("f | the mail server localhost:")
                    && said.contains("refuses the login")
                    && !said.contains("wrong-secret"),
                "{said}"
            );
            database.run("SELECT gn_harvest.drop_channel('mail')");
        }
        assert_eq!(server.mails().len(), 2);
    }
}

#[test]
fn a_mail_server_that_does_not_suit_is_said_in_time() {
    let database = cluster().database();
    let plain = MailServer::start(Security::None);
    mail_channel(&database, plain.port, ", tls => 'starttls'");
    let said = test(&database, "mail");
    assert!(
        said.contains("does not offer STARTTLS") && said.contains("tls =>"),
        "{said}"
    );
    database.run("SELECT gn_harvest.drop_channel('mail'); SELECT gn_harvest.add_channel('mail', 'email', host => 'localhost', port => 1, sender => 'a@example.org', recipients => '{b@example.org}')");
    let said = test(&database, "mail");
    assert!(
        said.starts_with("f | no connection to localhost:1"),
        "{said}"
    );
    database.run(&format!("SELECT gn_harvest.drop_channel('mail'); SELECT gn_harvest.add_channel('mail', 'email', host => '127.0.0.1', port => {}, sender => 'a@example.org', recipients => '{{nobody@example.org}}')", plain.port));
    let said = test(&database, "mail");
    assert!(said.contains("refuses the message"), "{said}");
    database.run("SELECT gn_harvest.drop_channel('mail'); SELECT gn_harvest.add_channel('mail', 'email', host => '169.254.169.254', port => 25, tls => 'none', sender => 'a@example.org', recipients => '{b@example.org}')");
    let said = test(&database, "mail");
    assert!(said.contains("which is refused"), "{said}");
}

#[test]
fn a_dead_mail_server_blocks_nothing_and_loses_nothing() {
    let cluster = cluster();
    let database = cluster.database();
    let partner = partner(20);
    let mut server = MailServer::start(Security::None);
    server.stop();
    mail_channel(&database, server.port, ", digest => '0', language => 'en'");
    add_source(&database, "cen", &partner, 3, "retry_budget => 0");
    breakdown(&partner);
    for _ in 0..2 {
        run(&database, "cen", "auto");
    }
    partner.clear_faults();
    run_well(&database, "cen", "auto");
    database.wait_until(60, "SELECT failures > 0 FROM gn_harvest.channel_status");
    let status = database.row("SELECT * FROM gn_harvest.channel_status");
    assert!(
        text(&status, "last_error").starts_with("no connection to localhost:"),
        "{status:?}"
    );
    assert_eq!(number(&status, "waiting"), 2, "{status:?}");
    assert_eq!(database.value("SELECT next_try_at BETWEEN now() + interval '30 seconds' AND now() + interval '2 minutes' FROM gn_harvest.channel_status"), "t");
    // Before its time it is not asked again, whoever comes by.
    assert_eq!(send(&database), (0, 2));
    assert_eq!(
        database.number("SELECT failures FROM gn_harvest.channel_status"),
        number(&status, "failures")
    );
    let_time_pass(&database);
    assert_eq!(send(&database), (0, 2));
    server.go_on();
    let_time_pass(&database);
    assert_eq!(send(&database), (2, 0));
    let subjects: Vec<String> = server
        .mails()
        .iter()
        .map(|mail| mail.header("Subject"))
        .collect();
    assert_eq!(
        subjects,
        ["[gn_harvest] cen: warning", "[gn_harvest] cen: resolved"],
        "each once, in order"
    );
    let_time_pass(&database);
    assert_eq!(send(&database), (0, 0), "nothing is told twice");
    let status = database.row("SELECT * FROM gn_harvest.channel_status");
    assert_eq!(
        (number(&status, "failures"), text(&status, "last_error")),
        (0, "")
    );
    let ids: Vec<String> = server
        .mails()
        .iter()
        .map(|mail| mail.header("Message-ID"))
        .collect();
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn after_a_test_that_worked_what_waited_goes_out() {
    let database = cluster().database();
    quiet_source(&database, "cen");
    let mut server = MailServer::start(Security::None);
    mail_channel(&database, server.port, "");
    server.stop();
    raise(&database, "cen", "run_failed", "x");
    assert_eq!(send(&database), (0, 1));
    server.go_on();
    assert_eq!(send(&database), (0, 1), "it is not its time");
    assert_eq!(test(&database, "mail"), "t |  | ");
    assert_eq!(send(&database), (1, 0));
}

#[test]
fn many_alerts_at_once_are_one_message() {
    let database = cluster().database();
    let server = MailServer::start(Security::None);
    mail_channel(&database, server.port, ", language => 'fr'");
    let mut session = database.connect();
    session
        .batch_execute("SELECT gn_harvest.add_source('source ' || n, 'https://geonature.example.org', 3) FROM generate_series(1, 50) n")
        .expect("sources");
    session
        .batch_execute("SELECT gn_harvest.raise_alert(id, NULL, CASE WHEN name = 'source 7' THEN 'failing' ELSE 'run_failed' END, '{\"error\": \"en panne\", \"failures\": 3}', NULL) FROM gn_harvest.source")
        .expect("alerts");
    assert_eq!(send(&database), (50, 0));
    let mails = server.mails();
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].header("Subject"), "[gn_harvest] 50 alertes");
    let body = mails[0].text();
    assert_eq!(body.matches("en panne").count(), 50, "{body}");
    let first = body.lines().nth(1).expect("a line");
    assert!(
        first.starts_with("CRITIQUE – source 7 : 3 moissons de suite"),
        "the gravest first: {first}"
    );
    // Within the time of the digest what comes waits, and goes in one.
    clear(&database, "source 1", "run_failed");
    raise(&database, "source 1", "export_gone", "adieu");
    raise(&database, "source 2", "export_gone", "adieu");
    assert_eq!(send(&database), (0, 3));
    database.run("UPDATE gn_harvest.channel SET last_sent_at = now() - interval '11 minutes'");
    assert_eq!(send(&database), (3, 0));
    let mails = server.mails();
    assert_eq!(mails.len(), 2);
    assert_eq!(
        mails[1].header("Subject"),
        "[gn_harvest] 2 alertes, 1 rétablissement"
    );
    let body = mails[1].text();
    assert!(
        body.contains("RÉTABLI – source 1 : La dernière moisson a échoué"),
        "{body}"
    );
}

/// Names that would end a header, open a tag, close a string, call people or forge a line.
const HOSTILE: [&str; 5] = [
    "a\r\nBcc: victime@example.org\r\n\r\nfaux texte",
    "<img src=x onerror=alert(1)>&amp;\"'",
    "@channel <!channel> [lien](http://mal.example.org) **gras** `x`",
    "\\\" , \"x\": {} } ] \u{202e}\u{7} 🦦",
    "L'Aulne – été $e$ %s ; DROP TABLE",
];

#[test]
fn hostile_names_stay_names_in_every_channel() {
    let database = cluster().database();
    let server = MailServer::start(Security::None);
    let receiver = Receiver::start();
    mail_channel(&database, server.port, ", language => 'fr'");
    for template in ["generic", "mattermost", "slack", "teams"] {
        database.run(&format!("SELECT gn_harvest.add_channel('{template}', 'webhook', template => '{template}', url => '{}', language => 'fr')", receiver.url(&format!("/{template}"))));
    }
    database.run(&format!("SELECT gn_harvest.add_channel('telegram', 'webhook', template => 'telegram', url => '{}', token => '123:abc', chat_id => '-42', language => 'fr')", receiver.url("")));
    database.run("SELECT gn_harvest.add_channel('bell', 'geonature', roles => '{admin}', language => 'fr'); SELECT gn_harvest.add_channel('notify', 'notify', listen => 'hostile')");
    let mut session = database.connect();
    session.batch_execute("LISTEN hostile").expect("listening");
    for (number, name) in HOSTILE.iter().enumerate() {
        session
            .execute(
                "SELECT gn_harvest.add_source($1, 'https://geonature.example.org', 3)",
                &[name],
            )
            .expect("a source");
        session.execute("SELECT gn_harvest.raise_alert(id, NULL, 'run_failed', jsonb_build_object('error', name), NULL) FROM gn_harvest.source WHERE name = $1", &[name]).expect("an alert");
        assert_eq!(
            send(&database),
            (8, 0),
            "{name}: {:#?}",
            database.rows("SELECT channel, last_error FROM gn_harvest.channel_status")
        );
        let_time_pass(&database);
        let shown: String = name
            .replace('\u{202e}', "")
            .split(|c: char| c.is_whitespace() || c.is_control())
            .filter(|w| !w.is_empty())
            .collect::<Vec<_>>()
            .join(" ");
        let mails = server.mails();
        let mail = &mails[number];
        assert_eq!(
            mail.header("Subject"),
            format!("[gn_harvest] {shown} : avertissement")
        );
        assert!(
            !mail.headers().iter().any(|h| h.eq_ignore_ascii_case("bcc")),
            "{:?}",
            mail.headers()
        );
        assert_eq!(mail.recipients.len(), 2);
        let line = format!("AVERTISSEMENT – {shown} : La dernière moisson a échoué : {shown}");
        assert!(
            mail.text().lines().any(|l| l == line),
            "{} has no line {line}",
            mail.text()
        );
        let requests = receiver.requests();
        let of = |path: &str| {
            let found = requests
                .iter()
                .rev()
                .find(|r| r.line.starts_with(&format!("POST {path}")));
            found
                .unwrap_or_else(|| panic!("no request to {path}"))
                .body
                .clone()
        };
        assert_eq!(
            of("/generic")["alerts"][0]["source"],
            *name,
            "JSON holds it as it is"
        );
        assert!(
            of("/telegram"
                .replace("/telegram", "/bot123:abc/sendMessage")
                .as_str())["text"]
                .as_str()
                .expect("a text")
                .contains(&line)
        );
        assert_eq!(of("/bot123:abc/sendMessage")["chat_id"], "-42");
        assert!(of("/bot123:abc/sendMessage").get("parse_mode").is_none());
        let slack = of("/slack");
        let slack_text = slack["text"].as_str().expect("a text");
        assert!(
            !slack_text.contains('<') && slack["mrkdwn"] == false,
            "{slack_text}"
        );
        let mattermost = of("/mattermost");
        let mattermost = mattermost["text"].as_str().expect("a text");
        assert!(
            !mattermost.contains("@channel")
                && !mattermost.contains("**gras")
                && !mattermost.contains("[lien]"),
            "{mattermost}"
        );
        let teams = of("/teams");
        let blocks = teams["attachments"][0]["content"]["body"]
            .as_array()
            .expect("a body")
            .clone();
        assert!(blocks.iter().all(|b| b["type"] == "RichTextBlock"));
        assert!(
            blocks
                .iter()
                .any(|b| b["inlines"][0]["text"] == line.as_str()),
            "{teams:#}"
        );
        let bell = database.row(
            "SELECT * FROM gn_notifications.t_notifications ORDER BY id_notification DESC LIMIT 1",
        );
        let content = text(&bell, "content").replace("<br>", "");
        assert!(
            !content.contains('<') && !text(&bell, "title").contains('<'),
            "{bell:?}"
        );
        assert!(
            content.contains(
                &shown
                    .replace('&', "&amp;")
                    .replace('<', "&lt;")
                    .replace('>', "&gt;")
                    .replace('"', "&quot;")
                    .replace('\'', "&#39;")
            ),
            "{content}"
        );
        let heard = session
            .notifications()
            .timeout_iter(Duration::from_secs(60))
            .next()
            .expect("a connection")
            .expect("a notification");
        let heard: serde_json::Value = serde_json::from_str(heard.payload()).expect("JSON");
        assert_eq!(heard["source"], *name);
    }
}

#[test]
fn a_webhook_that_refuses_is_tried_again_and_its_address_is_shown_to_nobody() {
    let database = cluster().database();
    quiet_source(&database, "cen");
    let receiver = Receiver::start();
    let operator = role(&database, "operator");
    database.run(&format!("SELECT gn_harvest.grant_operator('{operator}')"));
    let url = receiver.url("/hooks/tres-secret-chemin?clef=tres-secrete-clef");
    let added = database.row(&format!("SELECT * FROM gn_harvest.add_channel('equipe', 'webhook', url => '{url}', token => 'jeton-tres-secret', owner => '{operator}')"));
    assert_eq!(
        text(&added, "target"),
        format!("generic http://127.0.0.1:{}", receiver.port)
    );
    database.run(&format!(
        "SELECT gn_harvest.alter_source('cen', owner => '{operator}')"
    ));
    receiver.answer(
        "HTTP/1.1 403 Forbidden",
        "no /hooks/tres-secret-chemin?clef=tres-secrete-clef for jeton-tres-secret",
    );
    let said = test(&database, "equipe");
    assert!(
        said.starts_with("f | the server answered HTTP 403"),
        "{said}"
    );
    raise(&database, "cen", "run_failed", "x");
    for _ in 0..3 {
        let_time_pass(&database);
        assert_eq!(send(&database), (0, 1));
    }
    receiver.answer(
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/elsewhere",
        "",
    );
    let_time_pass(&database);
    assert_eq!(send(&database), (0, 1));
    let everything = database.rows(
        "SELECT row_to_json(c)::text FROM gn_harvest.channel_status c UNION ALL SELECT row_to_json(d)::text FROM gn_harvest.alert_delivery d
         UNION ALL SELECT row_to_json(h)::text FROM gn_harvest.alert_history h UNION ALL SELECT row_to_json(c)::text FROM gn_harvest.channel c",
    );
    let shown = format!("{everything:?} {said} {}", cluster().log());
    assert!(
        !shown.contains("tres-secret") && !shown.contains("jeton-tres"),
        "{everything:#?}"
    );
    for table in ["channel", "channel_secret", "outbox", "alert", "alert_rule"] {
        let error = error_as(
            &database,
            &operator,
            &format!("SELECT * FROM gn_harvest.{table}"),
        );
        assert!(error.starts_with("42501: "), "{table}: {error}");
    }
    receiver.answer("HTTP/1.1 204 No Content", "");
    let_time_pass(&database);
    assert_eq!(send(&database).1, 0);
    let last = receiver.requests().pop().expect("a request");
    assert!(
        last.headers
            .iter()
            .any(|h| h.eq_ignore_ascii_case("authorization: Bearer jeton-tres-secret")),
        "{last:?}"
    );
    database.run(&format!("DROP OWNED BY {operator}; SELECT gn_harvest.drop_channel('equipe'); SELECT gn_harvest.drop_source('cen'); DROP ROLE {operator}"));
}

#[test]
fn a_channel_that_fails_again_and_again_is_an_alert_that_other_channels_tell() {
    let database = cluster().database();
    quiet_source(&database, "cen");
    let receiver = Receiver::start();
    let mut server = MailServer::start(Security::None);
    server.stop();
    mail_channel(&database, server.port, ", language => 'fr'");
    database.run(&format!("SELECT gn_harvest.add_channel('equipe', 'webhook', url => '{}', language => 'fr', digest => '0')", receiver.url("/x")));
    raise(&database, "cen", "run_failed", "x");
    for _ in 0..3 {
        send(&database);
        database.run("UPDATE gn_harvest.channel SET next_try_at = NULL");
    }
    let alert = database.row("SELECT source, severity, message FROM gn_harvest.open_alert WHERE rule = 'channel_failing'");
    assert_eq!(text(&alert, "source"), "");
    assert!(
        text(&alert, "message").starts_with(
            "Channel \"mail\" does not deliver its messages: no connection to localhost:"
        ),
        "{alert:?}"
    );
    send(&database);
    let told: Vec<String> = receiver
        .requests()
        .iter()
        .map(|r| {
            r.body["alerts"][0]["rule"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        })
        .collect();
    assert_eq!(told, ["run_failed", "channel_failing"]);
    server.go_on();
    let_time_pass(&database);
    send(&database);
    send(&database);
    assert_eq!(server.mails().len(), 1, "it does not tell of itself");
    assert_eq!(
        database
            .number("SELECT count(*) FROM gn_harvest.open_alert WHERE rule = 'channel_failing'"),
        0
    );
    let last = receiver.requests().pop().expect("a request");
    assert_eq!(
        (
            last.body["alerts"][0]["event"].as_str(),
            last.body["alerts"][0]["rule"].as_str()
        ),
        (Some("resolved"), Some("channel_failing"))
    );
}

#[test]
fn the_bell_rings_for_the_members_of_a_group_with_the_rights_of_the_owner() {
    let database = cluster().database();
    quiet_source(&database, "cen");
    let owner = role(&database, "owner");
    database.run(&format!("SELECT gn_harvest.grant_operator('{owner}'); SELECT gn_harvest.alter_source('cen', owner => '{owner}')"));
    as_role(
        &database,
        &owner,
        "SELECT gn_harvest.add_channel('cloche', 'geonature', roles => '{1,valide}', url => 'https://geonature.example.org/geonature/#/synthese', language => 'fr')",
    );
    let said = value_as(
        &database,
        &owner,
        "SELECT error || hint FROM gn_harvest.test_channel('cloche')",
    );
    assert!(
        said.contains("permission denied") && said.contains("GRANT"),
        "{said}"
    );
    database.run(&format!(
        "GRANT USAGE ON SCHEMA gn_notifications, utilisateurs TO {owner}; GRANT SELECT ON utilisateurs.t_roles, utilisateurs.cor_roles TO {owner};
         GRANT INSERT ON gn_notifications.t_notifications TO {owner}; GRANT USAGE ON ALL SEQUENCES IN SCHEMA gn_notifications TO {owner}"
    ));
    raise(&database, "cen", "export_gone", "l'export 3 n'est plus là");
    assert_eq!(
        send(&database),
        (1, 0),
        "{:?}",
        database.rows("SELECT last_error FROM gn_harvest.channel_status")
    );
    let told = database.rows("SELECT id_role::text, title, content, url, code_status, (creation_date BETWEEN localtimestamp - interval '1 hour' AND localtimestamp)::text AS now FROM gn_notifications.t_notifications ORDER BY id_role");
    assert_eq!(told.len(), 2, "{told:?}");
    for (row, id) in told.iter().zip(["2", "3"]) {
        assert_eq!(text(row, "id_role"), id, "the member, not the group");
        assert_eq!(text(row, "title"), "[gn_harvest] cen : alerte critique");
        assert!(
            text(row, "content").contains("l&#39;export 3 n&#39;est plus là"),
            "{row:?}"
        );
        assert_eq!(
            (text(row, "code_status"), text(row, "now")),
            ("UNREAD", "true")
        );
        assert_eq!(
            text(row, "url"),
            "https://geonature.example.org/geonature/#/synthese"
        );
    }
    as_role(
        &database,
        &owner,
        "SELECT gn_harvest.drop_channel('cloche'); SELECT gn_harvest.add_channel('cloche', 'geonature', roles => '{personne}')",
    );
    let said = test(&database, "cloche");
    assert!(
        said.contains("no role of utilisateurs.t_roles would be told") && said.contains("personne"),
        "{said}"
    );
    let bare = cluster().empty_database();
    bare.run("CREATE EXTENSION gn_harvest; SELECT gn_harvest.add_channel('cloche', 'geonature', roles => '{admin}')");
    assert!(test(&bare, "cloche").contains("this database has no notifications of GeoNature"));
    database.run(&format!("SELECT gn_harvest.drop_channel('cloche'); SELECT gn_harvest.drop_source('cen'); DROP OWNED BY {owner}; DROP ROLE {owner}"));
}

#[test]
fn a_channel_tells_of_what_its_filters_let_through_and_its_owner_may_see() {
    let database = cluster().database();
    let (mine, other) = (role(&database, "mine"), role(&database, "other"));
    database.run(&format!(
        "SELECT gn_harvest.grant_operator('{mine}'); SELECT gn_harvest.grant_operator('{other}')"
    ));
    for (role, source) in [(&mine, "mine"), (&mine, "also mine"), (&other, "theirs")] {
        as_role(
            &database,
            role,
            &format!(
                "SELECT gn_harvest.add_source('{source}', 'https://geonature.example.org', 3)"
            ),
        );
    }
    let add = |name: &str, options: &str| {
        format!("SELECT gn_harvest.add_channel('{name}', 'notify', listen => 'x'{options})")
    };
    as_role(&database, &mine, &add("all of mine", ""));
    as_role(
        &database,
        &mine,
        &add("one of mine", ", sources => '{mine}'"),
    );
    as_role(
        &database,
        &mine,
        &add("grave ones", ", minimum_severity => 'critical'"),
    );
    as_role(&database, &other, &add("theirs", ""));
    database.run(&add("everything", ""));
    let error = error_as(&database, &mine, &add("spy", ", sources => '{theirs}'"));
    assert!(error.starts_with("42501: "), "{error}");
    let error = error_as(
        &database,
        &mine,
        &format!(
            "SELECT gn_harvest.add_channel('spy', 'notify', listen => 'x', owner => '{other}')"
        ),
    );
    assert!(error.starts_with("42501: "), "{error}");
    for call in ["drop_channel('theirs')", "test_channel('theirs')"] {
        let error = error_as(&database, &mine, &format!("SELECT gn_harvest.{call}"));
        assert!(
            error.starts_with("42501: ") && error.contains("HINT: GRANT"),
            "{call}: {error}"
        );
    }
    assert_eq!(
        value_as(
            &database,
            &mine,
            "SELECT count(*) FROM gn_harvest.channel_status"
        ),
        "3"
    );
    for source in ["mine", "also mine", "theirs"] {
        raise(&database, source, "run_failed", "x");
        raise(&database, source, "failing", "x");
    }
    let waiting = "SELECT string_agg(concat_ws(' ', d.channel, a.source, a.rule), ', ' ORDER BY d.channel, a.id) FROM gn_harvest.alert_delivery d JOIN gn_harvest.alert a ON a.id = d.alert WHERE channel <> 'everything'";
    assert_eq!(
        database.value(waiting),
        "all of mine mine run_failed, all of mine mine failing, all of mine also mine run_failed, all of mine also mine failing, \
         grave ones mine failing, grave ones also mine failing, one of mine mine run_failed, one of mine mine failing, \
         theirs theirs run_failed, theirs theirs failing"
    );
    assert_eq!(
        database
            .number("SELECT waiting FROM gn_harvest.channel_status WHERE channel = 'everything'"),
        6
    );
    // What changes hands before it is told is not told.
    database.run(&format!(
        "SELECT gn_harvest.alter_source('also mine', owner => '{other}')"
    ));
    let (_, left) = send(&database);
    assert_eq!(left, 0);
    assert_eq!(
        database.value("SELECT string_agg(DISTINCT channel, ', ' ORDER BY channel) FROM gn_harvest.alert_delivery WHERE given_up_at IS NOT NULL"),
        "all of mine, grave ones"
    );
    database.run(&format!("SELECT gn_harvest.drop_channel(channel) FROM gn_harvest.channel_status; SELECT gn_harvest.drop_source(source) FROM gn_harvest.source_status; DROP OWNED BY {mine}, {other}; DROP ROLE {mine}, {other}"));
}

#[test]
fn a_sender_that_is_killed_has_lost_nothing_and_a_hung_server_is_left_in_time() {
    let cluster = gn_harvest_outside::Cluster::temporary(&[
        ("gn_harvest.alert_timeout", "300s"),
        ("restart_after_crash", "on"),
    ]);
    let database = cluster.database();
    quiet_source(&database, "cen");
    let (_silence, address) = silent_port();
    mail_channel(&database, address.port(), "");
    raise(&database, "cen", "run_failed", "x");
    let sender = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'gn_harvest alerts'";
    std::thread::scope(|scope| {
        scope.spawn(|| {
            database
                .connect()
                .batch_execute("SELECT gn_harvest.send_alerts()")
                .ok()
        });
        database.wait_until(
            60,
            "SELECT count(*) = 1 FROM gn_harvest.alert_delivery WHERE attempts = 1",
        );
        // Meanwhile nobody waits: not another sender, not a run, and no lock or transaction is held.
        assert_eq!(database.number("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'gn_harvest alerts' AND xact_start IS NOT NULL"), 0);
        assert_eq!(send(&database), (0, 1));
        database.run(&format!("SELECT pg_terminate_backend(({sender}))"));
    });
    database.wait_until(60, &format!("SELECT NOT EXISTS ({sender})"));
    assert_eq!(
        database.number("SELECT waiting FROM gn_harvest.channel_status"),
        1
    );
    // A shorter patience, by a reload.
    database.run("ALTER SYSTEM SET gn_harvest.alert_timeout = '1s'");
    database.run("SELECT pg_reload_conf()");
    let begun = std::time::Instant::now();
    assert_eq!(send(&database), (0, 1));
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "{:?}",
        begun.elapsed()
    );
    let said = database.value("SELECT last_error FROM gn_harvest.channel_status");
    assert!(said.contains("in time"), "{said}");
    // Given up in the end, which is noted.
    database.run("UPDATE gn_harvest.outbox SET created_at = now() - interval '8 days'");
    assert_eq!(send(&database), (0, 0));
    let row = database.row("SELECT * FROM gn_harvest.alert_delivery");
    assert!(
        !text(&row, "given_up_at").is_empty() && text(&row, "sent_at").is_empty(),
        "{row:?}"
    );
}

#[test]
fn senders_at_the_same_time_tell_everything_once() {
    let database = cluster().database();
    let receiver = Receiver::start();
    database.run(&format!(
        "SELECT gn_harvest.add_channel('equipe', 'webhook', url => '{}', digest => '0')",
        receiver.url("/x")
    ));
    database.run("SELECT gn_harvest.add_source('source ' || n, 'https://geonature.example.org', 3) FROM generate_series(1, 20) n");
    std::thread::scope(|scope| {
        for n in 1..=20 {
            let database = &database;
            scope.spawn(move || {
                raise(database, &format!("source {n}"), "run_failed", "x");
                send(database);
            });
        }
    });
    assert_eq!(send(&database).1, 0);
    let mut told: Vec<String> = receiver
        .requests()
        .iter()
        .map(|r| {
            r.body["alerts"][0]["source"]
                .as_str()
                .expect("a source")
                .to_owned()
        })
        .collect();
    told.sort();
    told.dedup();
    assert_eq!((told.len(), receiver.requests().len()), (20, 20));
}

#[test]
fn a_channel_is_checked_argument_by_argument_and_hides_its_statement() {
    let database = cluster().database();
    for (call, sqlstate, message) in [
        ("add_channel(NULL, 'notify')", "22023", "1 to 63 characters"),
        ("add_channel('x', NULL)", "22023", "kind can not be"),
        (
            "add_channel('x', 'pigeon')",
            "22023",
            "kind can not be \"pigeon\"",
        ),
        ("add_channel('x', 'notify')", "22023", "needs listen"),
        (
            "add_channel('x', 'notify', listen => '')",
            "22023",
            "listen must have",
        ),
        (
            "add_channel('x', 'notify', listen => 'x', host => 'y')",
            "22023",
            "takes no host",
        ),
        (
            "add_channel('x', 'email', host => 'y')",
            "22023",
            "needs sender",
        ),
        (
            "add_channel('x', 'email', host => 'y', sender => 'a', recipients => '{b@c.org}')",
            "22023",
            "\"a\" is not an e-mail address",
        ),
        (
            "add_channel('x', 'email', host => 'y', sender => E'a@b.org\\nBcc: c@d.org', recipients => '{b@c.org}')",
            "22023",
            "is not an e-mail address",
        ),
        (
            "add_channel('x', 'email', host => 'y', sender => 'a@b.org', recipients => '{}')",
            "22023",
            "recipients must name",
        ),
        (
            "add_channel('x', 'email', host => 'y', sender => 'a@b.org', recipients => '{b@c.org}', tls => 'ssl')",
            "22023",
            "tls can not be",
        ),
        (
            "add_channel('x', 'email', host => 'y', sender => 'a@b.org', recipients => '{b@c.org}', port => 0)",
            "22023",
            "port must be",
        ),
        (
            "add_channel('x', 'email', host => 'y z', sender => 'a@b.org', recipients => '{b@c.org}')",
            "22023",
            "is not the name of a server",
        ),
        (
            "add_channel('x', 'email', host => 'y', sender => 'a@b.org', recipients => '{b@c.org}', login => 'z')",
            "22023",
            "a login needs its password",
        ),
        (
            "add_channel('x', 'email', host => 'y', sender => 'a@b.org', recipients => '{b@c.org}', login => 'z', password => 'top-secret', tls => 'none')",
            "22023",
            "in the clear",
        ),
        ("add_channel('x', 'webhook')", "22023", "needs url"),
        (
            "add_channel('x', 'webhook', url => 'https://u:top-secret@y.org/x')",
            "22023",
            "the address is not usable",
        ),
        (
            "add_channel('x', 'webhook', url => 'top-secret')",
            "22023",
            "the address is not usable",
        ),
        (
            "add_channel('x', 'webhook', url => 'http://169.254.169.254/top-secret')",
            "22023",
            "the address is not usable",
        ),
        (
            "add_channel('x', 'webhook', url => 'https://y.org/x', template => 'irc')",
            "22023",
            "template can not be",
        ),
        (
            "add_channel('x', 'webhook', template => 'telegram', token => 'a/top-secret', chat_id => '1')",
            "22023",
            "the token is not that of a bot",
        ),
        (
            "add_channel('x', 'geonature', roles => '{}')",
            "22023",
            "roles must name",
        ),
        (
            "add_channel('x', 'geonature', roles => '{a}', url => 'javascript:alert(1)')",
            "22023",
            "the address is not usable",
        ),
        (
            "add_channel('x', 'notify', listen => 'x', minimum_severity => 'high')",
            "22023",
            "minimum_severity can not be",
        ),
        (
            "add_channel('x', 'notify', listen => 'x', language => 'de')",
            "22023",
            "language can not be",
        ),
        (
            "add_channel('x', 'notify', listen => 'x', digest => '-1 hour')",
            "22023",
            "digest must be",
        ),
        (
            "add_channel('x', 'notify', listen => 'x', sources => '{}')",
            "22023",
            "sources must name",
        ),
        (
            "add_channel('x', 'notify', listen => 'x', sources => '{absent}')",
            "42704",
            "does not exist",
        ),
        (
            "add_channel('x', 'notify', listen => 'x', owner => 'no one')",
            "42704",
            "role \"no one\" does not exist",
        ),
        (
            "drop_channel('absent')",
            "42704",
            "channel \"absent\" does not exist",
        ),
        (
            "test_channel('absent')",
            "42704",
            "channel \"absent\" does not exist",
        ),
        (
            "acknowledge_alert(987654)",
            "42704",
            "alert 987654 does not exist",
        ),
        (
            "set_alert_rule(NULL, 'absent')",
            "22023",
            "rule \"absent\" does not exist",
        ),
        (
            "set_alert_rule('absent', 'failing')",
            "42704",
            "does not exist",
        ),
        (
            "set_alert_rule(NULL, 'failing', severity => 'high')",
            "22023",
            "severity can not be",
        ),
        (
            "set_alert_rule(NULL, 'run_failed', threshold => 1)",
            "22023",
            "has no threshold",
        ),
        (
            "set_alert_rule(NULL, 'failing', threshold => -1)",
            "22023",
            "threshold must be",
        ),
        ("alert_rules('absent')", "42704", "does not exist"),
    ] {
        let error = database.error(&format!("SELECT gn_harvest.{call}"));
        let right = error.starts_with(&format!("{sqlstate}: "))
            && error.contains(message)
            && error.contains("\nHINT: ");
        assert!(right && !error.contains("top-secret"), "{call}\n{error}");
    }
    let log = cluster().log();
    assert!(!log.contains("top-secret"), "the log shows a secret");
    database.run("SELECT gn_harvest.add_channel('x', 'notify', listen => 'x')");
    assert!(
        database
            .error("SELECT gn_harvest.add_channel('x', 'notify', listen => 'x')")
            .starts_with("42710: ")
    );
    let mut session = database.connect();
    session
        .batch_execute("BEGIN; SELECT gn_harvest.add_channel('y', 'notify', listen => 'x')")
        .expect("a channel");
    let error = session
        .batch_execute("SELECT gn_harvest.test_channel('y')")
        .expect_err("not committed");
    assert!(gn_harvest_outside::describe(&error).contains("COMMIT first"));
    assert_eq!(
        rows(
            &mut database.connect(),
            "SELECT count(*) FROM gn_harvest.channel_status"
        )[0]["count"]
            .as_deref(),
        Some("1")
    );
}

#[test]
fn the_scheduler_looks_for_late_data_and_has_alerts_sent() {
    let cluster = gn_harvest_outside::Cluster::temporary(&[
        ("shared_preload_libraries", "gn_harvest"),
        ("gn_harvest.naptime", "1s"),
    ]);
    let database = cluster.database();
    quiet_source(&database, "cen");
    let receiver = Receiver::start();
    database.run(&format!(
        "SELECT gn_harvest.add_channel('equipe', 'webhook', url => '{}')",
        receiver.url("/x")
    ));
    database.run("UPDATE gn_harvest.source_state SET last_success_at = '2026-03-01 08:05'");
    database.run("SELECT gn_harvest.set_alert_rule('cen', 'data_late', threshold => 1)");
    until(120, "the scheduler has told that data are late", || {
        !receiver.requests().is_empty()
    });
    let told = &receiver.requests()[0].body["alerts"][0];
    assert_eq!(told["rule"], "data_late");
    // Visits with nothing to do cost no transaction number.
    database.wait_until(
        60,
        "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type LIKE 'gn_harvest alerts%'",
    );
    database.run("UPDATE gn_harvest.alert SET resolved_at = now(); SELECT gn_harvest.set_alert_rule('cen', 'data_late')");
    let visits = "SELECT gn_harvest.last_visit()";
    let next_visit = || {
        let before = database.value(visits);
        until(60, "another visit", || database.value(visits) != before);
    };
    next_visit();
    let before = database.value("SELECT pg_snapshot_xmax(pg_current_snapshot())");
    next_visit();
    next_visit();
    assert_eq!(
        database.value("SELECT pg_snapshot_xmax(pg_current_snapshot())"),
        before
    );
}
