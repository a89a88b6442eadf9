//! Logging in: JSON only, two cookies and a JWT.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use crate::answer;
use crate::caller::Caller;
use crate::clock::{DAY, SECOND, http_date, timestamp};
use crate::sessions::User;
use crate::state::Shared;

pub async fn login(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let is_json = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("application/json"));
    if !is_json {
        return anonymous(
            &shared,
            answer::error(&caller, StatusCode::UNSUPPORTED_MEDIA_TYPE),
        );
    }
    let Some((login, password)) = credentials(&body) else {
        let description =
            "The browser (or proxy) sent a request that this server could not understand.";
        let refused = answer::error_saying(&caller, StatusCode::BAD_REQUEST, description);
        return anonymous(&shared, refused);
    };
    if let Ok(pause) = Duration::try_from_secs_f64(shared.config.login_seconds) {
        tokio::time::sleep(pause).await;
    }
    let right = shared.partner().passwords.get(&login) == Some(&password);
    match User::named(&login).filter(|_| right) {
        None => {
            let refused = "Incorrect login, check username or password.";
            anonymous(&shared, answer::unauthorized(&caller, refused))
        }
        Some(user) => welcome(&shared, user),
    }
}

/// A refused login leaves a session cookie too: nobody's.
fn anonymous(shared: &Shared, mut response: Response) -> Response {
    let cookie = format!("session=eyJ{:016x}; HttpOnly; Path=/api", shared.fresh());
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

/// Login and password, and nothing else.
fn credentials(body: &[u8]) -> Option<(String, String)> {
    let Ok(Value::Object(members)) = serde_json::from_slice(body) else {
        return None;
    };
    let text = |name: &str| members.get(name)?.as_str().map(str::to_owned);
    (members.len() == 2).then(|| Some((text("login")?, text("password")?)))?
}

fn welcome(shared: &Shared, user: User) -> Response {
    let now = shared.partner().clock.utc();
    let expires = now + 7 * DAY;
    let cookie = format!(".eJ{:016x}.{:016x}", shared.fresh(), shared.fresh());
    let account = account(user);
    let jwt = jwt(shared, &account, expires);
    shared.sessions().open(user, &cookie, &jwt);
    shared.statistics().logins += 1;
    let seal: String = (0..8).map(|_| format!("{:016x}", shared.fresh())).collect();
    let remember = format!(
        "token={}|{seal}; Expires={}; HttpOnly; Path=/",
        user.id_role(),
        http_date(expires)
    );
    let session = format!("session={cookie}; HttpOnly; Path=/api");
    let body = json!({
        "expires": timestamp(expires).replace(' ', "T") + "+00:00",
        "token": jwt,
        "user": account,
    });
    let mut response = answer::json(format!("{body}\n"));
    for cookie in [remember, session] {
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
    }
    response
}

fn account(user: User) -> Value {
    const CREATED: &str = "2024-01-15T16:41:15.665585";
    let (surname, first_name, email) = match user {
        User::Admin => ("Administrateur", "test", None),
        User::Harvester => ("Moissonneur", "Robot", Some("robot@example.org")),
        User::WithoutRight => ("Sansdroit", "Zoé", None),
    };
    json!({
        "active": true,
        "api_key": null,
        "api_secret": null,
        "date_insert": CREATED,
        "date_update": CREATED,
        "desc_role": null,
        "email": email,
        "groupe": false,
        "id_organisme": 1,
        "id_role": user.id_role(),
        "identifiant": user.login(),
        "max_level_profil": 1,
        "nom_complet": format!("{surname} {first_name}"),
        "nom_role": surname,
        "organisme": {
            "additional_data": {},
            "adresse_organisme": "Rue des bois",
            "cp_organisme": "00000",
            "email_organisme": null,
            "fax_organisme": null,
            "id_organisme": 1,
            "meta_create_date": CREATED,
            "meta_update_date": CREATED,
            "nom_organisme": "Structure d'essai",
            "tel_organisme": "00-00-99-00-99",
            "url_logo": null,
            "url_organisme": null,
            "uuid_organisme": "098a387f-0688-4113-8dfa-71adb43b0b8e",
            "ville_organisme": "Ville",
        },
        "prenom_role": first_name,
        "providers": [{"id_provider": 1, "name": "local_provider", "url": null}],
        "uuid_role": "a893b452-0216-46be-bd6d-56b3de153a9e",
    })
}

/// Three parts as a real one; the signature is only unguessable, the server keeps a list.
fn jwt(shared: &Shared, account: &Value, expires: i64) -> String {
    let head = json!({"alg": "HS256", "exp": expires / SECOND, "typ": "JWT"});
    let seal: Vec<u8> = (0..4).flat_map(|_| shared.fresh().to_be_bytes()).collect();
    [
        head.to_string().as_bytes(),
        account.to_string().as_bytes(),
        &seal,
    ]
    .map(base64_url)
    .join(".")
}

fn base64_url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut padded = [0; 4];
        padded[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(padded);
        for digit in 0..=group.len() {
            out.push(DIGITS[(bits >> (18 - 6 * digit)) as usize & 63] as char);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::base64_url;

    #[test]
    fn base64_is_as_everywhere() {
        assert_eq!(base64_url(b"{\"a\":1}"), "eyJhIjoxfQ");
        assert_eq!(base64_url(&[0xFB, 0xFF]), "-_8");
    }
}
