//! The simulated partner as a program, to play with or to test against from outside Rust.

use std::error::Error;

use geonature_simulator::{Config, Simulator};

const USAGE: &str = "geonature-simulator [options]

  --name NAME            how the partner is called in what is printed (partenaire)
  --port PORT            port on 127.0.0.1; 0 lets the system choose (0)
  --observations N       how many observations it starts with (1000)
  --seed N               what they are generated from (1)
  --uuid-seed N          what their UUIDs are generated from (the seed)
  --metadata-seed N      the same for frameworks, datasets and actors (the UUID seed)
  --id-offset N          keys start after it (0)
  --datasets N           how many datasets (12)
  --cap N                greatest page of an export (1000)
  --password PASSWORD    password of moissonneur (moissonneur)
  --token EXPORT=TOKEN   another token for an export (jeton-export-<id>); can be repeated
  --no-keep-alive        close the connection after each answer
  --login-seconds S      how long a login takes (0)";

fn main() -> Result<(), Box<dyn Error>> {
    let Some(config) = read_options(std::env::args().skip(1))? else {
        println!("{USAGE}");
        return Ok(());
    };
    let name = config.name.clone();
    let simulator = Simulator::start(config)?;
    println!(
        "{name}: {} with {} observations",
        simulator.url(),
        simulator.count()
    );
    println!("logins: admin/admin, moissonneur/<password>, sansdroit/sansdroit (no export)");
    for export in 1..=10 {
        println!(
            "token of export {export}: {}",
            simulator.token(export).unwrap_or_default()
        );
    }
    println!("control: {}/_simulator/status", simulator.url());
    loop {
        std::thread::park();
    }
}

fn read_options(
    mut arguments: impl Iterator<Item = String>,
) -> Result<Option<Config>, Box<dyn Error>> {
    let mut config = Config::default();
    while let Some(option) = arguments.next() {
        if option == "--help" || option == "-h" {
            return Ok(None);
        }
        let mut value = || {
            arguments
                .next()
                .ok_or_else(|| format!("{option} needs a value"))
        };
        match option.as_str() {
            "--name" => config.name = value()?,
            "--port" => config.port = value()?.parse()?,
            "--observations" => config.observations = value()?.parse()?,
            "--seed" => config.seed = value()?.parse()?,
            "--uuid-seed" => config.uuid_seed = Some(value()?.parse()?),
            "--metadata-seed" => config.metadata_seed = Some(value()?.parse()?),
            "--id-offset" => config.id_offset = value()?.parse()?,
            "--datasets" => config.datasets = value()?.parse()?,
            "--cap" => config.cap = value()?.parse()?,
            "--password" => config.password = Some(value()?),
            "--token" => {
                let value = value()?;
                let (export, token) = value.split_once('=').ok_or("--token EXPORT=TOKEN")?;
                config.tokens.insert(export.parse()?, token.to_owned());
            }
            "--no-keep-alive" => config.keep_alive = false,
            "--login-seconds" => config.login_seconds = value()?.parse()?,
            _ => return Err(format!("no option {option}\n\n{USAGE}").into()),
        }
    }
    Ok(Some(config))
}
