use crate::support::*;
#[test]
fn scratch() {
    let database = cluster().database();
    let partner = partner(600);
    add_source(&database, "cen", &partner, 3, "page_size => 50, connections => 1");
    database.run(&format!("ALTER DATABASE {} SET gn_harvest.batch_size = 50", database.name));
    partner.set_cost(0.15, 0.0);
    let run = database.number("SELECT run FROM gn_harvest.run('cen', 'full', wait => false)");
    for _ in 0..30 { println!("{:?}", database.rows("SELECT done, phase FROM gn_harvest.run_progress")); std::thread::sleep(std::time::Duration::from_millis(200)); }
    println!("{:?}", database.row(&format!("SELECT * FROM gn_harvest.wait_for({run}, '2 minutes')")));
}
#[test]
fn scratch2() {
    let database = cluster().database();
    let partner = partner(100);
    let ids: Vec<i64> = partner.ids().into_iter().take(8).collect();
    for id in &ids {
        partner.update(*id, &serde_json::json!({"cd_nom": 999_999})).expect("an unknown taxon");
    }
    add_source(&database, "cen", &partner, 3, "");
    run_well(&database, "cen", "full");
    println!("{:?}", database.rows("SELECT * FROM gn_harvest.unmapped"));
    database.run("UPDATE gn_harvest.rejected SET discarded_at=now()");
    println!("{:?}", database.row("SELECT * FROM gn_harvest.retry_rejected('cen')"));
    println!("{:?}", database.rows("SELECT * FROM gn_harvest.unmapped"));
    println!("{:?}", database.rows("SELECT * FROM gn_harvest.unmapped_value"));
    panic!();
}
