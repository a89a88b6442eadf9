//! Cron expressions described in French.

use croner::describe::Language;

#[derive(Clone, Copy)]
pub struct French;

impl Language for French {
    fn every_minute(&self) -> &'static str {
        "Toutes les minutes"
    }
    fn every_second_phrase(&self) -> &'static str {
        "Toutes les secondes"
    }
    fn every_x_minutes(&self, step: u16) -> String {
        format!("toutes les {step} minutes")
    }
    fn every_x_seconds(&self, step: u16) -> String {
        format!("toutes les {step} secondes")
    }
    fn every_x_hours(&self, step: u16) -> String {
        format!("toutes les {step} heures")
    }
    fn every_minute_of_every_x_hours(&self, step: u16) -> String {
        format!("Toutes les minutes, toutes les {step} heures")
    }

    fn at_time(&self, time: &str) -> String {
        format!("À {time}")
    }
    fn at_time_and_every_x_seconds(&self, time: &str, step: u16) -> String {
        format!("À {time}, toutes les {step} secondes")
    }
    fn at_time_at_second(&self, time: &str, second: &str) -> String {
        format!("À {time}, à la seconde {second}")
    }

    fn at_phrase(&self, phrase: &str) -> String {
        if phrase.starts_with("toutes") {
            phrase.to_owned()
        } else {
            format!("À {phrase}")
        }
    }
    fn on_phrase(&self, phrase: &str) -> String {
        format!("le {phrase}")
    }
    fn in_phrase(&self, phrase: &str) -> String {
        format!("en {phrase}")
    }

    fn second_phrase(&self, s: &str) -> String {
        format!("la seconde {s}")
    }
    fn minute_phrase(&self, s: &str) -> String {
        format!("la minute {s}")
    }
    fn minute_past_every_hour_phrase(&self, s: &str) -> String {
        format!("{s} de chaque heure")
    }
    fn hour_phrase(&self, s: &str) -> String {
        if s.bytes().all(|byte| byte.is_ascii_digit()) {
            format!("de l'heure {s}")
        } else {
            format!("des heures {s}")
        }
    }
    fn year_phrase(&self, s: &str) -> String {
        s.to_owned()
    }

    fn day_phrase(&self, s: &str) -> String {
        format!("jour {s}")
    }
    fn the_last_day_of_the_month(&self) -> &'static str {
        "dernier jour du mois"
    }
    fn the_weekday_nearest_day(&self, day: &str) -> String {
        format!("jour ouvré le plus proche du {day}")
    }
    fn the_last_weekday_of_the_month(&self, day: &str) -> String {
        format!("dernier {day} du mois")
    }
    fn the_nth_weekday_of_the_month(&self, n: u8, day: &str) -> String {
        let rank = if n == 1 {
            "1er".to_owned()
        } else {
            format!("{n}e")
        };
        format!("{rank} {day} du mois")
    }

    fn dom_and_dow_if_also(&self, dow: &str) -> String {
        format!("(si c'est aussi {dow})")
    }
    fn dom_and_dow_if_also_one_of(&self, dow: &str) -> String {
        format!("(si c'est aussi l'un de : {dow})")
    }

    fn list_conjunction_and(&self) -> &'static str {
        "et"
    }
    fn list_conjunction_or(&self) -> &'static str {
        "ou"
    }
    fn list_conjunction_and_comma(&self) -> &'static str {
        ", et"
    }

    fn day_of_week_names(&self) -> [&'static str; 7] {
        [
            "dimanche", "lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi",
        ]
    }
    fn month_names(&self) -> [&'static str; 12] {
        [
            "janvier",
            "février",
            "mars",
            "avril",
            "mai",
            "juin",
            "juillet",
            "août",
            "septembre",
            "octobre",
            "novembre",
            "décembre",
        ]
    }

    fn every_past_phrase(&self, every: &str, hours: &str) -> String {
        format!("{every}, {hours}")
    }
    fn past_hour_phrase(&self, s: &str) -> String {
        format!("heure {s}")
    }
    fn every_x_months(&self, step: u16) -> String {
        format!("tous les {step} mois")
    }
    fn every_x_years(&self, step: u16) -> String {
        format!("tous les {step} ans")
    }
}
