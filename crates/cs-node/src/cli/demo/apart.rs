//! Edits of the same thing by two nodes that did not know of each other's.

use std::fs;

use cs_node::api::{Conflict, ProblemCode, Reply, Request};
use serde_json::json;

use crate::cli::demo::actor::{Actor, Look, wait};
use crate::cli::demo::stage::Stage;
use crate::cli::demo::tree;
use crate::cli::demo::{Evidence, Unmet, check};
use crate::cli::words::short;

const DOCUMENT: &str = "shopping.json";
const FILE: &str = "plan.txt";

pub(crate) async fn merge(stage: &mut Stage) -> Evidence {
    let Stage { alice, bob, carol, .. } = &*stage;
    let base = json!({ "milk": 1, "eggs": 6, "soap": true });
    let by_alice = json!({ "milk": 2, "eggs": 6, "soap": true, "tea": "green" });
    let by_bob = json!({ "milk": 1, "eggs": 12, "bread": ["rye"] });
    let merged = json!({ "milk": 2, "eggs": 12, "tea": "green", "bread": ["rye"] });
    alice.put(DOCUMENT, &base).await?;
    for actor in [alice, bob, carol] {
        actor.until_document(DOCUMENT, &base).await?;
    }
    part(alice, bob).await?;
    alice.put(DOCUMENT, &by_alice).await?;
    bob.put(DOCUMENT, &by_bob).await?;
    alice.until_document(DOCUMENT, &by_alice).await?;
    bob.until_document(DOCUMENT, &by_bob).await?;
    meet(alice, bob).await?;
    if stage.plants() {
        bob.until_document(DOCUMENT, &merged).await?;
        bob.put(DOCUMENT, &by_bob).await?;
    }
    for actor in [alice, bob, carol] {
        actor.until_document(DOCUMENT, &merged).await?;
    }
    let refused = carol.put(DOCUMENT, &json!({ "milk": 0 })).await;
    check(refused.as_ref().is_err_and(|p| p.code == ProblemCode::Forbidden), || {
        format!("Carol may read only, and her edit was answered by {refused:?}")
    })?;
    Ok(vec![
        format!("before  {base}"),
        format!("Alice   {by_alice}"),
        format!("Bob     {by_bob}"),
        format!("merged  {merged}"),
        "all three nodes give the merged one; an edit by Carol, who may only read, is refused".to_owned(),
    ])
}

pub(crate) async fn conflict(stage: &mut Stage) -> Evidence {
    let Stage { alice, bob, .. } = &*stage;
    let (by_alice, by_bob) = ("Meet on Tuesday, says Alice.\n", "Meet on Wednesday, or so Bob says.\n");
    part(alice, bob).await?;
    fs::write(alice.folder.join(FILE), by_alice)?;
    until_written(alice).await?;
    if !stage.plants() {
        fs::write(bob.folder.join(FILE), by_bob)?;
        until_written(bob).await?;
    }
    meet(alice, bob).await?;
    for actor in [alice, bob] {
        actor.until("a conflict is listed", |s| s.conflicts == 1).await?;
    }
    bob.until_same_as(alice).await?;
    let seen = one_conflict(alice).await?;
    check(seen.path == FILE && seen.versions.len() == 2, || format!("the conflict is another: {seen:?}"))?;
    let shown = fs::read_to_string(alice.folder.join(FILE))?;
    let expected = if seen.versions[0].mine { by_alice } else { by_bob };
    check(shown == expected, || format!("the folder shows {shown:?} and not the version listed first"))?;
    bob.until_file(FILE, Some(expected)).await?;

    // The version that is not in the folders: had it been thrown away, it could not come back.
    let chosen = &seen.versions[1];
    let request = Request::Resolve { space: None, path: FILE.to_owned(), keep: chosen.id.clone() };
    alice.ask(request).await?;
    let chosen_text = if chosen.mine { by_alice } else { by_bob };
    for actor in [alice, bob] {
        actor.until_file(FILE, Some(chosen_text)).await?;
        actor.until("no conflict is left", |s| s.conflicts == 0).await?;
    }
    let mut lines =
        vec![format!("`cosync conflicts show {FILE}`, and the same file in both folders meanwhile:")];
    lines.extend(seen.versions.iter().enumerate().map(|(at, version)| {
        let place = if at == 0 { "in the folder" } else { "kept beside it" };
        format!("  {}  by {}  {}, {place}", short(&version.id), stage.name_of(&version.author), version.what)
    }));
    lines.push(format!(
        "`--keep {}` settles it: both folders now say {:?}",
        short(&chosen.id),
        chosen_text.trim()
    ));
    let same = tree::compare(&alice.folder, &bob.folder).await?;
    check(same.files > 0, || "the folders are empty".to_owned())?;
    Ok(lines)
}

/// Both stop syncing and go on working.
async fn part(alice: &Actor, bob: &Actor) -> Result<(), Unmet> {
    for actor in [alice, bob] {
        actor.ask(Request::Pause { space: None }).await?;
    }
    Ok(())
}

async fn meet(alice: &Actor, bob: &Actor) -> Result<(), Unmet> {
    for actor in [alice, bob] {
        actor.ask(Request::Resume { space: None }).await?;
    }
    Ok(())
}

/// Waits until a node has noticed the edit of [`FILE`] in its own folder: only then do the two not know of each other's.
async fn until_written(actor: &Actor) -> Result<(), Unmet> {
    wait(&format!("{} notices the edit of {FILE}", actor.name), async || {
        let request = Request::Log { space: None, path: Some(FILE.to_owned()), limit: 2 };
        let Reply::Log { entries } = actor.ask(request).await? else {
            return Err(Unmet("no log".to_owned()));
        };
        let newest = entries.first().map(|entry| &entry.author);
        let seen = entries.len() == 2 && newest == Some(&actor.id);
        Ok(if seen {
            Look::Seen(())
        } else {
            Look::NotYet(format!("{} versions, {newest:?}", entries.len()))
        })
    })
    .await
}

async fn one_conflict(actor: &Actor) -> Result<Conflict, Unmet> {
    match actor.ask(Request::Conflicts { space: None, path: None }).await? {
        Reply::Conflicts { mut conflicts } if conflicts.len() == 1 => Ok(conflicts.remove(0)),
        other => Err(actor.strange(&other)),
    }
}
