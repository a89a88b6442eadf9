//! Which redirects are followed: to the same host and port, or from http to
//! https on the same host. Credentials never go anywhere else.

use url::Url;

/// More than this is a circle.
pub(super) const MOST: usize = 5;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Follow(Url),
    /// The page where GeoNature sends whoever is not logged in.
    LoginPage,
    /// Somewhere else; where, without path nor query.
    Refuse(String),
}

pub(super) fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// Judges the header `Location` of an answer to `from`.
pub(super) fn judge(from: &Url, location: Option<&str>) -> Verdict {
    let Some(to) = location.and_then(|text| from.join(text).ok()) else {
        return Verdict::Refuse("nowhere (no usable Location)".to_owned());
    };
    if is_login_page(&to) {
        return Verdict::LoginPage;
    }
    let same_host = from.host_str() == to.host_str();
    let same_port = from.port_or_known_default() == to.port_or_known_default();
    let same_place = from.scheme() == to.scheme() && same_port;
    let upgrade = from.scheme() == "http" && to.scheme() == "https";
    let no_user = to.username().is_empty() && to.password().is_none();
    if same_host && no_user && (same_place || upgrade) {
        Verdict::Follow(to)
    } else {
        Verdict::Refuse(to.origin().ascii_serialization())
    }
}

/// `…/#/login?next=…` or `…/login`, except the API's own route.
fn is_login_page(to: &Url) -> bool {
    let by_fragment = to
        .fragment()
        .is_some_and(|fragment| fragment.trim_start_matches('/').starts_with("login"));
    let path = to.path().trim_end_matches('/');
    by_fragment || (path.ends_with("/login") && !path.ends_with("/auth/login"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(from: &str, to: &str) -> Verdict {
        judge(&Url::parse(from).expect("url"), Some(to))
    }

    #[test]
    fn only_the_same_place_or_its_https_is_followed() {
        let from = "http://gn.example.org/api/exports/api/1";
        for to in [
            "/api/other",
            "http://gn.example.org:80/x",
            "https://gn.example.org/x",
        ] {
            assert!(matches!(judged(from, to), Verdict::Follow(_)), "{to}");
        }
        for to in [
            "http://other.example.org/x",
            "http://gn.example.org:8080/x",
            "//evil.example.org/x",
            "http://gn.example.org.evil.org/x",
            "http://user@gn.example.org/x",
            "ftp://gn.example.org/x",
        ] {
            assert!(matches!(judged(from, to), Verdict::Refuse(_)), "{to}");
        }
        let down = judged("https://gn.example.org/x", "http://gn.example.org/x");
        assert_eq!(down, Verdict::Refuse("http://gn.example.org".to_owned()));
    }

    #[test]
    fn the_login_page_of_the_front_end_is_recognised() {
        let from = "http://127.0.0.1:8000/api/gn_commons/modules";
        let to = "http://127.0.0.1:4200/#/login?next=http%3A%2F%2F127.0.0.1";
        assert_eq!(judged(from, to), Verdict::LoginPage);
        assert!(matches!(
            judged(from, "/api/auth/login"),
            Verdict::Follow(_)
        ));
    }
}
