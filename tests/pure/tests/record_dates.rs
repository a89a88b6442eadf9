//! Dates keep their time of day to the microsecond; what is no date is refused.

mod record_support;

use chrono::{NaiveDate, NaiveDateTime, TimeDelta};
use gn_harvest_pure::mapping::Layout;
use gn_harvest_pure::record::{Lengths, Reason, parse_date, parse_page};
use proptest::prelude::*;
use record_support::*;

#[test]
fn a_date_keeps_the_wall_clock_of_the_source() {
    for (written, meant) in [
        ("2016-02-17 11:50:00", "2016-02-17T11:50:00"),
        ("2016-02-17T11:50:00", "2016-02-17T11:50:00"),
        ("2016-02-17 11:50", "2016-02-17T11:50:00"),
        ("2016-02-17", "2016-02-17T00:00:00"),
        (" 2016-02-17 11:50:00 ", "2016-02-17T11:50:00"),
        ("2016-02-17 11:50:00.1", "2016-02-17T11:50:00.1"),
        ("2016-02-17 11:50:00.737840", "2016-02-17T11:50:00.737840"),
        ("2016-02-17 11:50:00,5", "2016-02-17T11:50:00.5"),
        ("2016-02-17T11:50:00Z", "2016-02-17T11:50:00"),
        ("2016-02-17 11:50:00+02", "2016-02-17T11:50:00"),
        ("2016-02-17T11:50:00.25+02:00", "2016-02-17T11:50:00.25"),
        ("2016-02-17T11:50:00-0930", "2016-02-17T11:50:00"),
        ("2016-02-17 11:50:00 UTC", "2016-02-17T11:50:00"),
        ("0001-01-01", "0001-01-01T00:00:00"),
        ("9999-12-31 23:59:59.999999", "9999-12-31T23:59:59.999999"),
        ("2020-02-29", "2020-02-29T00:00:00"),
        // Beyond microseconds: rounded, as PostgreSQL does.
        ("2016-02-17 23:59:59.9999996", "2016-02-18T00:00:00"),
    ] {
        let meant: NaiveDateTime = meant.parse().unwrap();
        assert_eq!(parse_date(written), Some(meant), "{written}");
    }
}

#[test]
fn what_is_no_date_that_exists_is_refused_with_its_column_and_value() {
    for written in [
        "0000-00-00",
        "0000-01-01",
        "2016-02-30",
        "2019-02-29",
        "2016-13-01",
        "2016-00-10",
        "2016-02-17 25:00:00",
        "2016-02-17 11:60:00",
        "10000-01-01",
        "-0044-03-15",
        "infinity",
        "17/02/2016",
        "2016-2-7",
        "2016-02-17 11:50:00 BC",
        "2016-02-17 11:50:00+",
        "hier",
        "2016-02-17 11:50:00.",
        "20160217",
        "9999-12-31 23:59:59.9999999",
    ] {
        let rejection = with("date_debut", &quoted(written)).unwrap_err();
        assert_eq!(rejection.reason, Reason::BadDate, "{written}");
        assert_eq!(rejection.column.as_deref(), Some("date_debut"));
        assert_eq!(rejection.value.as_deref(), Some(written));
        assert_eq!(rejection.key.as_deref(), Some("1"));
    }
    for raw in ["1455709800", "true", "{}", "[\"2016-02-17\"]"] {
        assert_eq!(
            value_of("date_min", "date_debut", raw),
            Err(Reason::BadDate),
            "{raw}"
        );
    }
}

#[test]
fn an_end_without_a_date_is_the_beginning() {
    for raw in ["null", "\"\"", "\" \""] {
        assert_eq!(
            value_of("date_max", "date_fin", raw),
            Ok(date("2016-02-17T11:50:00"))
        );
    }
    let record = read(&without("date_fin")).unwrap();
    assert_eq!(*value(&record, "date_max"), date("2016-02-17T11:50:00"));
}

#[test]
fn an_end_on_the_same_day_without_a_time_is_no_earlier_than_the_beginning() {
    let same_day = value_of("date_max", "date_fin", "\"2016-02-17\"");
    assert_eq!(same_day, Ok(date("2016-02-17T11:50:00")));
    let midnight = value_of("date_max", "date_fin", "\"2016-02-17 00:00:00\"");
    assert_eq!(midnight, Err(Reason::DateMinGtMax));
}

#[test]
fn a_beginning_after_the_end_is_refused() {
    let rejection = with("date_fin", "\"2016-02-17 11:49:59.999\"").unwrap_err();
    assert_eq!(rejection.reason, Reason::DateMinGtMax);
    assert_eq!(rejection.column.as_deref(), Some("date_debut"));
}

#[test]
fn times_of_day_in_columns_of_their_own_complete_the_dates() {
    let item = r#"{"id_synthese": 1, "cd_nom": 1, "nom_cite": "a", "date_debut": "2016-02-17",
        "date_fin": "2016-02-17", "heure_debut": "11:50:00", "heure_fin": "12:05:30.5"}"#;
    let layout = Layout::recognise(&[], &[item], false, &[], None, None).unwrap();
    let batch = parse_page([item].into_iter(), &layout, &Lengths::default());
    let record = &batch.records[0].1;
    assert_eq!(*value(record, "date_min"), date("2016-02-17T11:50:00"));
    assert_eq!(*value(record, "date_max"), date("2016-02-17T12:05:30.5"));

    let bad = item.replace("11:50:00", "25:00:00");
    let batch = parse_page([bad.as_str()].into_iter(), &layout, &Lengths::default());
    assert_eq!(batch.rejected[0].1.reason, Reason::BadDate);
    assert_eq!(batch.rejected[0].1.column.as_deref(), Some("heure_debut"));
}

fn any_moment() -> impl Strategy<Value = NaiveDateTime> {
    let first = NaiveDate::from_ymd_opt(1, 1, 1)
        .unwrap()
        .and_time(Default::default());
    let last = NaiveDate::from_ymd_opt(9999, 12, 31)
        .unwrap()
        .and_time(Default::default());
    let span = (last - first).num_microseconds().unwrap();
    (0..span).prop_map(move |offset| first + TimeDelta::microseconds(offset))
}

proptest! {
    #[test]
    fn any_moment_survives_in_any_form(moment in any_moment()) {
        for form in ["%Y-%m-%d %H:%M:%S%.6f", "%Y-%m-%dT%H:%M:%S%.6f", "%Y-%m-%d %H:%M:%S%.f+02:00"] {
            let written = moment.format(form).to_string();
            prop_assert_eq!(parse_date(&written), Some(moment), "{}", written);
        }
    }

    #[test]
    fn no_text_makes_the_reader_of_dates_panic(written in ".{0,40}") {
        parse_date(&written);
    }

    #[test]
    fn nothing_like_a_date_makes_the_reader_of_dates_panic(written in "[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.,+Z-]{0,20}") {
        parse_date(&written);
    }
}
