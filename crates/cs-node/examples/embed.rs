//! Two nodes inside one program: the first shares a folder, the second joins it, and a document travels.
//!
//! ```sh
//! cargo run --release -p cs-node --example embed
//! ```

use std::error::Error;
use std::path::Path;

use cs_node::api::{Access, Problem, Reply, Request};
use cs_node::{Driver, Handle, Home, Options};
use tokio::time::{Duration, sleep};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    std::fs::create_dir_all(dir.path().join("anna/folder"))?;
    std::fs::write(dir.path().join("anna/folder/hello.txt"), "hello from anna\n")?;

    let anna = start(&dir.path().join("anna/state")).await?;
    let ben = start(&dir.path().join("ben/state")).await?;

    let folder = dir.path().join("anna/folder").display().to_string();
    let share = Request::Share { folder, name: Some("notes".into()), access: Access::Write, expires_s: 600 };
    let Reply::Invited(invited) = ask(&anna, share).await? else { return Err("no invitation".into()) };
    println!("anna shares `{}`", invited.name);

    let folder = dir.path().join("ben/folder");
    let join = Request::Join {
        ticket: invited.invitation,
        folder: Some(folder.display().to_string()),
        limit_s: None,
    };
    ask(&ben, join).await?;
    while !folder.join("hello.txt").exists() {
        sleep(Duration::from_millis(20)).await;
    }
    print!("ben has it: {}", std::fs::read_to_string(folder.join("hello.txt"))?);

    let put =
        Request::Put { space: None, path: "todo.json".into(), value: serde_json::json!({ "milk": true }) };
    ask(&ben, put).await?;
    let get = || Request::Get { space: None, path: "todo.json".into() };
    while ask(&anna, get()).await.is_err() {
        sleep(Duration::from_millis(20)).await;
    }
    if let Reply::Document { value, .. } = ask(&anna, get()).await? {
        println!("anna reads ben's document: {value}");
    }
    ask(&anna, Request::Stop).await?;
    ask(&ben, Request::Stop).await?;
    Ok(())
}

async fn start(home: &Path) -> Result<Handle, Box<dyn Error>> {
    let home = Home::find(Some(home.to_owned()))?;
    let options = Options { listen: vec!["127.0.0.1:0".parse()?], ..Options::default() };
    let (driver, node, _recovery) = Driver::open(&home, options, Box::new(|_| {})).await?;
    tokio::spawn(driver.run());
    Ok(node)
}

async fn ask(node: &Handle, request: Request) -> Result<Reply, String> {
    node.ask(request).await.map_err(|Problem { message, hint, .. }| format!("{message} {hint}"))
}
