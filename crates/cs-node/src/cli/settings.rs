//! `cosync config` and `cosync id`: what needs no running node.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use cs_node::api::{Problem, ProblemCode};
use serde_json::json;
use toml_edit::{Array, DocumentMut, Item, Value};

use crate::cli::args::ConfigCommand;
use crate::cli::client::Client;
use crate::cli::start;
use crate::config::{Config, KEYS, TEMPLATE};

/// `cosync id`. The first call makes the key.
pub(crate) fn id(client: &Client) -> Result<(), Problem> {
    let unusable = |error: io::Error| {
        let shown = client.home.path().display().to_string();
        start::problem_of(client, &cs_node::StartError::Home(shown, error))
    };
    client.home.create().map_err(unusable)?;
    let id = client.home.secret().map_err(unusable)?.node_id().to_string();
    client.out.own("id", json!({ "node": id }), &format!("{id}\n"))
}

/// `cosync config`.
pub(crate) fn run(client: &Client, command: ConfigCommand) -> Result<(), Problem> {
    let path = client.home.config();
    match command {
        ConfigCommand::Path => {
            let text = format!("{}\n", path.display());
            client.out.own("config-path", json!({ "path": path }), &text)
        }
        ConfigCommand::Get { key } => get(client, &path, key.as_deref()),
        ConfigCommand::Set { key, values } => change(client, &path, &key, Some(&values)),
        ConfigCommand::Unset { key } => change(client, &path, &key, None),
    }
}

fn get(client: &Client, path: &Path, key: Option<&str>) -> Result<(), Problem> {
    let config = Config::read(path)?;
    let asked: Vec<&str> = match key {
        Some(key) if KEYS.contains(&key) => vec![key],
        Some(key) => return Err(unknown(key)),
        None => KEYS.to_vec(),
    };
    let settings: serde_json::Map<String, serde_json::Value> =
        asked.iter().filter_map(|key| Some(((*key).to_owned(), config.get(key)?))).collect();
    let text: String = match (key, settings.values().next()) {
        (Some(_), Some(value)) => format!("{}\n", plain(value)),
        _ => settings.iter().map(|(key, value)| format!("{key} = {value}\n")).collect(),
    };
    client.out.own("config", json!({ "path": path, "settings": settings }), &text)
}

/// A value for a script: strings bare, a list one item a line.
fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join("\n"),
        other => other.to_string(),
    }
}

fn change(client: &Client, path: &Path, key: &str, values: Option<&[String]>) -> Result<(), Problem> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => TEMPLATE.to_owned(),
        // Reading it as a configuration says what is wrong with it.
        Err(_) => return Config::read(path).map(|_| ()),
    };
    let changed = edit(&text, key, values).map_err(|refused| match refused {
        Refused::UnknownKey => unknown(key),
        // The parser that reads configurations names the line.
        Refused::NotToml => match Config::parse(&text) {
            Err(invalid) => invalid.problem(path),
            Ok(_) => unfit("the file is not TOML"),
        },
        Refused::Unfit(what) => unfit(what),
    })?;
    Config::parse(&changed).map_err(|invalid| match Config::parse(&text) {
        // It was good before: the new value is to blame.
        Ok(_) => unfit(&invalid.what),
        Err(before) => before.problem(path),
    })?;
    client
        .home
        .create()
        .and_then(|()| replace(path, &changed))
        .map_err(|error| start::home_problem(client, &error))?;
    let done = if client.is_running_now() { "The node takes it up when it is started again." } else { "" };
    let message = format!("{} is {}. {done}", key, if values.is_some() { "set" } else { "unset" });
    client.out.own("done", json!({ "message": message.trim_end() }), &format!("{}\n", message.trim_end()))
}

/// Why a file was not edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    UnknownKey,
    NotToml,
    Unfit(&'static str),
}

