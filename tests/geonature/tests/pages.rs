//! The pages of an export: windows, caps, filters, orders and totals. Each test is a fact of
//! GeoNature that a harvester relies on.

mod exchange;

use std::collections::BTreeSet;

use exchange::{export, page, partner};
use serde_json::{Value, json};

#[test]
fn windows_of_the_key_cover_everything_once() {
    let partner = partner(5000);
    let ids = partner.ids();
    let last = *ids.last().unwrap();
    let mut read = Vec::new();
    let mut low = 0;
    while low <= last {
        let high = low + 499;
        let window = format!("filter_n_up_id_synthese={low}&filter_n_lo_id_synthese={high}");
        read.extend(page(&partner, &window).ids());
        low = high + 1;
    }
    assert_eq!(read, ids);
}

#[test]
fn the_cap_is_silent_and_zero_lifts_it() {
    let partner = partner(1500);
    for (asked, got) in [
        ("limit=5000", 1000),
        ("limit=dix", 1000),
        ("limit=10", 10),
        ("", 1000),
    ] {
        let answer = page(&partner, asked);
        assert_eq!(answer.json()["limit"], got, "{asked}");
        assert_eq!(answer.items().len(), got, "{asked}");
    }
    assert_eq!(page(&partner, "limit=0").items().len(), 1500);
    partner.set_cap(100);
    assert_eq!(page(&partner, "limit=1000").json()["limit"], 100);
    assert_eq!(page(&partner, "").items().len(), 100);
}

#[test]
fn everything_at_once_is_the_same_when_it_is_streamed() {
    let partner = partner(21_000);
    let answer = page(&partner, "limit=0");
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    assert_eq!(answer.ids(), partner.ids());
}

