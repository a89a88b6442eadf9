//! Who is logged in, by session cookie or by JWT, and what each account may see.

use std::collections::HashMap;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum User {
    Admin,
    Harvester,
    /// May log in, and has no right on the exports.
    WithoutRight,
}

impl User {
    pub fn named(login: &str) -> Option<Self> {
        Some(match login {
            "admin" => Self::Admin,
            "moissonneur" => Self::Harvester,
            "sansdroit" => Self::WithoutRight,
            _ => return None,
        })
    }

    pub fn login(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Harvester => "moissonneur",
            Self::WithoutRight => "sansdroit",
        }
    }

    pub fn id_role(self) -> u32 {
        match self {
            Self::Admin => 3,
            Self::Harvester => 33,
            Self::WithoutRight => 34,
        }
    }

    pub fn may_export(self) -> bool {
        self != Self::WithoutRight
    }
}

#[derive(Default)]
pub struct Sessions {
    cookies: HashMap<String, User>,
    jwts: HashMap<String, User>,
}

impl Sessions {
    pub fn open(&mut self, user: User, cookie: &str, jwt: &str) {
        self.cookies.insert(cookie.to_owned(), user);
        self.jwts.insert(jwt.to_owned(), user);
    }

    pub fn by_cookie(&self, cookie: &str) -> Option<User> {
        self.cookies.get(cookie).copied()
    }

    pub fn by_jwt(&self, jwt: &str) -> Option<User> {
        self.jwts.get(jwt).copied()
    }

    /// Every session expires now.
    pub fn forget(&mut self) {
        self.cookies.clear();
        self.jwts.clear();
    }
}