/// Sets or takes out one setting; everything else stays byte for byte.
fn edit(text: &str, key: &str, values: Option<&[String]>) -> Result<String, Refused> {
    if !KEYS.contains(&key) {
        return Err(Refused::UnknownKey);
    }
    let (table, name) = key.split_once('.').ok_or(Refused::UnknownKey)?;
    let mut document: DocumentMut = text.parse().map_err(|_| Refused::NotToml)?;
    if !document.contains_key(table) && values.is_some() {
        // At the end of the file: before its comments, a table would take them from where they belong.
        let separator = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        document = format!("{text}{separator}\n[{table}]\n").parse().map_err(|_| Refused::NotToml)?;
    }
    let Some(table) = document.get_mut(table) else { return Ok(document.to_string()) };
    let table = table.as_table_like_mut().ok_or(Refused::Unfit("`node` in the file is not a table"))?;
    let Some(values) = values else {
        table.remove(name);
        return Ok(document.to_string());
    };
    let mut value = value_of(name, values)?;
    match table.get_mut(name).and_then(Item::as_value_mut) {
        Some(old) => {
            // Comments and blanks around the old value belong to its line.
            *value.decor_mut() = old.decor().clone();
            *old = value;
        }
        None => {
            table.insert(name, Item::Value(value));
        }
    }
    Ok(document.to_string())
}

fn value_of(name: &str, values: &[String]) -> Result<Value, Refused> {
    Ok(match (name, values) {
        ("listen" | "bootstrap" | "relays", several) => {
            Value::Array(several.iter().map(String::as_str).collect::<Array>())
        }
        ("lan" | "port-mapping", [one]) => {
            Value::from(one.parse::<bool>().map_err(|_| Refused::Unfit("expected `true` or `false`"))?)
        }
        (_, [one]) => Value::from(one.as_str()),
        _ => return Err(Refused::Unfit("it takes one value")),
    })
}

/// Puts the new file in place of the old one at once.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let fresh = path.with_extension("toml.new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(fresh, path)
}

fn unknown(key: &str) -> Problem {
    let hint = format!("There are {}.", KEYS.join(", "));
    Problem::new(ProblemCode::Usage, format!("There is no setting called `{key}`."), hint)
}

fn unfit(what: &str) -> Problem {
    Problem::new(
        ProblemCode::Usage,
        format!("The setting was not changed: {what}."),
        "`cosync config get` shows what is set.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str, key: &str, values: &[&str]) -> Result<String, Refused> {
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        edit(text, key, Some(&values))
    }

    #[test]
    fn comments_and_order_survive_a_change() {
        let text = "# mine\n[node]\nrole = \"member\" # for now\n\n# ports\nlisten = [ \":1\" ]   # one\n";
        let changed = set(text, "node.listen", &[":2", ":3"]).unwrap();
        assert_eq!(changed, text.replace("[ \":1\" ]", "[\":2\", \":3\"]"));
        let changed = set(text, "node.role", &["bootstrap"]).unwrap();
        assert_eq!(changed, text.replace("member", "bootstrap"));
    }

    #[test]
    fn a_setting_that_was_not_there_is_added_and_taken_out_again() {
        let added = set(TEMPLATE, "node.lan", &["false"]).unwrap();
        assert!(!Config::parse(&added).unwrap().lan);
        assert_eq!(added, format!("{TEMPLATE}\n[node]\nlan = false\n"));
        let taken = edit(&added, "node.lan", None).unwrap();
        assert_eq!(Config::parse(&taken), Ok(Config::default()));
    }

    #[test]
    fn what_is_no_setting_or_no_value_for_it_is_refused() {
        assert_eq!(set("", "node.color", &["red"]), Err(Refused::UnknownKey));
        assert_eq!(set("[node", "node.lan", &["true"]), Err(Refused::NotToml));
        assert!(matches!(set("", "node.lan", &["maybe"]), Err(Refused::Unfit(_))));
        assert!(matches!(set("", "node.role", &["member", "bootstrap"]), Err(Refused::Unfit(_))));
        assert!(matches!(set("node = 1", "node.lan", &["true"]), Err(Refused::Unfit(_))));
    }
}