#[test]
fn mistakes_are_refused_or_break_the_server_as_the_real_one() {
    let partner = partner(50);
    for (query, status) in [
        ("limit=-1", 500),
        ("offset=-1", 500),
        ("orderby=nexiste", 400),
        ("orderby=cd_nom,id_synthese", 400),
        ("filter_n_up_id_synthese=dix", 500),
        ("filter_n_up_nexiste=1", 500),
        ("filter_d_up_derniere_action=hier", 500),
        ("geometry=POINT(5.7%2045)", 500),
        ("nexiste=1", 200),
        ("offset=1000", 200),
    ] {
        assert_eq!(page(&partner, query).status, status, "{query}");
    }
    let broken = page(&partner, "limit=-1");
    assert_eq!(
        broken.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(
        broken.json()["request_id"],
        broken.header("x-request-id").unwrap()
    );
}

#[test]
fn filters_are_inclusive_and_add_up() {
    let partner = partner(500);
    let ids = partner.ids();
    let (low, high) = (ids[100], ids[109]);
    let query = format!("filter_n_up_id_synthese={low}&filter_n_lo_id_synthese={high}");
    assert_eq!(page(&partner, &query).ids(), ids[100..110]);

    let truth = partner.truth();
    let moment = truth[7]["derniere_action"]
        .as_str()
        .unwrap()
        .replace(' ', "T");
    let expected = |keep: &dyn Fn(&str) -> bool| -> Vec<i64> {
        let kept = truth
            .iter()
            .filter(|row| keep(&row["derniere_action"].as_str().unwrap().replace(' ', "T")));
        kept.map(|row| row["id_synthese"].as_i64().unwrap())
            .collect()
    };
    let since = format!("filter_d_up_derniere_action={moment}%2B09:00");
    assert_eq!(
        page(&partner, &since).ids(),
        expected(&|at| at >= moment.as_str())
    );
    let until = format!("filter_d_lo_derniere_action={moment}");
    assert_eq!(
        page(&partner, &until).ids(),
        expected(&|at| at <= moment.as_str())
    );
    let exactly = format!("filter_d_eq_derniere_action={moment}");
    assert_eq!(page(&partner, &exactly).ids(), [ids[7]]);

    let cd_nom = truth[7]["cd_nom"].as_i64().unwrap();
    let of_taxon = page(&partner, &format!("cd_nom={cd_nom}")).items();
    assert!(!of_taxon.is_empty() && of_taxon.iter().all(|row| row["cd_nom"] == cd_nom));
    let of_sex = page(&partner, "sexe=2").items();
    assert!(!of_sex.is_empty() && of_sex.iter().all(|row| row["sexe"] == "2"));
}

#[test]
fn date_columns_are_silently_not_filtered() {
    let partner = partner(20);
    partner
        .add_column(2, "jour", Some((&json!("2020-01-01"), "date")))
        .unwrap();
    assert_eq!(
        page(&partner, "filter_d_up_jour=2024-01-01").items().len(),
        20
    );
}

#[test]
fn rows_come_in_the_order_that_is_asked_for() {
    let partner = partner(300);
    let ids = partner.ids();
    let reversed: Vec<i64> = ids.iter().rev().copied().collect();
    assert_eq!(page(&partner, "orderby=id_synthese:desc").ids(), reversed);
    let dates = |query: &str| -> Vec<String> {
        let items = page(&partner, query).items();
        items
            .iter()
            .map(|row| row["derniere_action"].as_str().unwrap().to_owned())
            .collect()
    };
    assert!(dates("orderby=derniere_action").is_sorted());
    assert!(
        dates("orderby=derniere_action:desc")
            .iter()
            .rev()
            .is_sorted()
    );
    let pages: Vec<i64> = (0..3)
        .flat_map(|number| {
            page(
                &partner,
                &format!("orderby=cd_nom&limit=100&offset={number}"),
            )
            .ids()
        })
        .collect();
    assert_eq!(pages.iter().collect::<BTreeSet<_>>().len(), 300);
}

#[test]
fn the_export_without_numeric_key_pages_by_its_uuid() {
    let partner = partner(250);
    let mut keys = Vec::new();
    for number in 0..3 {
        let items = export(&partner, 9, &format!("limit=100&offset={number}")).items();
        keys.extend(items.into_iter().map(|row| row["id_perm_sinp"].clone()));
    }
    let known: Vec<&str> = keys.iter().filter_map(Value::as_str).collect();
    assert_eq!(keys.len(), 250);
    assert!(known.is_sorted() && known.len() > 230);
}

#[test]
fn the_filtered_total_is_right_on_the_first_page_only() {
    let partner = partner(100);
    let figures = |offset: u32| {
        let body = page(
            &partner,
            &format!("limit=10&offset={offset}&filter_n_up_id_synthese=0"),
        )
        .json();
        (body["total"].as_i64(), body["total_filtered"].as_i64())
    };
    assert_eq!(figures(0), (Some(100), Some(100)));
    assert_eq!(figures(3), (Some(100), Some(70)));
    assert_eq!(figures(30), (Some(100), Some(0)));
}

#[test]
fn a_row_without_geometry_is_counted_and_not_shown() {
    let partner = partner(20);
    let id = partner.ids()[3];
    partner.update(id, &json!({"wkt_4326": null})).unwrap();
    let answer = export(&partner, 1, "");
    assert_eq!(answer.json()["total"], 20);
    assert_eq!(answer.json()["total_filtered"], 20);
    assert!(!answer.ids().contains(&id) && answer.ids().len() == 19);
    assert!(page(&partner, "").ids().contains(&id));
}

#[test]
fn a_geometry_filters_by_its_envelope() {
    let partner = partner(400);
    let west = "geometry=POLYGON((5 44,5.8 44,5.8 46,5 46,5 44))".replace(' ', "%20");
    let answer = export(&partner, 6, &west);
    assert_eq!(answer.status, 200);
    let rows = answer.items();
    assert!(!rows.is_empty() && rows.len() < 400);
}
